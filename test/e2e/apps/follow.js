// SPDX-License-Identifier: MIT
// A client with one connection that lasts, and more by order; knows nothing of millrace. For each line on stdin one of
// JSON: "echo <bytes>" over the connection that lasts, "connect <host>" for a new one, which stays open, "drop". An error
// of the one that lasts is told by itself.
//   node follow.js <host> <port>
'use strict';

const net = require('node:net');
const readline = require('node:readline');
const { once } = require('node:events');

const [host, port] = process.argv.slice(2);
let others = [];

async function connect(to) {
  const socket = net.connect({ host: to, port: Number(port), noDelay: true });
  await once(socket, 'connect');
  return socket;
}

async function echo(socket, bytes) {
  const start = performance.now();
  const sent = Buffer.alloc(bytes, `${Math.random()}`);
  const chunks = [];
  let received = 0;
  socket.write(sent);
  while (received < bytes) {
    const [data] = await once(socket, 'data');
    chunks.push(data);
    received += data.length;
  }
  return { ok: Buffer.concat(chunks).equals(sent), ms: Math.round(performance.now() - start) };
}

async function obey(lasting, line) {
  const [order, value] = line.split(' ');
  if (order === 'echo') return echo(lasting, Number(value));
  if (order === 'connect') {
    const socket = await connect(value);
    others.push(socket);
    return { ...(await echo(socket, 10)), from: socket.localAddress };
  }
  for (const socket of others) socket.destroy();
  others = [];
  return {};
}

async function main() {
  const lasting = await connect(host);
  lasting.on('error', (error) => console.log(`ended ${error.code}`));
  console.log('connected');
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const answer = await obey(lasting, line).catch((error) => ({ error: error.code ?? error.message }));
    console.log(`answer ${JSON.stringify(answer)}`);
  }
}

process.on('SIGTERM', () => process.exit(0));
main();
