// SPDX-License-Identifier: MIT
// A plain http or https file server; nothing in it knows of millrace.
//   node files.js <port> <address> [<key.pem> <cert.pem>]
//   GET /file?bytes=N&seed=S   N bytes of a pattern          PUT /anything   answers {"bytes","sha256"} of what came
//   GET /block?ms=N            blocks the event loop         GET /hold       answers only after a minute
//   anything else              "Hello, world\n"
'use strict';

const { createHash } = require('node:crypto');
const fs = require('node:fs');
const { pattern } = require('./pattern.js');

const [port, address, key, cert] = process.argv.slice(2);

function receive(request, response) {
  const hash = createHash('sha256');
  let bytes = 0;
  request.on('data', (chunk) => {
    bytes += chunk.length;
    hash.update(chunk);
  });
  request.on('end', () => response.end(`${JSON.stringify({ bytes, sha256: hash.digest('hex') })}\n`));
}

function block(ms) {
  console.log(`blocked ${Date.now()}`);
  const end = Date.now() + ms;
  while (Date.now() < end);
  console.log(`unblocked ${Date.now()}`);
}

function serve(request, response) {
  const url = new URL(request.url, 'http://server');
  if (request.method === 'PUT' || request.method === 'POST') return receive(request, response);
  if (url.pathname === '/file') {
    const bytes = Number(url.searchParams.get('bytes'));
    response.setHeader('Content-Length', bytes);
    return pattern(bytes, url.searchParams.get('seed')).pipe(response);
  }
  if (url.pathname === '/hold') return void setTimeout(() => response.end('held\n'), 60000).unref();
  if (url.pathname === '/block') {
    response.end('blocking\n');
    return void setImmediate(block, Number(url.searchParams.get('ms')));
  }
  response.end('Hello, world\n');
}

const secure = key !== undefined;
const server = secure
  ? require('node:https').createServer({ key: fs.readFileSync(key), cert: fs.readFileSync(cert) }, serve)
  : require('node:http').createServer(serve);
server.listen(Number(port), address, () => console.log(`files listening on ${address} port ${port}`));
process.on('SIGTERM', () => process.exit(0));
