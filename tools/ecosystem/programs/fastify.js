// SPDX-License-Identifier: MIT

const assert = require('node:assert/strict');
const http2 = require('node:http2');
const fastify = require('fastify');
const undici = require('undici');
const { blob, blobStream, digest, digestOf, failure, once, sha256 } = require('./support.js');

const kBytes = 3 << 20;
const kPerson = {
  type: 'object',
  required: ['name'],
  properties: { name: { type: 'string' }, age: { type: 'integer' } },
};

async function listen(options, address, record) {
  const app = fastify({ bodyLimit: 8 << 20, forceCloseConnections: true, ...options });
  app.addContentTypeParser('application/octet-stream', (_request, payload, done) => done(null, payload));
  app.post('/person', { schema: { body: kPerson } }, async (request) => ({ greeted: request.body.name }));
  app.get('/people/:id', async (request) => ({ id: request.params.id, query: request.query }));
  app.put('/pipe', async (request, reply) => reply.send(request.body));
  app.put('/digest', async (request) => digest(request.body));
  app.get('/stream', async (_request, reply) => reply.send(blobStream(kBytes, 3)));
  app.get('/buffer', async () => blob(kBytes, 4));
  app.get('/bad', async () => {
    throw Object.assign(new Error('on purpose'), { statusCode: 418 });
  });
  app.get('/endless', async (request, reply) => {
    reply.hijack();
    reply.raw.write('begun');
    request.raw.once('close', () => record('server: aborted', true));
  });
  app.addHook('onSend', async (request, reply) => {
    reply.header('x-url', request.url);
  });
  await app.listen(address);
}

async function server({ host, port, record, tlsServer }) {
  await listen({}, { host, port }, record);
  await listen({ http2: true, https: tlsServer }, { host, port: port + 1 }, record);
}

async function talk(pool, record) {
  const to = async (method, path, body, type) => {
    const headers = type === undefined ? {} : { 'content-type': type };
    const response = await pool.request({ method, path, body, headers });
    const content = Buffer.from(await response.body.arrayBuffer());
    return { status: response.statusCode, headers: response.headers, content };
  };
  const text = ({ status, content }) => [status, String(content)];
  const json = 'application/json';
  record('person', text(await to('POST', '/person', '{"name":"ada","age":"36"}', json)));
  record('no person', text(await to('POST', '/person', '{"age":36}', json)));
  record('no json', text(await to('POST', '/person', '{"name', json)));
  record('parameters', text(await to('GET', '/people/7?deep=yes')));
  const piped = await to('PUT', '/pipe', blobStream(kBytes, 2), 'application/octet-stream');
  assert.ok(piped.content.equals(blob(kBytes, 2)));
  record('piped both ways', sha256(piped.content));
  record('digest', text(await to('PUT', '/digest', blob(kBytes), 'application/octet-stream')));
  record('stream', sha256((await to('GET', '/stream')).content));
  const buffer = await to('GET', '/buffer');
  assert.ok(buffer.content.equals(blob(kBytes, 4)));
  record('buffer', [buffer.headers['content-length'], buffer.headers['x-url']]);
  record('thrown', text(await to('GET', '/bad')));
  record('nowhere', (await to('GET', '/nowhere')).status);
  const many = await Promise.all(Array.from({ length: 200 }, (_, i) => to('GET', `/people/${i}`)));
  assert.ok(many.every(({ content }, i) => JSON.parse(content).id === String(i)));
  record('200 at once', many.length);
}

/** Streams of one session of node:http2, and how it ends. */
async function session(url, ca, record) {
  const connection = http2.connect(url, { ca });
  await once(connection, 'connect');
  const streams = Array.from({ length: 20 }, () => connection.request({ ':path': '/stream' }));
  const sums = await Promise.all(streams.map(digest));
  assert.ok(sums.every((sum) => sum.sha256 === digestOf(kBytes, 3).sha256));
  record('20 streams of one session', sums[0]);
  const endless = connection.request({ ':path': '/endless' });
  await once(endless, 'data');
  endless.close(http2.constants.NGHTTP2_CANCEL);
  await once(endless, 'close');
  const pong = await new Promise((resolve) =>
    connection.ping(Buffer.from('millrace'), (_e, _ms, data) => resolve(data)),
  );
  record('ping', String(pong));
  return connection;
}

async function client({ url, port, record, ca, ask }) {
  const plain = new undici.Pool(url('http'), { connections: 3, pipelining: 4 });
  await talk(plain, record);
  const second = new undici.Pool(url('https', port + 1), { allowH2: true, connect: { ca } });
  await talk(second, record);
  const connection = await session(url('https', port + 1), ca, record);
  const ended = once(connection, 'close');
  connection.on('error', () => {});
  await ask('stop');
  await ended;
  record('the server ends', connection.destroyed);
  record('and is away', await failure(undici.request(url('http'))));
  await ask('start');
  record('and is back', (await plain.request({ method: 'GET', path: '/people/again' })).statusCode);
  await Promise.all([plain.destroy(), second.destroy()]);
}

module.exports = { server, client };
