// SPDX-License-Identifier: MIT
// A plain server that starts a program, which lists its descriptors.
//   node parent.js PORT
'use strict';

const { spawnSync } = require('node:child_process');
const server = require('node:net').createServer((socket) => socket.destroy());

server.listen(Number(process.argv[2]), '0.0.0.0', () => {
  const { stdout } = spawnSync('ls', ['-l', '/proc/self/fd'], { encoding: 'utf8' });
  process.stdout.write(`${stdout}done\n`);
});
process.on('SIGTERM', () => process.exit(0));
