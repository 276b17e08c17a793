// SPDX-License-Identifier: MIT
// Under millrace: has a socket, so that there is a stack, and stays. What is not this socket's goes to the kernel.
'use strict';

require('node:net')
  .createServer((socket) => socket.destroy())
  .listen(1, '0.0.0.0', () => console.log('listening on port 1'));
process.on('SIGTERM', () => process.exit(0));
