// SPDX-License-Identifier: MIT
// A server whose clients choose the congestion control of their connections: "<name>\n", and bytes come back until losses
// have cut the window three times (BBR's is not cut: until there were some). One line of JSON for each: the bytes, and how far
// the window was cut, by what TCP says of itself before and after.
//   node congestion.js <port> <address>
'use strict';

const net = require('node:net');
const { connectionInfo, setCongestion } = require('millrace');

const [port, address] = process.argv.slice(2);
const kLosses = 5;

async function serve(socket, name) {
  const accelerated = setCongestion(socket, name);
  const block = Buffer.alloc(100_000);
  const cuts = [];
  let paced = false;
  let threshold = null;
  let window = 0;
  for (let losses = 0; cuts.length < 3 && !(name === 'bbr' && losses >= kLosses); ) {
    if (socket.writableLength < block.length) socket.write(block);
    await new Promise((resolve) => setImmediate(resolve));
    const info = connectionInfo(socket);
    if (info === null) break;
    if (info.congestion !== name) throw new Error(`it is ${info.congestion}`);
    losses = info.segmentsRetransmitted;
    paced ||= info.pacingBytesPerS !== null;
    // Only cuts in congestion avoidance: between two looks the window grows by little there.
    if (info.slowStartThresholdBytes !== threshold) {
      // Upwards: a cut that turned out to be for nothing was taken back.
      if (info.slowStartThresholdBytes < window) cuts.push(info.slowStartThresholdBytes / window);
      threshold = info.slowStartThresholdBytes;
      window = 0;
    } else if (threshold !== null && info.congestionWindowBytes >= threshold) window = info.congestionWindowBytes;
  }
  socket.end(() =>
    console.log(`result ${JSON.stringify({ name, accelerated, cuts, paced, bytes: socket.bytesWritten })}`),
  );
}

const server = net.createServer((socket) => {
  socket.once('data', (data) => serve(socket, String(data).trim()));
  socket.on('error', (error) => console.log(`error ${error.code}`));
});
server.listen(Number(port), address, () => console.log('listening on it'));
process.on('SIGTERM', () => process.exit(0));
