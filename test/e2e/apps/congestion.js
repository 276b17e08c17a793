// SPDX-License-Identifier: MIT
// A server whose clients choose the congestion control of their connections: "<name>\n", and so many bytes come back. One
// line of JSON for each: how far losses have cut the window, by what TCP says of itself before and after.
//   node congestion.js <port> <address> <bytes>
'use strict';

const net = require('node:net');
const { connectionInfo, setCongestion } = require('millrace');

const [port, address, bytes] = process.argv.slice(2);

async function serve(socket, name) {
  const accelerated = setCongestion(socket, name);
  const block = Buffer.alloc(Number(bytes));
  const cuts = [];
  let paced = false;
  let threshold = null;
  let window = 0;
  let done = false;
  socket.end(block, () => {
    done = true;
  });
  while (!done) {
    const info = connectionInfo(socket);
    if (info === null) break;
    paced ||= info.pacingBytesPerS !== null;
    // Only cuts in congestion avoidance: between two looks the window grows by little there.
    if (info.slowStartThresholdBytes !== threshold) {
      if (window > 0) cuts.push(info.slowStartThresholdBytes / window);
      threshold = info.slowStartThresholdBytes;
      window = 0;
    } else if (threshold !== null && info.congestionWindowBytes > threshold) window = info.congestionWindowBytes;
    if (info.congestion !== name) throw new Error(`it is ${info.congestion}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
  console.log(`result ${JSON.stringify({ name, accelerated, cuts, paced })}`);
}

const server = net.createServer((socket) => {
  socket.once('data', (data) => serve(socket, String(data).trim()));
  socket.on('error', (error) => console.log(`error ${error.code}`));
});
server.listen(Number(port), address, () => console.log('listening on it'));
process.on('SIGTERM', () => process.exit(0));
