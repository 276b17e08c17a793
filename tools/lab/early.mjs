// SPDX-License-Identifier: MIT
// Imported before a program under millrace whose kernel has the wire by its tap only: opens the device before the program
// begins, not with its first accelerated socket, and waits until EARLY_PEER answers the kernel's ping.
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import net from 'node:net';

const server = net.createServer((socket) => socket.destroy()).listen(1, '0.0.0.0');
await once(server, 'listening');
const answers = () =>
  new Promise((resolve) => {
    execFile('ping', ['-c', '1', '-W', '1', process.env.EARLY_PEER], (error) => resolve(error === null));
  });
for (let i = 0; i < 100 && !(await answers()); ++i);
server.unref();
