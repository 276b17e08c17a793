// SPDX-License-Identifier: MIT
// The server is the proxy; what stands behind it runs beside the client, so the proxy is both ends at once.

const assert = require('node:assert/strict');
const http = require('node:http');
const https = require('node:https');
const httpProxy = require('http-proxy');
const undici = require('undici');
const { WebSocket, WebSocketServer } = require('ws');
const { blob, blobStream, digest, digestOf, once, sha256, until } = require('./support.js');
const web = require('./web.js');

const kBytes = 3 << 20;
const kBehind = 100;

async function server({ host, port, peer, tlsServer }) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 8 });
  const target = `http://${peer}:${port + kBehind}`;
  const proxy = httpProxy.createProxyServer({ target, agent, xfwd: true });
  proxy.on('error', (error, _request, response) => {
    if (response.writeHead && !response.headersSent) response.writeHead(502).end(error.code);
    else response.destroy();
  });
  const front = [
    http.createServer((...args) => proxy.web(...args)),
    https.createServer(tlsServer, (...args) => proxy.web(...args)),
  ];
  for (const [i, one] of front.entries()) {
    one.on('upgrade', (request, socket, head) => proxy.ws(request, socket, head));
    one.listen(port + i, host);
    await once(one, 'listening');
  }
}

async function talk(base, dispatcher, record) {
  const get = (path, options) => undici.request(base + path, { dispatcher, ...options });
  const forwarded = await (await get('/forwarded')).body.json();
  record('forwarded', forwarded);
  const echo = await digest((await get('/echo', { method: 'POST', body: blobStream(kBytes, 2) })).body);
  assert.deepEqual(echo, digestOf(kBytes, 2));
  record('echo', echo);
  const all = await Promise.all(
    Array.from({ length: 200 }, async (_, i) => digest((await get(`/bytes?count=${i * 97}&seed=${i}`)).body)),
  );
  for (const [i, sum] of all.entries()) assert.deepEqual(sum, digestOf(i * 97, i));
  record('200 at once', all.length);
  record('moved', (await get('/moved')).headers.location);
}

async function sockets(url, options, record) {
  const socket = new WebSocket(url, options);
  await once(socket, 'open');
  const came = [];
  socket.on('message', (data) => came.push(data));
  for (let i = 0; i < 200; ++i) socket.send(blob(i * 100, i));
  await until(() => came.length === 200);
  assert.ok(came.every((data, i) => data.equals(blob(i * 100, i))));
  record('WebSocket', sha256(Buffer.concat(came)));
  socket.close(4000, 'enough');
  const [code, reason] = await once(socket, 'close');
  record('WebSocket closed', [code, String(reason)]);
}

async function client({ url, own, port, record, ca }) {
  const behind = http.createServer((request, response) => {
    if (request.url !== '/forwarded') return web.answer(request, response);
    const { 'x-forwarded-proto': proto, 'x-forwarded-for': from } = request.headers;
    return response.end(JSON.stringify({ proto, from: from === own }));
  });
  new WebSocketServer({ server: behind }).on('connection', (socket) =>
    socket.on('message', (data) => socket.send(data)),
  );
  behind.listen(port + kBehind, own);
  await once(behind, 'listening');
  const plain = new undici.Agent({ connections: 4 });
  const secure = new undici.Agent({ connections: 4, connect: { ca } });
  await talk(url('http'), plain, record);
  await talk(url('https', port + 1), secure, record);
  await sockets(url('ws'), {}, record);
  await sockets(url('wss', port + 1), { ca }, record);
  behind.closeAllConnections();
  await new Promise((resolve) => behind.close(resolve));
  const refused = await until(async () => {
    const answer = await undici.request(`${url('http')}/here`, { dispatcher: plain });
    const text = await answer.body.text();
    return text === 'ECONNREFUSED' && [answer.statusCode, text];
  });
  record('nobody behind', refused);
  await Promise.all([plain.destroy(), secure.destroy()]);
}

module.exports = { server, client };
