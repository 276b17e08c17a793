// SPDX-License-Identifier: MIT
// The honest clients beside an attack: for each line on stdin one answer in JSON. A new connection echoes, a connection
// that was there before the attack echoes, a datagram comes back; each with its milliseconds, or what went wrong.
//   node prober.js <address>
'use strict';

const dgram = require('node:dgram');
const net = require('node:net');
const { once } = require('node:events');

const host = process.argv[2];
const kPatienceMs = 4000;

const within = (promise) =>
  Promise.race([promise, new Promise((_, reject) => setTimeout(reject, kPatienceMs, new Error('no answer')).unref())]);

async function timed(action) {
  const start = performance.now();
  try {
    await within(action());
    return Math.round(performance.now() - start);
  } catch (error) {
    return String(error.code ?? error.message);
  }
}

async function echo(socket) {
  const text = `probe ${Math.random()}`;
  socket.write(text);
  let got = '';
  while (got.length < text.length) got += (await once(socket, 'data'))[0];
  if (got !== text) throw new Error(`wrong echo ${got}`);
}

async function fresh() {
  const socket = net.connect(8080, host);
  try {
    await once(socket, 'connect');
    await echo(socket);
  } finally {
    socket.destroy();
  }
}

const udp = dgram.createSocket('udp4');
async function datagram() {
  const text = `probe ${Math.random()}`;
  udp.send(text, 8082, host);
  let got = '';
  while (got !== text) got = String((await once(udp, 'message'))[0]);
}

async function main() {
  const old = net.connect(8080, host);
  let lost = null;
  old.on('error', (error) => {
    lost = error;
  });
  old.on('close', () => {
    lost ??= new Error('closed');
  });
  await once(old, 'connect');
  console.log('listening on stdin');
  process.stdin.setEncoding('utf8').on('data', async () => {
    const answer = {
      fresh: await timed(fresh),
      old: await timed(() => (lost === null ? echo(old) : Promise.reject(lost))),
      datagram: await timed(datagram),
    };
    console.log(JSON.stringify(answer));
  });
}

main();
process.on('SIGTERM', () => process.exit(0));
