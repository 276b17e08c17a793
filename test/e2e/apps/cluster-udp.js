// A UDP echo on a cluster of workers, which share the socket; each answer says who gave it.
//   cluster-udp.js WORKERS PORT [HOST]
'use strict';

const cluster = require('node:cluster');

const [workers, port, host] = process.argv.slice(2);

if (cluster.isPrimary) {
  let listening = 0;
  cluster.on('listening', (_worker, address) => {
    if (++listening === Number(workers)) process.stdout.write(`listening on ${address.port}\n`);
  });
  for (let i = 0; i < Number(workers); i++) cluster.fork();
  let left = Number(workers);
  cluster.on('exit', (worker, code, signal) => {
    process.stdout.write(`worker ${worker.process.pid} ended ${signal ?? code}\n`);
    if (--left === 0) process.exit(0);
  });
  process.on('SIGTERM', () => cluster.disconnect());
} else {
  const socket = require('node:dgram').createSocket({ type: host?.includes(':') ? 'udp6' : 'udp4' });
  socket.on('message', (message, from) => socket.send(`${process.pid} ${message}`, from.port, from.address));
  socket.bind(Number(port), host);
  process.on('SIGTERM', () => {});
}
