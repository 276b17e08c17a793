// SPDX-License-Identifier: MIT
// What the datagram programs under test talk with: it echoes on its ports over both families, and sends elsewhere what it
// is told to by a datagram of JSON. Plain Node.
//   node dgram-peer.js <own-ipv4> <own-ipv6> <interface>
'use strict';

const dgram = require('node:dgram');

const [ipv4, ipv6, device] = process.argv.slice(2);

/** {"from": n, "to": address, "port": p, "text": ...}: sent from the port numbered `from`. */
function order(sockets, message) {
  const { from = 0, to, port, text } = JSON.parse(message);
  sockets[from].send(text, port, to);
}

function open(type, port, address) {
  return new Promise((resolve) => {
    const socket = dgram.createSocket(type);
    socket.on('error', (error) => console.log(`error ${error.code}`));
    socket.bind(port, address, () => resolve(socket));
  });
}

async function serve(type, port, address) {
  // The first echoes; the second is another sender on the same machine.
  const sockets = [await open(type, port), await open(type, port + 1)];
  for (const socket of sockets) {
    if (type === 'udp4') socket.setBroadcast(true);
    socket.setMulticastInterface(type === 'udp4' ? address : `::%${device}`);
  }
  for (const socket of sockets) {
    socket.on('message', (message, from) => {
      if (message[0] === 0x7b) order(sockets, message);
      else socket.send(message, from.port, from.address);
    });
  }
}

Promise.all([serve('udp4', 7004, ipv4), serve('udp6', 7006, ipv6)]).then(() => console.log('listening on 7004, 7006'));
process.on('SIGTERM', () => process.exit(0));
