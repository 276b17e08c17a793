// Random operations on UDP sockets: every form of send() to sockets that come and go, connected and not, closed from every
// callback. What arrives must be what somebody sent, once; what was sent to a socket that stays must arrive; callbacks come
// once at most; nothing is heard of a socket that has closed.
//   storm-datagrams.js <seed> <seconds> <sockets> [<host>]
'use strict';

const dgram = require('node:dgram');
const {
  content,
  count,
  counts,
  generator,
  ours,
  problem,
  problems,
  throwSomething,
  watchExceptions,
} = require('./storm/ground');

const [seed, seconds, sockets, host = '127.0.0.1'] = process.argv.slice(2);
const family = host.includes(':') ? 'udp6' : 'udp4';
const random = generator(Number(seed));
const int = (limit) => Math.floor(random() * limit);
const kHeader = 12;
/** A datagram to a socket that was closed less than this later may be lost. */
const kSettleMs = 300;
const kBytesMax = 1400;

let last = 0;
let open = 0;
let delivered = 0;
let empty = 0;
/** By number: what was sent and is still to come. */
const underWay = new Map();
const all = new Set();
const byPort = new Map();

watchExceptions();

class Peer {
  constructor() {
    this.closed = false;
    this.ready = false;
    this.closing = false;
    /** Who has been connected hears one peer only, and by another port when it is connected no more. */
    this.moved = false;
    this.connected = false;
    this.peer = null;
    this.stop = int(4) === 0 ? new AbortController() : undefined;
    this.socket = dgram.createSocket({ type: family, ...(this.stop && { signal: this.stop.signal }) });
    open++;
    all.add(this);
    this.listen();
    if (int(8) > 0) this.bind();
    this.schedule();
  }

  listen() {
    const { socket } = this;
    const emit = socket.emit;
    socket.emit = (name, ...args) => {
      if (this.closed && ['message', 'listening', 'close', 'connect', 'error'].includes(name)) {
        problem(`'${name}' behind 'close'`);
      }
      return Reflect.apply(emit, socket, [name, ...args]);
    };
    socket.on('listening', () => {
      this.ready = true;
      this.port = socket.address().port;
      byPort.set(this.port, this);
      if (int(30) === 0) this.close();
    });
    socket.on('error', (error) => {
      // A connected socket hears that its peer has gone.
      if (error.code !== 'ECONNREFUSED') problem(`socket: ${error.stack}`);
    });
    socket.on('message', (data, sender) => this.take(data, sender));
    socket.on('close', () => {
      this.closed = true;
      open--;
      all.delete(this);
      if (byPort.get(this.port) === this) byPort.delete(this.port);
    });
  }

  bind() {
    this.socket.bind({ port: 0, address: host, exclusive: int(2) === 0 });
  }

  schedule() {
    const go = () => {
      if (this.closing) return;
      for (let n = 1 + int(3); n > 0 && !this.closing; n--) this.operate();
      this.schedule();
    };
    if (Date.now() > until) return void setTimeout(() => this.close(), kSettleMs + int(100));
    const when = int(6);
    if (when === 0) process.nextTick(go);
    else if (when === 1) setImmediate(go);
    else setTimeout(go, int(12));
  }

  take(data, { address, port, size, family: name }) {
    delivered++;
    if (size !== data.length || address !== host || name !== (family === 'udp6' ? 'IPv6' : 'IPv4')) {
      problem(`rinfo: ${JSON.stringify({ address, port, size, name })} of ${data.length} bytes`);
    }
    if (data.length === 0) {
      empty--;
      return;
    }
    const number = data.readUInt32BE(0);
    const sent = underWay.get(number);
    underWay.delete(number);
    if (sent === undefined) return problem(`datagram ${number} came twice or was never sent`);
    if (sent.port !== 0 && sent.port !== port) problem(`datagram ${number} of port ${sent.port} came from ${port}`);
    if (sent.to !== this && !sent.to.closing && !sent.to.moved) problem(`datagram ${number} came to another socket`);
    const right = content(number, true, 0, sent.bytes);
    if (data.length !== kHeader + sent.bytes || !right.equals(data.subarray(kHeader))) {
      problem(`datagram ${number}: ${data.length} bytes of ${kHeader + sent.bytes}, or others`);
    }
    if (int(200) === 0) throwSomething();
    if (int(4) === 0) this.operate();
  }

  operate() {
    if (this.closing) return;
    const name = int(150) === 0 ? 'close' : NAMES[int(NAMES.length)];
    count(name);
    OPERATIONS[name].call(this, this.socket);
  }

  /** Some other socket that is there. */
  target() {
    const ready = [...all].filter((peer) => peer.ready && !peer.closing && !peer.moved);
    return ready.length === 0 ? null : ready[int(ready.length)];
  }

