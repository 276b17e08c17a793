// SPDX-License-Identifier: MIT
// A server that lets go of its connections in mid-stream; nothing in it knows of millrace, but for `self`.
//   node hand-over.js <port> <address> <bytes> child|keep|advanced|paused|self|here
//     child     sends each socket to another process, where both streams go on; the parent's is closed by that
//     advanced  the same with serialization: 'advanced'
//     paused    sends it unread, with bytes waiting both ways
//     keep      the same with keepOpen: the parent destroys its own when the child has it
//     self      goes on by itself, over the kernel
//     here      goes on by itself
//   One line of JSON at the end of every connection; on stdin "close" ends the listening, "stop" everything.
'use strict';

const { fork } = require('node:child_process');
const net = require('node:net');
const { Duplex } = require('./duplex.js');
const { patternAt } = require('./pattern.js');

const [port, address, bytesText, how] = process.argv.slice(2);
const bytes = Number(bytesText);
/** Written before a socket is sent unread. */
const kAhead = 300_000;

/** What to do when the child has each of the sockets under way. */
const given = [];

const plan = (sent, received) => ({ bytes, outgoing: 'down', incoming: 'up', sent, received });

if (port === 'child') runChild();
else runServer();

function runChild() {
  process.on('message', ({ sent, received }, socket) => {
    process.send('got');
    const from = { fd: socket._handle.fd, remote: socket.remoteAddress, port: socket.remotePort };
    socket.allowHalfOpen = true;
    new Duplex(socket, plan(sent, received), null, (error) => {
      process.send({ ...from, sent, received, error: error?.message ?? null });
    });
  });
  process.on('disconnect', () => process.exit(0));
}

function report(outcome) {
  console.log(JSON.stringify(outcome));
}

function runServer() {
  const away = !['self', 'here'].includes(how);
  const child = away
    ? fork(__filename, ['child', '', bytesText, how], { serialization: how === 'advanced' ? 'advanced' : 'json' })
    : null;
  child?.on('message', (message) => {
    if (message !== 'got') return report(message);
    given.shift()();
    waiting.shift()?.();
    return undefined;
  });
  const unread = how === 'paused' || how === 'keep';
  const server = net.createServer({ pauseOnConnect: unread, allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {});
    if (unread) return givePaused(socket, child);
    return goOn(socket, child);
  });
  server.listen({ port: Number(port), host: address }, () => console.log(`listening on ${address} port ${port}`));
  process.stdin.on('data', (line) => {
    if (String(line).startsWith('close')) return server.close(() => console.log('closed'));
    child?.disconnect();
    return process.exit(0);
  });
}

function give(child, socket, state) {
  given.push(() => {
    if (how === 'keep') socket.destroy();
  });
  child.send(state, socket, { keepOpen: how === 'keep' }, (error) => {
    if (error) report({ error: `${error.code} ${error.syscall}` });
  });
}

function givePaused(socket, child) {
  socket.write(patternAt(0, kAhead, 'down'));
  setTimeout(() => give(child, socket, { sent: kAhead, received: 0 }), 300);
}

/** Sockets that wait until the child has the one before: one that has to wait inside of Node goes on reading. */
const waiting = [];

/** Away from here somewhere between a tenth and nine tenths of the stream. */
function goOn(socket, child) {
  const at = bytes * (0.1 + 0.8 * Math.random());
  let left = how === 'here';
  const step = (duplex) => {
    if (left || duplex.sent < at || duplex.sent === bytes || duplex.writing) return;
    left = true;
    if (how === 'self') {
      require('millrace').handOver(socket);
      return;
    }
    duplex.holding = true;
    waiting.push(() => give(child, socket, duplex.stop()));
    if (given.length === 0) waiting.shift()();
  };
  new Duplex(socket, plan(0, 0), step, (error) => report({ left, error: error?.message ?? null }));
}
