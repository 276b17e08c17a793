// SPDX-License-Identifier: MIT
// examples/http-server.js and a client in one process; nothing in either knows of millrace. Prints one line of JSON.
//   node http-both.js <port> <seconds>
'use strict';

const http = require('node:http');
const path = require('node:path');

const kConnections = 64;
const seconds = Number(process.argv[3]);
const agent = new http.Agent({ keepAlive: true, maxSockets: kConnections });
const latencies = [];
let errors = 0;

// The example takes its port and address from the environment when it is not the program itself.
process.argv.splice(2);
process.env.PORT = '0';
process.env.ADDRESS = '127.0.0.1';
const print = console.log;
console.log = (text) => {
  print(text);
  const port = Number(/port (\d+)/.exec(text)[1]);
  console.log = print;
  begin(port);
};
require(path.resolve(__dirname, '../../examples/http-server.js'));

function get(port) {
  const start = performance.now();
  const again = () => get(port);
  const request = http.get({ agent, host: '127.0.0.1', port }, (response) => {
    response.resume();
    response.on('end', () => {
      latencies.push(performance.now() - start);
      again();
    });
  });
  request.on('error', () => {
    ++errors;
    setTimeout(again, 10);
  });
}

function begin(port) {
  for (let i = 0; i < kConnections; ++i) get(port);
  setTimeout(() => {
    const sorted = Float64Array.from(latencies).sort();
    const quantile = (q) => sorted[Math.floor(q * (sorted.length - 1))] ?? 0;
    print(JSON.stringify({ rate: latencies.length / seconds, p50_ms: quantile(0.5), p99_ms: quantile(0.99), errors }));
    process.exit(0);
  }, seconds * 1000);
}