  send(form) {
    const to = this.peer ?? this.target();
    if (to === null || to.closing || this.connected !== (this.peer !== null)) return;
    const number = ++last;
    const bytes = int(3) === 0 ? 0 : int(kBytesMax);
    const header = Buffer.alloc(kHeader);
    header.writeUInt32BE(number, 0);
    const body = content(number, true, 0, bytes);
    const entry = { to, port: 0, bytes, at: Date.now(), from: this };
    underWay.set(number, entry);
    let called = false;
    const done = (error, sent) => {
      if (called) problem('a callback of send() came twice');
      called = true;
      if (error) underWay.delete(number);
      else if (sent !== kHeader + bytes) problem(`send() tells ${sent} of ${kHeader + bytes} bytes`);
      if (error && !this.closing && !['ECONNREFUSED', 'EISCONN'].includes(error.code)) problem(`send: ${error.stack}`);
      if (!error && !this.closing) entry.port = this.socket.address().port;
      if (int(6) === 0) this.operate();
    };
    const callback = int(3) > 0 ? done : undefined;
    if (callback === undefined) entry.unheard = true;
    const where = this.connected ? [] : [to.port, host];
    form.call(this, header, body, where, callback);
    entry.port = this.ready ? this.socket.address().port : 0;
    // Bound by this first send: it is known when it is told.
  }

  close() {
    if (this.closing) return;
    this.closing = true;
    this.closedAt = Date.now();
    if (int(2) === 0 && this.stop !== undefined) this.stop.abort();
    else this.socket.close(int(2) === 0 ? () => {} : undefined);
  }
}

const OPERATIONS = {
  sendWhole() {
    this.send(function (header, body, where, done) {
      this.socket.send(Buffer.concat([header, body]), ...where, done);
    });
  },
  sendView() {
    this.send(function (header, body, where, done) {
      const whole = Buffer.concat([Buffer.from('front'), header, body, Buffer.from('behind')]);
      this.socket.send(whole, 5, header.length + body.length, ...where, done);
    });
  },
  sendDataView() {
    this.send(function (header, body, where, done) {
      const { buffer, byteOffset, byteLength } = Buffer.concat([header, body]);
      this.socket.send(new DataView(buffer, byteOffset, byteLength), ...where, done);
    });
  },
  sendList() {
    this.send(function (header, body, where, done) {
      const cut = int(body.length + 1);
      const parts = [
        header,
        body.subarray(0, cut),
        '',
        new Uint8Array(body.subarray(cut)),
        body.toString('latin1', 0, 0),
      ];
      this.socket.send(parts, ...where, done);
    });
  },
  sendText() {
    this.send(function (header, body, where, done) {
      // A header of zeros and a number below 128 each is text
      const text = header.every((byte) => byte < 128);
      this.socket.send(text ? header.toString('latin1') + body.toString('latin1') : [header, body], ...where, done);
    });
  },
  sendNothing() {
    const to = this.peer ?? this.target();
    if (to === null || to.closing || this.connected !== (this.peer !== null)) return;
    empty++;
    const where = this.connected ? [] : [to.port, host];
    this.socket.send(int(2) === 0 ? '' : Buffer.alloc(0), ...where, int(2) === 0 ? () => {} : undefined);
  },
  connect(socket) {
    const peer = this.target();
    if (this.peer !== null || peer === null || !this.ready || peer === this || int(20) > 0) return;
    this.moved = true;
    this.peer = peer;
    socket.connect(peer.port, host, (error) => {
      if (error) return problem(`connect: ${error.stack}`);
      this.connected = true;
      if (int(10) === 0) this.close();
    });
  },
  disconnect(socket) {
    if (!this.connected || int(4) > 0) return;
    socket.disconnect();
    this.connected = false;
    this.peer = null;
  },
  poke(socket) {
    if (!this.ready) return;
    void [socket.address(), socket.getSendQueueSize?.(), socket.getSendQueueCount?.()];
    void [socket.getRecvBufferSize(), socket.getSendBufferSize()];
    if (this.connected) void socket.remoteAddress();
    ours()?.stats();
  },
  options(socket) {
    if (!this.ready) return;
    socket.setTTL(1 + int(255));
    socket.setBroadcast(int(2) === 0);
    if (int(4) === 0) socket.setRecvBufferSize(200_000 + int(100_000));
    if (int(4) === 0) socket.setMulticastTTL(int(255));
  },
  ref(socket) {
    socket.unref();
    socket.ref();
  },
  close() {
    this.close();
  },
};
const NAMES = Object.keys(OPERATIONS).filter((name) => name !== 'close');

const until = Date.now() + Number(seconds) * 1000;
const keep = setInterval(() => {
  while (Date.now() < until && open < Number(sockets)) new Peer();
  if (Date.now() < until || open > 0) return;
  clearInterval(keep);
  setTimeout(finish, 200);
}, 5);

function finish() {
  let lost = 0;
  for (const [number, { to, from, at, bytes, unheard }] of underWay) {
    const stayed = !to.moved && to.closedAt - at > kSettleMs && from.closedAt - at > kSettleMs;
    if (!stayed) continue;
    lost++;
    if (lost < 10)
      console.error(`lost: ${JSON.stringify({ number, bytes, unheard: unheard === true, port: to.port })}`);
  }
  if (lost > 0) problem(`${lost} datagrams were lost`);
  console.log(
    JSON.stringify({ sent: last, delivered, lost, empty, problems: problems.slice(0, 20), operations: counts }),
  );
  process.exitCode = problems.length > 0 ? 1 : 0;
}
