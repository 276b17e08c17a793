// Both ends of a workload in one process, plain net, http and dgram over 127.0.0.1: with MILLRACE_PORT=loopback the
// sockets find each other inside the process, without it through the kernel. Prints one line of JSON.
//   node in-process.js <workload> <seconds> [<connections>]
'use strict';

const dgram = require('node:dgram');
const http = require('node:http');
const net = require('node:net');

const [workload, secondsText, connectionsText] = process.argv.slice(2);
const seconds = Number(secondsText);
const connections = Number(connectionsText ?? 1);
const kHost = '127.0.0.1';
const kWarmupMs = 500;
const kMessage = Buffer.alloc(64, 'millrace');

/** Counts, and keeps latencies, from the end of the warm-up to the end of the time. */
class Meter {
  #latencies = new Float64Array(1 << 22);
  #kept = 0;
  #start = performance.now() + kWarmupMs;
  count = 0;
  bytes = 0;
  errors = 0;

  /** One message that was sent at `sentMs`. Gives the time, so that the next message needs no clock of its own. */
  message(sentMs) {
    const now = performance.now();
    if (now >= this.#start && now < this.#start + seconds * 1000) {
      ++this.count;
      if (this.#kept < this.#latencies.length) this.#latencies[this.#kept++] = now - sentMs;
    }
    return now;
  }

  add(bytes) {
    const now = performance.now();
    if (now < this.#start) return;
    ++this.count;
    this.bytes += bytes;
  }

  finish(extra = {}) {
    const sorted = this.#latencies.subarray(0, this.#kept).sort();
    const quantile = (q) => Math.round((sorted[Math.floor(q * (sorted.length - 1))] ?? 0) * 10000) / 10;
    const latency = this.#kept > 0 ? { p50_us: quantile(0.5), p99_us: quantile(0.99), p999_us: quantile(0.999) } : {};
    const rate = Math.round(this.count / seconds);
    const bulk = this.bytes > 0 ? { mb_per_s: Math.round(this.bytes / seconds / 1e5) / 10 } : {};
    const cpu = process.cpuUsage();
    console.log(
      JSON.stringify({
        rate,
        ...latency,
        ...bulk,
        errors: this.errors,
        cpuMs: (cpu.user + cpu.system) / 1000,
        ...extra,
      }),
    );
    process.exit(this.errors > 0 ? 1 : 0);
  }
}

/** Calls `done` when the time is over, without a look at the clock in every message. */
function atEnd(done) {
  setTimeout(done, kWarmupMs + seconds * 1000);
}

function listen(handler, options = {}) {
  return new Promise((resolve) => {
    const server = net.createServer({ noDelay: true, ...options }, handler);
    server.listen({ port: 0, host: kHost, backlog: 4096 }, () => resolve(server.address().port));
  });
}

const connect = (port) =>
  new Promise((resolve, reject) => {
    const socket = net.connect({ port, host: kHost, noDelay: true }, () => resolve(socket));
    socket.once('error', reject);
  });

const echo = (socket) => {
  socket.on('data', (data) => socket.write(data));
  socket.on('error', () => socket.destroy());
};

async function tcpEcho() {
  const port = await listen(echo);
  const sockets = await Promise.all(Array.from({ length: connections }, () => connect(port)));
  const meter = new Meter();
  for (const socket of sockets) {
    let sentMs = performance.now();
    let received = 0;
    socket.on('data', (data) => {
      received += data.length;
      if (received < kMessage.length) return;
      if (received > kMessage.length) ++meter.errors;
      received = 0;
      sentMs = meter.message(sentMs);
      socket.write(kMessage);
    });
    socket.on('error', () => ++meter.errors);
    socket.write(kMessage);
  }
  atEnd(() => meter.finish());
}

async function httpHello() {
  const server = http.createServer((_request, response) => response.end('Hello, world\n'));
  await new Promise((resolve) => server.listen(0, kHost, resolve));
  const agent = new http.Agent({ keepAlive: true, maxSockets: connections });
  const meter = new Meter();
  const get = () => {
    const sentMs = performance.now();
    const request = http.get({ agent, host: kHost, port: server.address().port }, (response) => {
      response.on('data', () => {});
      response.on('end', () => {
        meter.message(sentMs);
        get();
      });
    });
    request.on('error', () => ++meter.errors);
  };
  for (let i = 0; i < connections; ++i) get();
  atEnd(() => meter.finish());
}

async function oneWay() {
  const meter = new Meter();
  const port = await listen((socket) => socket.on('data', (data) => meter.add(data.length)));
  const socket = await connect(port);
  const block = Buffer.alloc(65536, 'bulk');
  // One write and its callback at a time per 64 KiB beyond the high-water mark: what pipe() does.
  const go = () => {
    while (socket.write(block));
  };
  socket.on('drain', go);
  go();
  atEnd(() => meter.finish());
}

function bind(type = 'udp4') {
  return new Promise((resolve) => {
    const socket = dgram.createSocket({ type, recvBufferSize: 1 << 20 });
    socket.bind(0, kHost, () => resolve(socket));
  });
}

async function udpEcho() {
  const server = await bind();
  const client = await bind();
  const port = server.address().port;
  server.on('message', (message, from) => server.send(message, from.port, from.address));
  const meter = new Meter();
  const sent = new Float64Array(connections);
  const messages = Array.from({ length: connections }, (_, slot) => {
    const message = Buffer.from(kMessage);
    message.writeUInt32LE(slot, 0);
    return message;
  });
  const send = (slot, now) => {
    sent[slot] = now;
    client.send(messages[slot], port, kHost);
  };
  client.on('message', (message) => {
    const slot = message.readUInt32LE(0);
    if (message.length !== kMessage.length || slot >= connections) ++meter.errors;
    else send(slot, meter.message(sent[slot]));
  });
  let lost = 0;
  setInterval(() => {
    const now = performance.now();
    for (let slot = 0; slot < connections; ++slot) {
      if (now - sent[slot] < 250) continue;
      ++lost;
      send(slot, now);
    }
  }, 100);
  for (let slot = 0; slot < connections; ++slot) send(slot, performance.now());
  atEnd(() => meter.finish({ lost }));
}

async function udpReceive() {
  const server = await bind();
  const client = await bind();
  const port = server.address().port;
  const meter = new Meter();
  server.on('message', (message) => meter.add(message.length));
  const burst = () => {
    for (let i = 0; i < 64; ++i) client.send(kMessage, port, kHost);
    setImmediate(burst);
  };
  burst();
  atEnd(() => {
    meter.bytes = 0;
    meter.finish();
  });
}

async function connectRate() {
  const port = await listen(echo);
  const meter = new Meter();
  const dial = () => {
    const sentMs = performance.now();
    const socket = net.connect({ port, host: kHost, noDelay: true });
    socket.on('error', () => ++meter.errors);
    socket.on('connect', () => socket.write(kMessage));
    socket.on('data', () => {
      meter.message(sentMs);
      socket.end();
    });
    socket.on('close', dial);
  };
  for (let i = 0; i < connections; ++i) dial();
  atEnd(() => meter.finish());
}

async function idle() {
  const kept = [];
  const port = await listen((socket) => {
    kept.push(socket);
    echo(socket);
  });
  const settle = async () => {
    globalThis.gc?.();
    await new Promise((resolve) => setTimeout(resolve, 200));
    globalThis.gc?.();
  };
  await settle();
  const before = process.memoryUsage().rss;
  for (let done = 0; done < connections; done += 100) {
    kept.push(...(await Promise.all(Array.from({ length: 100 }, () => connect(port)))));
  }
  while (kept.length < 2 * connections) await new Promise((resolve) => setTimeout(resolve, 10));
  await settle();
  const bytes = process.memoryUsage().rss - before;
  console.log(JSON.stringify({ kib: Math.round((bytes / connections / 1024) * 100) / 100, connections }));
  process.exit(0);
}

const workloads = {
  'tcp-echo': tcpEcho,
  http: httpHello,
  'one-way': oneWay,
  'udp-echo': udpEcho,
  'udp-receive': udpReceive,
  connect: connectRate,
  idle,
};
workloads[workload]();
