// SPDX-License-Identifier: MIT

const assert = require('node:assert/strict');
const fs = require('node:fs');
const http = require('node:http');
const https = require('node:https');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const express = require('express');
const { blob, blobStream, digest, digestOf, failure, once, sha256 } = require('./support.js');

const kBytes = 3 << 20;

function application(record, file) {
  const app = express();
  let sockets = 0;
  app.on('connection-counted', () => ++sockets);
  app.get('/sockets', (_request, response) => response.json({ sockets }));
  app.get('/people/:name', (request, response) => response.json({ name: request.params.name, query: request.query }));
  app.post('/json', express.json({ limit: '8mb' }), (request, response) => response.status(201).json(request.body));
  app.post('/raw', express.raw({ limit: '8mb' }), (request, response) => response.send(sha256(request.body)));
  app.post('/form', express.urlencoded({ extended: false }), (request, response) => response.json(request.body));
  app.put('/pipe', (request, response) => request.pipe(response));
  app.get('/stream', (_request, response) => blobStream(kBytes, 3).pipe(response));
  app.get('/file', (_request, response) => response.sendFile(file));
  app.get('/moved', (_request, response) => response.redirect(301, '/people/elsewhere'));
  app.get('/bad', () => {
    throw new Error('on purpose');
  });
  app.get('/watched', (request, response) => {
    response.write('begun');
    request.on('close', () => record('server: aborted', request.destroyed));
  });
  app.use((error, _request, response, _next) => response.status(error.status ?? 500).json({ error: error.message }));
  return app;
}

async function server({ host, port, record, tlsServer }) {
  const file = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'millrace-express-')), 'file.bin');
  fs.writeFileSync(file, blob(kBytes, 4));
  process.on('exit', () => fs.rmSync(path.dirname(file), { recursive: true, force: true }));
  const app = application(record, file);
  const servers = [http.createServer(app), https.createServer(tlsServer, app)];
  for (const [i, one] of servers.entries()) {
    one.on('connection', () => app.emit('connection-counted'));
    one.listen(port + i, host);
    await once(one, 'listening');
  }
}

/** One request; gives status, some headers and the digest of the body. */
function ask(module, options, body) {
  return new Promise((resolve, reject) => {
    const request = module.request(options, async (response) => {
      try {
        const pieces = [];
        for await (const piece of response) pieces.push(piece);
        const content = Buffer.concat(pieces);
        resolve({ status: response.statusCode, content, headers: response.headers, reused: request.reusedSocket });
      } catch (error) {
        reject(error);
      }
    });
    request.on('error', reject);
    if (body?.pipe) body.pipe(request);
    else request.end(body);
  });
}

async function talk(module, options, record) {
  const agent = new module.Agent({ keepAlive: true, maxSockets: 1 });
  const to = (where, more = {}) => ({ ...options, agent, path: where, ...more });
  const text = ({ status, content }) => [status, String(content)];
  record('parameters', text(await ask(module, to('/people/ada?age=36'))));
  const document = { grain: blob(50000).toString('base64'), list: [1, 2, 3] };
  const type = (value) => ({ method: 'POST', headers: { 'content-type': value } });
  const json = await ask(module, to('/json', type('application/json')), JSON.stringify(document));
  assert.deepEqual(JSON.parse(json.content), document);
  record('json', json.status);
  record('bad json', text(await ask(module, to('/json', type('application/json')), '{"open')));
  const raw = await ask(module, to('/raw', type('application/octet-stream')), blob(kBytes));
  assert.equal(String(raw.content), sha256(blob(kBytes)));
  record('form', text(await ask(module, to('/form', type('application/x-www-form-urlencoded')), 'a=1&b=two')));
  const piped = await ask(module, to('/pipe', { method: 'PUT' }), blobStream(kBytes, 2));
  assert.ok(piped.content.equals(blob(kBytes, 2)));
  record('piped both ways', sha256(piped.content));
  record('streamed', sha256((await ask(module, to('/stream'))).content));
  const whole = await ask(module, to('/file'));
  assert.ok(whole.content.equals(blob(kBytes, 4)));
  const range = await ask(module, to('/file', { headers: { range: 'bytes=1000000-1999999' } }));
  assert.ok(range.content.equals(blob(kBytes, 4).subarray(1000000, 2000000)));
  record('range', [range.status, range.headers['content-range']]);
  const known = await ask(module, to('/file', { headers: { 'if-none-match': whole.headers.etag } }));
  record('not modified', text(known));
  record('head', (await ask(module, to('/file', { method: 'HEAD' }))).headers['content-length']);
  record('moved', (await ask(module, to('/moved'))).headers.location);
  record('thrown', text(await ask(module, to('/bad'))));
  record('nowhere', (await ask(module, to('/nowhere'))).status);
  const last = await ask(module, to('/sockets'));
  record('the same connection all the time', [last.reused, String(last.content)]);
  agent.destroy();
}

/** Requests written without waiting for answers; these must come in the same order. */
async function pipelined(host, port, record) {
  const socket = net.connect(port, host);
  const names = Array.from({ length: 50 }, (_, i) => `name-${i}`);
  for (const name of names) socket.write(`GET /people/${name} HTTP/1.1\r\nHost: mill\r\n\r\n`);
  socket.write('GET /people/last HTTP/1.1\r\nHost: mill\r\nConnection: close\r\n\r\n');
  let text = '';
  for await (const chunk of socket) text += chunk;
  const answered = [...text.matchAll(/"name":"([\w-]+)"/g)].map((match) => match[1]);
  assert.deepEqual(answered, [...names, 'last']);
  record('pipelined', answered.length);
}

async function client({ host, port, record, ca, ask: control }) {
  await talk(http, { host, port }, record);
  await talk(https, { host, port: port + 1, ca }, record);
  await pipelined(host, port, record);
  const many = await Promise.all(
    Array.from({ length: 100 }, (_, i) => ask(http, { host, port, path: `/people/p${i}`, agent: false })),
  );
  assert.ok(many.every(({ content }, i) => JSON.parse(content).name === `p${i}`));
  record('a hundred at once', many.length);
  const watched = http.get({ host, port, path: '/watched' });
  const [response] = await once(watched, 'response');
  response.on('error', () => {});
  response.once('data', () => watched.destroy());
  await once(watched, 'close');
  const expecting = http.request({ host, port, path: '/pipe', method: 'PUT', headers: { expect: '100-continue' } });
  expecting.flushHeaders();
  await once(expecting, 'continue');
  expecting.end('continued');
  record('continue', await digest((await once(expecting, 'response'))[0]));
  record('nobody listens', await failure(ask(http, { host, port: port + 7 })));
  const held = failure(ask(http, { host, port, path: '/watched' }));
  await ask(http, { host, port, path: '/sockets' });
  await control('stop');
  record('the server ends', await held);
  await control('start');
  record('and is back', (await ask(http, { host, port, path: '/people/again' })).status);
  assert.deepEqual(await digest(blobStream(10)), digestOf(10));
}

module.exports = { server, client };
