// SPDX-License-Identifier: MIT
// A small Redis client on plain `net`; nothing in it knows of millrace. Prints one line of JSON.
//   node redis-client.js <host> <port>
'use strict';

const { createHash, randomBytes } = require('node:crypto');
const net = require('node:net');

const [host, port] = process.argv.slice(2);

/** Parses RESP 2 replies out of arbitrary chunks. */
class Replies {
  #buffer = Buffer.alloc(0);
  #chunks = [];
  #bytes = 0;

  push(chunk) {
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
  }

  /** The next whole reply, or undefined. */
  next(wanted = 1) {
    if (this.#chunks.length > 0 && this.#buffer.length + this.#bytes >= wanted) {
      this.#buffer = Buffer.concat([this.#buffer, ...this.#chunks]);
      this.#chunks = [];
      this.#bytes = 0;
    }
    const end = this.#buffer.indexOf('\r\n');
    if (end < 0) return undefined;
    const head = this.#buffer.toString('latin1', 1, end);
    const type = String.fromCharCode(this.#buffer[0]);
    let after = end + 2;
    let value = type === ':' ? Number(head) : head;
    if (type === '-') value = new Error(head);
    if (type === '$' && head === '-1') value = null;
    else if (type === '$') {
      const length = Number(head);
      this.missing = after + length + 2;
      if (this.#buffer.length < this.missing) return undefined;
      value = this.#buffer.subarray(after, after + length);
      after += length + 2;
    }
    this.missing = 1;
    this.#buffer = this.#buffer.subarray(after);
    return { value };
  }
  missing = 1;
}

const socket = net.connect({ host, port: Number(port), noDelay: true });
const replies = new Replies();
const waiting = [];
socket.on('data', (chunk) => {
  replies.push(chunk);
  for (;;) {
    const reply = replies.next(replies.missing);
    if (reply === undefined) return;
    waiting.shift()(reply.value);
  }
});
socket.on('error', (error) => {
  console.log(JSON.stringify({ error: error.message }));
  process.exit(1);
});

function call(...parts) {
  const pieces = [Buffer.from(`*${parts.length}\r\n`)];
  for (const part of parts) {
    const bytes = Buffer.isBuffer(part) ? part : Buffer.from(String(part));
    pieces.push(Buffer.from(`$${bytes.length}\r\n`), bytes, Buffer.from('\r\n'));
  }
  socket.write(Buffer.concat(pieces));
  return new Promise((resolve) => waiting.push(resolve));
}

socket.on('connect', async () => {
  const result = { local: socket.localAddress, ping: await call('PING') };
  // One at a time: request and response.
  const start = performance.now();
  for (let i = 0; i < 2000; ++i) await call('SET', `key:${i}`, `value ${i}`);
  let wrong = 0;
  for (let i = 0; i < 2000; ++i) if (String(await call('GET', `key:${i}`)) !== `value ${i}`) ++wrong;
  result.perSecond = Math.round(4000000 / (performance.now() - start));
  // Pipelined: many under way, answers in order.
  const counts = await Promise.all(Array.from({ length: 20000 }, () => call('INCR', 'counter')));
  result.ordered = counts.every((count, index) => count === index + 1);
  // A value of many segments, there and back.
  const big = randomBytes(8 << 20);
  await call('SET', 'big', big);
  const back = await call('GET', 'big');
  const digest = (bytes) => createHash('sha256').update(bytes).digest('hex');
  result.bigEqual = digest(big) === digest(back);
  result.missing = await call('GET', 'nothing');
  result.wrong = wrong;
  if (process.argv[4] === 'hold') {
    console.log('holding');
    await new Promise((resolve) => process.stdin.once('data', resolve));
    result.pingAgain = await call('PING');
  }
  console.log(JSON.stringify(result));
  socket.end();
  process.stdin.destroy();
});
