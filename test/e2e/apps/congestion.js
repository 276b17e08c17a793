// SPDX-License-Identifier: MIT
// A server whose clients choose the congestion control of their connections: "<name>\n", and so many bytes come back. One
// line of JSON for each: what TCP says of itself before and after the first loss.
//   node congestion.js <port> <address> <bytes>
'use strict';

const net = require('node:net');
const { connectionInfo, setCongestion } = require('../../..');

const [port, address, bytes] = process.argv.slice(2);

async function serve(socket, name) {
  const accelerated = setCongestion(socket, name);
  const block = Buffer.alloc(Number(bytes));
  let cut = null;
  let paced = false;
  let window = 0;
  let done = false;
  socket.end(block, () => {
    done = true;
  });
  while (!done) {
    const info = connectionInfo(socket);
    if (info === null) break;
    paced ||= info.pacingBytesPerS !== null;
    if (info.segmentsRetransmitted === 0) window = info.congestionWindowBytes;
    else if (cut === null && info.slowStartThresholdBytes !== null) cut = info.slowStartThresholdBytes / window;
    if (info.congestion !== name) throw new Error(`it is ${info.congestion}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
  console.log(`result ${JSON.stringify({ name, accelerated, cut, paced })}`);
}

const server = net.createServer((socket) => {
  socket.once('data', (data) => serve(socket, String(data).trim()));
  socket.on('error', (error) => console.log(`error ${error.code}`));
});
server.listen(Number(port), address, () => console.log('listening'));
process.on('SIGTERM', () => process.exit(0));
