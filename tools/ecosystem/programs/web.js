// SPDX-License-Identifier: MIT
// The server of the http clients' rows: http, https and http/2, each on a port of its own.

const http = require('node:http');
const http2 = require('node:http2');
const https = require('node:https');
const { blob, blobStream, digest, once } = require('./support.js');

function json(response, value) {
  const text = JSON.stringify(value);
  response.setHeader('content-type', 'application/json');
  response.setHeader('content-length', Buffer.byteLength(text));
  response.end(text);
}

const kAnswers = {
  '/json': (request, response, query) =>
    json(response, { method: request.method, query: Object.fromEntries(query), mill: request.headers['x-mill'] }),
  '/echo': (request, response) => request.pipe(response),
  '/digest': async (request, response) => json(response, await digest(request)),
  '/length': async (request, response) => json(response, { bytes: (await digest(request)).bytes }),
  '/bytes': (_request, response, query) => response.end(blob(Number(query.get('count')), query.get('seed'))),
  '/stream': (_request, response, query) => blobStream(Number(query.get('count')), query.get('seed')).pipe(response),
  '/moved': (_request, response) => {
    response.writeHead(302, { location: '/here' });
    response.end();
  },
  '/here': (_request, response) => response.end('here'),
  '/endless': (_request, response) => {
    const write = () => response.write(Buffer.alloc(1000));
    const timer = setInterval(write, 5);
    write();
    response.on('close', () => clearInterval(timer));
  },
  /** An answer that ends before its time. */
  '/cut': (_request, response) => {
    response.writeHead(200, { 'content-length': 100000 });
    response.write(Buffer.alloc(1000));
    setTimeout(() => (response.stream ?? response.socket).destroy(), 50);
  },
  '/silent': () => {},
  '/status': (_request, response, query) => {
    response.statusCode = Number(query.get('code'));
    response.end(`status ${query.get('code')}`);
  },
};

function answer(request, response) {
  const url = new URL(request.url, 'http://mill');
  const found = kAnswers[url.pathname];
  request.on('error', () => {});
  response.on('error', () => {});
  if (found === undefined) {
    response.statusCode = 404;
    response.end('nothing here');
    return;
  }
  found(request, response, url.searchParams);
}

async function server({ host, port, tlsServer }) {
  const servers = [http.createServer(answer), https.createServer(tlsServer, answer)];
  servers.push(http2.createSecureServer({ ...tlsServer, allowHTTP1: false }, answer));
  for (const [i, one] of servers.entries()) {
    one.listen(port + i, host);
    await once(one, 'listening');
  }
}

module.exports = { answer, server };
