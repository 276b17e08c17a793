// A plain http server: nothing in it knows of millrace.
//   node http-server.js [port [address]]
'use strict';

const http = require('node:http');

const port = Number(process.argv[2] ?? process.env.PORT ?? 8080);
const address = process.argv[3] ?? process.env.ADDRESS ?? '::';

const server = http.createServer((_request, response) => {
  response.setHeader('Content-Type', 'text/plain');
  response.end('Hello, world\n');
});

server.listen(port, address, () => {
  const bound = server.address();
  console.log(`http listening on ${bound.address} port ${bound.port}`);
});

process.on('SIGTERM', () => process.exit(0));
process.on('SIGINT', () => process.exit(0));
