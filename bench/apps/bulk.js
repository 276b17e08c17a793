// Bulk transfer one way, plain net: `node bulk.js source <port>` writes 64 KiB at a time to whoever connects;
// `node bulk.js sink <port>` counts, and answers the count when the peer has ended. More pairs of both: more servers.
'use strict';

const net = require('node:net');

const block = Buffer.alloc(65536, 'bulk');

function source(socket) {
  const go = () => {
    while (!socket.destroyed && socket.write(block));
  };
  socket.on('drain', go);
  go();
}

function sink(socket) {
  let bytes = 0;
  socket.on('data', (data) => {
    bytes += data.length;
  });
  socket.on('end', () => socket.end(`${bytes}\n`));
}

function serve(role, port) {
  const server = net.createServer({ allowHalfOpen: role === 'sink', noDelay: true }, (socket) => {
    socket.on('error', () => socket.destroy());
    (role === 'sink' ? sink : source)(socket);
  });
  server.listen(Number(port), '::', () => console.log(`bulk ${role} listening on port ${port}`));
}

const words = process.argv.slice(2);
for (let at = 0; at < words.length; at += 2) serve(words[at], words[at + 1]);
process.on('SIGTERM', () => process.exit(0));
