// SPDX-License-Identifier: MIT
// Worker threads that open TCP connections to an echo server; nothing in it knows of millrace but the report.
//   node from-workers.js WORKERS HOST4 HOST6 PORT
// On stdin `round CONNECTIONS`: each worker opens so many to each host, one after the other, and talks on each a few
// times; answered by one line of JSON.
'use strict';

const { Worker, isMainThread, parentPort, workerData } = require('node:worker_threads');
const { talks } = require('./talks.js');

async function round(connections) {
  const { index, hosts, port } = workerData;
  const seen = await talks(hosts, port, connections, index);
  const { stats } = require(process.env.LAB_LIBRARY);
  return { ...seen, stats: stats() };
}

if (isMainThread) {
  const [count, host4, host6, port] = process.argv.slice(2);
  const workers = Array.from(
    { length: Number(count) },
    (_, index) => new Worker(__filename, { workerData: { index, hosts: [host4, host6], port: Number(port) } }),
  );
  const tell = (worker, message) =>
    new Promise((resolve) => {
      worker.once('message', resolve);
      worker.postMessage(message);
    });
  require('node:readline')
    .createInterface({ input: process.stdin })
    .on('line', async (line) => {
      const connections = Number(line.split(' ')[1]);
      const seen = await Promise.all(workers.map((worker) => tell(worker, connections)));
      console.log(JSON.stringify({ workers: seen }));
    });
  console.log('running');
} else {
  parentPort.on('message', async (connections) => parentPort.postMessage(await round(connections)));
}
