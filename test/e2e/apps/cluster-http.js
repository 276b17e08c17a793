// An HTTP server on a cluster of workers, unmodified in every way: the primary replaces workers that end. Each answer
// says who gave it, and who holds the connection: TCP is the kernel's handle.
//   cluster-http.js WORKERS PORT [HOST]
// On stdin of the primary: `kill PID` (SIGKILL), `disconnect ID`, `workers`. Prints a line for everything that happens.
'use strict';

const cluster = require('node:cluster');
const http = require('node:http');

const [workers, port, host] = process.argv.slice(2);

if (cluster.isPrimary) {
  if (process.env.SCHEDULING === 'none') cluster.schedulingPolicy = cluster.SCHED_NONE;
  let listening = 0;
  let closing = false;
  cluster.on('listening', (worker, address) => {
    listening++;
    process.stdout.write(`worker ${worker.id} ${worker.process.pid} listens on ${address.port}\n`);
    if (listening === Number(workers)) process.stdout.write(`listening on ${address.port}\n`);
  });
  cluster.on('exit', (worker, code, signal) => {
    process.stdout.write(`worker ${worker.id} ${worker.process.pid} ended ${signal ?? code}\n`);
    if (!closing) cluster.fork();
    else if (Object.keys(cluster.workers).length === 0) process.exit(0);
  });
  for (let i = 0; i < Number(workers); i++) cluster.fork();
  const commands = {
    kill: (pid) => process.kill(Number(pid), 'SIGKILL'),
    disconnect: (id) => cluster.workers[id].disconnect(),
    workers: () => {
      const pids = Object.values(cluster.workers).map((worker) => worker.process.pid);
      process.stdout.write(`${JSON.stringify({ pids })}\n`);
    },
  };
  require('node:readline')
    .createInterface({ input: process.stdin })
    .on('line', (line) => {
      const [name, ...args] = line.split(' ');
      commands[name](...args);
    });
  process.on('SIGTERM', () => {
    closing = true;
    for (const worker of Object.values(cluster.workers)) worker.process.kill('SIGTERM');
  });
} else {
  const server = http.createServer((request, response) => {
    const answer = { pid: process.pid, handle: request.socket._handle.constructor.name, url: request.url };
    const body = request.url.startsWith('/big') ? 'x'.repeat(Number(request.url.slice(4))) : JSON.stringify(answer);
    response.setHeader('x-pid', process.pid);
    response.end(body);
  });
  server.keepAliveTimeout = 60_000;
  server.listen(Number(port), host);
  process.on('SIGTERM', () => process.exit(0));
}
