// SPDX-License-Identifier: MIT

const assert = require('node:assert/strict');
const http = require('node:http');
const { Server } = require('socket.io');
const { io } = require('socket.io-client');
const { blob, once, sha256, until } = require('./support.js');

const kBytes = 2 << 20;

async function server({ host, port, record }) {
  const web = http.createServer();
  const hub = new Server(web, { maxHttpBufferSize: 8 << 20 });
  hub.on('connection', (socket) => {
    socket.on('echo', (value, answer) => answer(value, socket.conn.transport.name));
    socket.on('join', (room, answer) => {
      socket.join(room);
      answer();
    });
    socket.on('to room', (room, text) => hub.to(room).emit('news', text));
    socket.on('count', (from) => {
      for (let i = 0; i < 1000; ++i) socket.emit('number', from + i);
    });
    socket.on('leave', (answer) => {
      socket.once('disconnect', (reason) => record('server: left', reason));
      answer();
    });
    socket.on('throw me out', () => socket.disconnect(true));
  });
  hub.of('/guarded').use((socket, next) => next(socket.handshake.auth.word === 'grain' ? undefined : new Error('no')));
  web.listen(port, host);
  await once(web, 'listening');
}

async function open(url, options) {
  const socket = io(url, { forceNew: true, reconnection: false, ...options });
  await once(socket, 'connect');
  return socket;
}

async function talk(socket, record) {
  const [, transport] = await socket.emitWithAck('echo', 1).then((value) => [value, socket.io.engine.transport.name]);
  const document = { text: 'grain', bytes: blob(kBytes), deep: [{ more: blob(100, 2) }] };
  const back = await socket.emitWithAck('echo', document);
  assert.ok(Buffer.from(back.bytes).equals(document.bytes) && Buffer.from(back.deep[0].more).equals(blob(100, 2)));
  record(`binary over ${transport}`, sha256(Buffer.from(back.bytes)));
  const numbers = [];
  socket.on('number', (number) => numbers.push(number));
  socket.emit('count', 7);
  await until(() => numbers.length === 1000);
  assert.ok(numbers.every((number, i) => number === i + 7));
  record('in order', numbers.length);
  const many = await Promise.all(Array.from({ length: 300 }, (_, i) => socket.emitWithAck('echo', i)));
  assert.ok(many.every((value, i) => value === i));
  record('acknowledged', many.length);
}

async function client({ url, port, record, ask }) {
  const polling = await open(url('http'), { transports: ['polling'] });
  await talk(polling, record);
  const direct = await open(url('http'), { transports: ['websocket'] });
  await talk(direct, record);
  const upgraded = await open(url('http'));
  await until(() => upgraded.io.engine.transport.name === 'websocket');
  await talk(upgraded, record);

  const all = [polling, direct, upgraded];
  await Promise.all(all.map((socket) => socket.emitWithAck('join', 'millers')));
  const heard = Promise.all(all.map((socket) => once(socket, 'news')));
  direct.emit('to room', 'millers', 'bread');
  record('room', (await heard).flat());
  const refused = io(`${url('http')}/guarded`, { forceNew: true, reconnection: false, auth: { word: 'stone' } });
  record('not let in', (await once(refused, 'connect_error'))[0].message);
  const guarded = await open(`${url('http')}/guarded`, { auth: { word: 'grain' } });
  record('let in', guarded.connected);
  guarded.close();
  refused.close();
  await direct.emitWithAck('leave');
  direct.close();
  const thrown = once(upgraded, 'disconnect');
  upgraded.emit('throw me out');
  record('thrown out', (await thrown)[0]);
  polling.close();
  const nobody = io(url('http', port + 7), { transports: ['websocket'], reconnection: false });
  record('nobody listens', (await once(nobody, 'connect_error'))[0].message);

  const faithful = await open(url('http'), { transports: ['websocket'], reconnection: true, reconnectionDelay: 50 });
  const lost = once(faithful, 'disconnect');
  await ask('stop');
  record('the server ends', (await lost)[0]);
  const again = once(faithful, 'connect');
  await ask('start');
  await again;
  await talk(faithful, record);
  faithful.close();
}

module.exports = { server, client };
