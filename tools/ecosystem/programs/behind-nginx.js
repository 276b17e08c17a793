// SPDX-License-Identifier: MIT
// nginx before a server of fastify: kept connections of its pool, buffered and unbuffered, WebSockets through it.

const assert = require('node:assert/strict');
const fastify = require('fastify');
const undici = require('undici');
const { WebSocket, WebSocketServer } = require('ws');
const { blob, blobStream, digest, digestOf, once, sha256, until } = require('./support.js');

const kBytes = 3 << 20;

async function server({ host, port, record }) {
  const app = fastify({ bodyLimit: 16 << 20 });
  let connections = 0;
  app.server.on('connection', () => ++connections);
  app.addContentTypeParser('application/octet-stream', (_request, payload, done) => done(null, payload));
  app.get('/bytes', async (request) => blob(Number(request.query.count), request.query.seed));
  app.get('/stream', async (_request, reply) => reply.send(blobStream(kBytes, 3)));
  app.post('/digest', async (request) => digest(request.body));
  app.get('/connections', async () => ({ connections }));
  app.get('/endless', (_request, reply) => {
    reply.hijack();
    const timer = setInterval(() => reply.raw.write(Buffer.alloc(4096)), 5);
    reply.raw.once('close', () => {
      clearInterval(timer);
      record('server: aborted', true);
    });
  });
  new WebSocketServer({ server: app.server }).on('connection', (socket) =>
    socket.on('message', (data) => socket.send(data)),
  );
  await app.listen({ host, port });
}

async function client({ url, record, ask }) {
  const dispatcher = new undici.Agent({ connections: 6 });
  const get = (path, options) => undici.request(url('http') + path, { dispatcher, ...options });
  for (let i = 0; i < 100; ++i)
    assert.deepEqual(await digest((await get(`/bytes?count=${i * 50}&seed=${i}`)).body), digestOf(i * 50, i));
  const { connections } = await (await get('/connections')).body.json();
  record('kept connections', connections);
  const all = await Promise.all(
    Array.from({ length: 100 }, async (_, i) => digest((await get(`/bytes?count=${i * 997}&seed=${i}`)).body)),
  );
  for (const [i, sum] of all.entries()) assert.deepEqual(sum, digestOf(i * 997, i));
  record('100 at once', all.length);
  const headers = { 'content-type': 'application/octet-stream' };
  const upload = await (await get('/digest', { method: 'POST', headers, body: blobStream(kBytes, 2) })).body.json();
  assert.deepEqual(upload, digestOf(kBytes, 2));
  record('upload', upload);
  record('stream', await digest((await get('/stream')).body));
  const endless = await get('/endless');
  await once(endless.body, 'data');
  endless.body.on('error', () => {}).destroy();
  const socket = new WebSocket(url('ws'));
  await once(socket, 'open');
  const came = [];
  socket.on('message', (data) => came.push(data));
  for (let i = 0; i < 100; ++i) socket.send(blob(i * 500, i));
  await until(() => came.length === 100);
  record('WebSocket', sha256(Buffer.concat(came)));
  const closed = once(socket, 'close');
  await ask('stop');
  record('the server ends', (await closed)[0]);
  record('and is away', (await get('/bytes?count=1&seed=1')).statusCode);
  await ask('start');
  record('and is back', (await get('/bytes?count=1&seed=1')).statusCode);
  await dispatcher.destroy();
}

module.exports = { server, client };
