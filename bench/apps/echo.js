// SPDX-License-Identifier: MIT
// Plain echo over TCP or UDP, and a client that keeps so many messages in flight; nothing in it knows of millrace.
//   node echo.js serve <tcp|udp> <port>                prints, at its end, the CPU time since the first message
//   node echo.js ask <tcp|udp> <port> <host> <bytes> <in flight> <seconds>
'use strict';

const dgram = require('node:dgram');
const net = require('node:net');

const [role, protocol, port, host, bytes, inFlight, seconds] = process.argv.slice(2);

function serve() {
  let before = null;
  const seen = () => {
    before ??= process.cpuUsage();
  };
  if (protocol === 'udp') {
    const socket = dgram.createSocket('udp4');
    socket.on('message', (message, from) => {
      seen();
      socket.send(message, from.port, from.address);
    });
    socket.bind(Number(port), '0.0.0.0', () => console.log('listening on udp'));
  } else {
    const server = net.createServer({ noDelay: true }, (socket) => {
      socket.on('data', (data) => {
        seen();
        socket.write(data);
      });
      socket.on('error', () => socket.destroy());
    });
    server.listen(Number(port), '0.0.0.0', () => console.log('listening on tcp'));
  }
  process.on('SIGTERM', () => {
    const used = process.cpuUsage(before ?? process.cpuUsage());
    console.log(JSON.stringify({ cpuSeconds: (used.user + used.system) / 1e6 }));
    process.exit(0);
  });
}

const kPatienceMs = 20_000;
let messages = 0;
let start;

/** An answer: the first one starts the clock. (A link may come up after the program.) */
function answered() {
  if (start === undefined) {
    start = performance.now();
    setTimeout(report, Number(seconds) * 1000);
  }
  messages++;
}

function report() {
  const spent = start === undefined ? 0 : (performance.now() - start) / 1000;
  console.log(JSON.stringify({ messages, seconds: spent }));
  process.exit(0);
}

function askUdp() {
  const socket = dgram.createSocket('udp4');
  const message = Buffer.alloc(Number(bytes), 'x');
  let lately = 0;
  const send = () => socket.send(message, Number(port), host);
  socket.on('message', () => {
    answered();
    lately++;
    send();
  });
  for (let i = 0; i < Number(inFlight); i++) send();
  // What was lost on the way is sent again when everything stands still.
  setInterval(() => {
    if (lately === 0) for (let i = 0; i < Number(inFlight); i++) send();
    lately = 0;
  }, 250);
}

/** One message in flight on each of so many connections. */
function askTcp() {
  const message = Buffer.alloc(Number(bytes), 'x');
  for (let i = 0; i < Number(inFlight); i++) {
    const socket = net.connect({ port: Number(port), host, noDelay: true }, () => socket.write(message));
    let got = 0;
    socket.on('data', (data) => {
      got += data.length;
      for (; got >= message.length; got -= message.length) {
        answered();
        socket.write(message);
      }
    });
  }
}

if (role === 'serve') serve();
else {
  setTimeout(() => start === undefined && report(), kPatienceMs);
  if (protocol === 'udp') askUdp();
  else askTcp();
}
