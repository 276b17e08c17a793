// Echoes what comes by TCP and UDP. Keep-alive probes find out whose connections are no more.
//   echo-peer.js PORT
// Prints one line of JSON on each line of stdin.
'use strict';

const dgram = require('node:dgram');
const net = require('node:net');

const port = Number(process.argv[2]);
const seen = { accepted: 0, live: 0, datagrams: 0, errors: {} };

const server = net.createServer((socket) => {
  seen.accepted++;
  seen.live++;
  socket.setKeepAlive(true, 1000);
  socket.setNoDelay(true);
  socket.on('error', ({ code }) => (seen.errors[code] = (seen.errors[code] ?? 0) + 1));
  socket.on('close', () => seen.live--);
  socket.pipe(socket);
});
const echo = dgram.createSocket('udp6');
echo.on('message', (message, from) => {
  seen.datagrams++;
  echo.send(message, from.port, from.address);
});
server.listen(port, '::', () => echo.bind(port, () => process.stdout.write(`listening on ${port}\n`)));
require('node:readline')
  .createInterface({ input: process.stdin })
  .on('line', () => process.stdout.write(`${JSON.stringify(seen)}\n`));
