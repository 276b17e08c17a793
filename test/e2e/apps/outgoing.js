// Workers, or worker threads, that open connections to echo-peer.js: some are kept and used again and again, some are
// short, and datagrams go beside them. Every answer is checked.
//   outgoing.js cluster|threads WORKERS HOST PORT
// On stdin: `report`; `bulk BYTES [INDEX]` (so many, there and back, of each worker or one: hashes compared); `kill INDEX`
// (SIGKILL, or terminate(); another one takes its place). Each is answered by a line of JSON.
'use strict';

const cluster = require('node:cluster');
const { createHash } = require('node:crypto');
const dgram = require('node:dgram');
const net = require('node:net');
const { Worker, isMainThread, parentPort, workerData } = require('node:worker_threads');
const { pattern, patternHash } = require('./pattern.js');

const [kind, count, host, port] = workerData ?? process.argv.slice(2);
const ANSWER_MS = 5000;

// --- a worker

function work(say) {
  const seen = { pid: process.pid, kept: 0, short: 0, datagrams: 0, late: 0, wrong: 0, errors: {} };
  const failed = (error) =>
    (seen.errors[error.code ?? error.message] = (seen.errors[error.code ?? error.message] ?? 0) + 1);
  let number = 0;

  function open(use) {
    const socket = net.connect({ host, port: Number(port), noDelay: true });
    socket.on('connect', () => use(socket));
    socket.on('error', failed);
    return socket;
  }
  function ask(socket, done) {
    const question = `${process.pid} ${number++}`;
    const ended = () => clearTimeout(timer);
    const timer = setTimeout(() => failed(new Error('NO_ANSWER')), ANSWER_MS);
    socket.once('close', ended);
    socket.once('data', (data) => {
      clearTimeout(timer);
      socket.off('close', ended);
      if (data.toString() !== question) seen.wrong++;
      done();
    });
    socket.write(question);
  }
  function keep() {
    open((socket) => {
      const next = () =>
        ask(socket, () => {
          seen.kept++;
          setTimeout(next, 5);
        });
      next();
    });
  }
  function once() {
    const socket = open(() =>
      ask(socket, () => {
        seen.short++;
        socket.end();
      }),
    );
    socket.on('close', () => setTimeout(once, 5));
  }
  function datagrams(connected) {
    const socket = dgram.createSocket(net.isIPv6(host) ? 'udp6' : 'udp4');
    let question = '';
    let timer;
    const next = () => {
      question = `${process.pid} ${number++}`;
      timer = setTimeout(() => {
        seen.late++;
        next();
      }, 1000);
      if (connected) socket.send(question);
      else socket.send(question, Number(port), host);
    };
    socket.on('message', (message) => {
      if (message.toString() !== question) return;
      clearTimeout(timer);
      seen.datagrams++;
      setTimeout(next, 5);
    });
    socket.on('error', failed);
    if (connected) socket.connect(Number(port), host, next);
    else next();
  }
  function bulk(bytes) {
    const begin = performance.now();
    const got = createHash('sha256');
    const socket = open(() => pattern(bytes, 7).pipe(socket));
    const answer = (error) => {
      const same = got.digest('hex') === patternHash(bytes, 7);
      say({ ms: Math.round(performance.now() - begin), received: socket.bytesRead, error, same });
    };
    socket.on('data', (data) => got.update(data));
    socket.once('end', () => answer(null));
    socket.once('error', (error) => answer(error.code));
  }

  for (let i = 0; i < 3; i++) keep();
  for (let i = 0; i < 2; i++) once();
  // The first connection opens the engine, which takes its time.
  open((socket) => {
    socket.end();
    datagrams(true);
    datagrams(false);
  });
  return (message) => {
    if (message.bulk) bulk(message.bulk);
    else say({ ...seen, stats: process.env.LAB_LIBRARY ? require(process.env.LAB_LIBRARY).stats() : null });
  };
}

// --- the one who starts them

function manage() {
  const workers = [];
  const waiting = [];
  function start(index) {
    const worker =
      kind === 'cluster' ? cluster.fork() : new Worker(__filename, { workerData: [kind, count, host, port] });
    workers[index] = worker;
    worker.on('message', (message) => waiting[index]?.(message));
    worker.on('error', () => {});
    worker.on('exit', (...how) => {
      process.stdout.write(`ended ${index} ${how[1] ?? how[0]}\n`);
      start(index);
    });
  }
  const tell = (index, message) =>
    new Promise((resolve) => {
      waiting[index] = resolve;
      if (kind === 'cluster') workers[index].send(message);
      else workers[index].postMessage(message);
    });
  const commands = {
    report: () => Promise.all(workers.map((_, index) => tell(index, {}))),
    bulk: (bytes, index) => {
      const which = index === undefined ? workers.map((_, i) => i) : [Number(index)];
      return Promise.all(which.map((i) => tell(i, { bulk: Number(bytes) })));
    },
    kill: (index) => {
      if (kind === 'cluster') workers[index].process.kill('SIGKILL');
      else void workers[index].terminate();
      return Promise.resolve([]);
    },
  };
  for (let i = 0; i < Number(count); i++) start(i);
  process.stdout.write('running\n');
  require('node:readline')
    .createInterface({ input: process.stdin })
    .on('line', async (line) => {
      const [name, ...args] = line.split(' ');
      process.stdout.write(`${JSON.stringify({ workers: await commands[name](...args) })}\n`);
    });
  process.on('SIGTERM', () => {
    if (kind !== 'cluster') process.exit(0);
    let left = workers.length;
    for (const worker of workers) {
      worker.removeAllListeners('exit');
      worker.on('exit', () => --left === 0 && process.exit(0));
      worker.process.kill('SIGTERM');
    }
  });
}

if (kind === 'cluster' ? cluster.isPrimary : isMainThread) manage();
else if (kind === 'cluster') {
  process.on(
    'message',
    work((message) => process.send(message)),
  );
  process.on('SIGTERM', () => process.exit(0));
} else
  parentPort.on(
    'message',
    work((message) => parentPort.postMessage(message)),
  );
