// SPDX-License-Identifier: MIT
// A plain dgram program: a connected socket that sends to a port where nobody is, until it is told so by ICMP.
//   node refused.js <host> <port> <datagrams at most>
'use strict';

const dgram = require('node:dgram');

const [host, port, most] = process.argv.slice(2);
const socket = dgram.createSocket(host.includes(':') ? 'udp6' : 'udp4');
let sent = 0;
const end = (word) => {
  console.log(word);
  process.exit(0);
};
socket.on('error', (error) => end(error.code));
socket.connect(Number(port), host, () => {
  setInterval(() => {
    if (sent++ < Number(most)) socket.send('anybody?');
    else end('no word');
  }, 100);
});
