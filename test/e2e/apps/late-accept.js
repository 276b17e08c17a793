// SPDX-License-Identifier: MIT
// A server that is busy while clients come and go; knows nothing of millrace.
//   node late-accept.js <port> <address>
//   On stdin: "block <file>" blocks the loop until there is such a file, "block-here <file>" in the callback of stdin
//   itself; "log" prints what every connection has seen, in order of its first word.
'use strict';

const { existsSync } = require('node:fs');
const net = require('node:net');

const [port, address] = process.argv.slice(2);
const logs = [];

const server = net.createServer({ allowHalfOpen: true }, (socket) => {
  const log = ['connection', socket.remoteAddress];
  logs.push(log);
  socket.on('data', (data) => log.push(`data ${data}`));
  socket.on('end', () => {
    log.push('end');
    socket.end();
  });
  socket.on('error', ({ code, syscall, errno }) => log.push(`${code} ${syscall} ${errno}`));
  socket.on('close', (hadError) => log.push(`close ${hadError}`));
});
server.listen(Number(port), address, () => console.log(`listening on ${address} port ${port}`));

process.stdin.on('data', (line) => {
  const [word, file] = String(line).trim().split(' ');
  if (word === 'log')
    return console.log(
      `log ${JSON.stringify(
        logs
          .splice(0)
          .map((log) => log.join(', '))
          .sort(),
      )}`,
    );
  const block = () => {
    while (!existsSync(file));
    console.log('unblocked');
  };
  console.log('blocking');
  return word === 'block-here' ? block() : setImmediate(block);
});
process.on('SIGTERM', () => process.exit(0));
