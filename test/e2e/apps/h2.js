// SPDX-License-Identifier: MIT
// A plain http2 server; nothing in it knows of millrace.
//   node h2.js <port> <address> [<key.pem> <cert.pem>]
'use strict';

const fs = require('node:fs');
const http2 = require('node:http2');

const [port, address, key, cert] = process.argv.slice(2);
const server =
  key === undefined
    ? http2.createServer()
    : http2.createSecureServer({ key: fs.readFileSync(key), cert: fs.readFileSync(cert) });
server.on('stream', (stream, headers) => {
  stream.on('error', () => {});
  stream.respond({ ':status': 200, 'content-type': 'text/plain' });
  // A body of the length that the path names, so that flow control has something to do.
  stream.end(Buffer.alloc(Number(headers[':path'].slice(1)) || 13, 'h'));
});
server.listen(Number(port), address, () => console.log(`h2 listening on ${address} port ${port}`));
process.on('SIGTERM', () => process.exit(0));
