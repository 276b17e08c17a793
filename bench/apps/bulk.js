// Bulk transfer one way, plain net: `node bulk.js source <port>` writes 64 KiB at a time to whoever connects;
// `node bulk.js sink <port>` counts, and answers the count when the peer has ended.
'use strict';

const net = require('node:net');

const [role, port] = process.argv.slice(2);
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

const server = net.createServer({ allowHalfOpen: role === 'sink', noDelay: true }, (socket) => {
  socket.on('error', () => socket.destroy());
  (role === 'sink' ? sink : source)(socket);
});
server.listen(Number(port), '::', () => console.log(`bulk ${role} listening on port ${port}`));
process.on('SIGTERM', () => process.exit(0));
