// SPDX-License-Identifier: MIT

const assert = require('node:assert/strict');
const https = require('node:https');
const { WebSocket, WebSocketServer, createWebSocketStream } = require('ws');
const { blob, blobStream, digest, digestOf, once, sha256, until } = require('./support.js');

const kStreamBytes = 4 << 20;
const kSizes = [0, 1, 125, 126, 65535, 65536, 1 << 20];

function behave(server, record) {
  server.on('connection', (socket, request) => {
    if (request.url === '/stream') {
      const stream = createWebSocketStream(socket);
      stream.on('error', () => {});
      stream.pipe(stream);
      return;
    }
    socket.on('error', () => {});
    socket.on('message', (data, isBinary) => {
      const text = isBinary ? '' : String(data);
      if (text === 'all') for (const other of server.clients) other.send('to all');
      else if (text === 'close me') socket.close(4002, 'as you wish');
      else socket.send(data, { binary: isBinary });
    });
    if (request.url === '/told') socket.on('close', (code, reason) => record('server: close', [code, String(reason)]));
  });
}

async function server({ host, port, record, tlsServer }) {
  const plain = new WebSocketServer({ host, port, perMessageDeflate: true, maxPayload: 8 << 20 });
  behave(plain, record);
  await once(plain, 'listening');
  const secure = https.createServer(tlsServer);
  behave(new WebSocketServer({ server: secure, maxPayload: 8 << 20 }), record);
  secure.listen(port + 1, host);
  await once(secure, 'listening');
}

async function open(url, options) {
  const socket = new WebSocket(url, { maxPayload: 8 << 20, ...options });
  await once(socket, 'open');
  return socket;
}

async function echo(socket, data) {
  socket.send(data);
  const [answer, isBinary] = await once(socket, 'message');
  assert.equal(isBinary, typeof data !== 'string');
  return answer;
}

async function closing(socket) {
  const [code, reason] = await once(socket, 'close');
  return [code, String(reason)];
}

async function echoes(context, url, options) {
  const socket = await open(url, options);
  for (const bytes of kSizes) {
    const answer = await echo(socket, blob(bytes, bytes));
    assert.ok(answer.equals(blob(bytes, bytes)));
    context.record(`echo ${bytes}`, sha256(answer));
  }
  const texts = [];
  socket.on('message', (data) => texts.push(String(data)));
  for (let i = 0; i < 500; ++i) socket.send(`message ${i}`);
  await until(() => texts.length === 500);
  assert.ok(texts.every((text, i) => text === `message ${i}`));
  const pong = once(socket, 'pong');
  socket.ping('are you there');
  context.record('pong', String((await pong)[0]));
  socket.close(1000);
  context.record('close', await closing(socket));
}

async function stream(context, url) {
  const duplex = createWebSocketStream(await open(url));
  let came = 0;
  // A WebSocket has no half-close: the end may be said only when everything is back.
  duplex.on('data', (chunk) => (came += chunk.length) === kStreamBytes && duplex.end());
  const back = digest(duplex);
  for await (const chunk of blobStream(kStreamBytes)) if (!duplex.write(chunk)) await once(duplex, 'drain');
  const result = await back;
  assert.deepEqual(result, digestOf(kStreamBytes));
  context.record('stream both ways', result);
}

async function client(context) {
  const { url, port, record, ca, ask } = context;
  await echoes(context, url('ws'), { perMessageDeflate: false });
  await echoes(context, url('ws'), { perMessageDeflate: true });
  await echoes(context, url('wss', port + 1), { ca });
  await stream(context, `${url('ws')}/stream`);

  const many = await Promise.all(Array.from({ length: 20 }, () => open(url('ws'))));
  const heard = Promise.all(many.map((socket) => once(socket, 'message')));
  many[0].send('all');
  record('broadcast', (await heard).map(([data]) => String(data)).join());
  for (const socket of many.slice(1)) socket.terminate();
  many[0].send('close me');
  record('closed by the server', await closing(many[0]));

  const told = await open(`${url('ws')}/told`);
  told.close(4001, 'enough');
  record('closed by the client', await closing(told));
  const abrupt = await open(`${url('ws')}/told`);
  abrupt.terminate();
  await closing(abrupt);

  const nobody = new WebSocket(url('ws', port + 7));
  record('nobody listens', (await once(nobody, 'error').catch((error) => [error]))[0].code);

  const orphan = await open(url('ws'));
  const end = closing(orphan);
  await ask('stop');
  record('the server ends', await end);
  await ask('start');
  const widow = await open(url('ws'));
  // The kernel ends the connection for who is gone, perhaps before we hear that it is.
  const alone = closing(widow);
  await ask('kill');
  widow.send('are you there');
  record('the server is killed', await alone);
  await ask('start');
  await echoes(context, url('ws'));
}

module.exports = { server, client };
