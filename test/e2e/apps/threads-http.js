// HTTP servers in worker threads, one port each from PORT on, or all on PORT with REUSE=1 (Node 22.12 and later).
//   threads-http.js THREADS PORT [HOST]
// Its report is that of all threads: one line `stats [...]` on stdin's `stats`; `terminate I` ends one and starts another.
'use strict';

const { Worker, isMainThread, parentPort, workerData } = require('node:worker_threads');

const [threads, port, host] = process.argv.slice(2);
const reusePort = process.env.REUSE === '1';

if (isMainThread) {
  const workers = [];
  let ready = 0;
  const start = (index) => {
    const worker = new Worker(__filename, { argv: process.argv.slice(2), workerData: index });
    workers[index] = worker;
    worker.on('message', (message) => {
      if (message.counters) return worker.emit('counters', message.counters);
      process.stdout.write(`thread ${index} listens on ${message.port}\n`);
      if (++ready === Number(threads)) process.stdout.write(`listening on ${port}\n`);
    });
    worker.on('exit', (code) => process.stdout.write(`thread ${index} ended ${code}\n`));
  };
  for (let i = 0; i < Number(threads); i++) start(i);
  const counters = (worker) =>
    new Promise((resolve) => {
      worker.once('counters', resolve);
      worker.postMessage('counters');
    });
  require('node:readline')
    .createInterface({ input: process.stdin })
    .on('line', async (line) => {
      const [name, index] = line.split(' ');
      if (name === 'stats') {
        process.stdout.write(`${JSON.stringify({ threads: await Promise.all(workers.map(counters)) })}\n`);
      } else if (name === 'terminate') {
        await workers[Number(index)].terminate();
        start(Number(index));
      }
    });
  process.on('SIGTERM', () => process.exit(0));
} else {
  const http = require('node:http');
  const server = http.createServer((request, response) => {
    response.end(JSON.stringify({ pid: workerData + 1, handle: 'thread', url: request.url }));
  });
  server.keepAliveTimeout = 60_000;
  server.on('error', ({ code }) => parentPort.postMessage({ port: code }));
  const listening = { port: Number(port) + (reusePort ? 0 : workerData), host, reusePort };
  server.listen(listening, () => parentPort.postMessage({ port: server.address().port }));
  parentPort.on('message', () => {
    const { stats } = require(process.env.LAB_LIBRARY);
    parentPort.postMessage({ counters: process.env.LAB_LIBRARY ? stats() : null });
  });
}
