// A plain TCP echo server: nothing in it knows of millrace.
//   node tcp-echo.js [port [address]]
'use strict';

const net = require('node:net');

const port = Number(process.argv[2] ?? process.env.PORT ?? 7000);
const address = process.argv[3] ?? process.env.ADDRESS ?? '::';

const server = net.createServer({ noDelay: true }, (socket) => {
  socket.on('data', (data) => {
    if (!socket.write(data)) {
      socket.pause();
      socket.once('drain', () => socket.resume());
    }
  });
  socket.on('error', () => socket.destroy());
});

server.listen({ port, host: address, backlog: 4096 }, () => {
  const bound = server.address();
  console.log(`tcp echo listening on ${bound.address} port ${bound.port}`);
});

process.on('SIGTERM', () => process.exit(0));
process.on('SIGINT', () => process.exit(0));
