// One end of a stream in a storm: random operations from every callback, and what must be true of it alone. Any duplex
// stream will do (TCP, TLS, a stream of http2).
'use strict';

const { pipeline, Writable } = require('node:stream');
const { content, count, kWriteMax, ledger, problem } = require('./ground');

const kIdBytes = 8;
const kPatienceMs = 30_000;
/** Now and then plain Node's streams of http2 stand still after random operations. */
const kStreamPatienceMs = 3000;
const kSentMax = 4_000_000;
/** Ways to read; the server's first bytes tell which connection it is, so they come by any of them. */
const WAYS = ['data', 'readable', 'pipe', 'pipeline', 'iterator', 'data', 'readable', 'pipe'];

/** What a stream must not say any more when it has closed. */
const LAST_BY_CLOSE = new Set(['close', 'connect', 'drain', 'end', 'error', 'finish', 'ready', 'secureConnect']);

let openEnds = 0;
/** Filled by operations.js, which needs this. */
const operations = { all: {}, usual: [], fatal: [] };

/** Now and then plain Node forgets the callbacks of writes that wait when a stream is destroyed. */
const mustAnswer = ({ gaveUp, error, ended, kind }) =>
  gaveUp === '' && (kind === 'tcp' || (error === '' && ended && kind !== 'h2'));

class End {
  /** `usesBuffer`: net's `onread` gives the bytes to take(). */
  constructor(socket, random, { isClient, id, kind = 'tcp', usesBuffer = false }) {
    this.socket = socket;
    this.random = random;
    this.isClient = isClient;
    this.id = id;
    this.kind = kind;
    this.usesBuffer = usesBuffer;
    this.sent = 0;
    this.received = 0;
    this.operations = 3 + Math.floor(random() * 50);
    this.awaited = 0;
    this.record = {
      kind,
      isClient,
      id,
      sent: 0,
      received: 0,
      finished: false,
      ended: false,
      endedFirst: false,
      gaveUp: '',
      error: '',
      closed: false,
    };
    this.greeting = '';
    ledger.push(this.record);
    openEnds++;
    this.watch();
    this.listen();
    if (id !== null) this.start();
  }

  int(limit) {
    return Math.floor(this.random() * limit);
  }

  /** Nothing is heard of a stream that has closed. */
  watch() {
    const { socket } = this;
    const emit = socket.emit;
    socket.emit = (name, ...args) => {
      const { record } = this;
      // Of TLS over a stream of the program's plain Node tells behind 'close' what becomes of that.
      if (record.closed && LAST_BY_CLOSE.has(name) && /^(?:tcp|tls)$/.test(this.kind)) {
        problem(`'${name}' behind 'close': ${this.describe()}`);
      }
      return Reflect.apply(emit, socket, [name, ...args]);
    };
  }

  describe() {
    const { socket, record, sent, received, awaited } = this;
    const { readyState, bytesRead, bytesWritten, writableLength, readableLength, _handle: handle } = socket;
    const queue = handle?.writeQueueSize;
    const state = { readyState, bytesRead, bytesWritten, writableLength, readableLength, queue };
    const left = this.operations;
    return JSON.stringify({ ...record, sent, received, awaited, left, ...state, paused: socket.isPaused() });
  }

  listen() {
    const { socket, record } = this;
    socket.on('error', (error) => {
      record.error ||= error.code ?? error.message;
    });
    socket.on('end', () => {
      record.ended = true;
      record.endedFirst = socket.writableEnded;
      // It went before it had said who it is.
      if (this.id === null) this.giveUp('early', () => socket.destroy());
    });
    socket.on('finish', () => {
      record.finished = true;
    });
    socket.on('timeout', () => {
      socket.setTimeout(0);
      if (this.int(3) === 0) this.giveUp('timeout', () => socket.destroy());
    });
    socket.on('close', () => {
      record.closed = true;
      record.sent = this.sent;
      openEnds--;
      clearTimeout(this.timer);
      clearTimeout(this.deadline);
      setTimeout(() => {
        if (this.awaited > 0 && mustAnswer(record))
          problem(`${this.awaited} callbacks of write() never came: ${this.describe()}`);
      }, 100);
      this.poke(); // getters of what has gone
      this.maybeThrow();
    });
    this.read();
    const isStream = this.kind === 'h2';
    this.deadline = setTimeout(
      () => {
        if (!isStream) problem(`hangs: ${this.describe()}`);
        this.giveUp('hangs', () => socket.destroy());
        if (isStream) setTimeout(() => record.closed || socket.emit('close'), 500);
      },
      isStream ? kStreamPatienceMs : kPatienceMs,
    );
  }

  /** Ends the connection in another way than by end(). */
  giveUp(how, action) {
    this.record.gaveUp ||= how;
    action();
  }

  /** Only where plain Node survives it: in most events its streams lose their place. */
  maybeThrow() {
    if (this.int(40) === 0) operations.all.throwNow();
  }

  // --- receiving

  read() {
    const { socket } = this;
    // A pipe into a sink that fails destroys, an iterator does when it is done.
    const way = this.usesBuffer ? 'data' : WAYS[this.int(WAYS.length)];
    this.way = way;
    if (this.usesBuffer) socket.resume();
    else if (way === 'data') socket.on('data', (data) => this.take(data));
    else if (way === 'readable') socket.on('readable', () => this.readSome());
    else if (way === 'pipe') socket.pipe(this.sink());
    else if (way === 'pipeline') pipeline(socket, this.sink(), () => {});
    else this.iterate();
  }

  readSome() {
    for (;;) {
      const size = this.int(2) === 0 ? undefined : 1 + this.int(70_000);
      const data = this.socket.read(size) ?? this.socket.read();
      if (data === null) return;
      this.take(data);
    }
  }

  sink() {
    return new Writable({
      highWaterMark: 1 + this.int(40_000),
      write: (data, _encoding, done) => {
        this.take(data);
        const fails = this.way === 'pipeline' && this.int(100) === 0;
        if (fails) this.giveUp('pipeline', () => done(new Error('sink')));
        else if (this.int(4) === 0) setTimeout(done, this.int(3));
        else done();
      },
    });
  }

  async iterate() {
    this.record.gaveUp = 'iterator';
    try {
      for await (const data of this.socket) {
        this.take(data);
        if (this.int(60) === 0) break;
        if (this.int(6) === 0) await new Promise((resolve) => setTimeout(resolve, this.int(4)));
      }
    } catch {
      // 'error' told it too
    }
  }

  take(given) {
    let data = given;
    if (this.id === null) {
      const wanted = kIdBytes - this.greeting.length;
      this.greeting += data.toString('latin1', 0, wanted);
      data = data.subarray(wanted);
      if (this.greeting.length < kIdBytes) return;
      this.id = this.record.id = Number.parseInt(this.greeting, 16);
      this.start();
    }
    for (let at = 0; at < data.length; ) {
      const length = Math.min(data.length - at, kWriteMax);
      const right = content(this.id, !this.isClient, this.received, length);
      if (!right.equals(data.subarray(at, at + length))) {
        problem(`wrong bytes near ${this.received}: ${this.describe()}`);
        this.giveUp('wrong', () => this.socket.destroy());
        return;
      }
      at += length;
      // Behind a pipe bytes come after the socket has closed.
      this.received += length;
      this.record.received = this.received;
    }
    if (this.int(6) === 0) this.operate();
  }

  // --- doing

  start() {
    if (this.isClient) this.socket.write(this.id.toString(16).padStart(kIdBytes, '0'), 'latin1');
    this.schedule();
  }

  schedule() {
    const { socket } = this;
    const go = () => {
      if (socket.destroyed) return;
      for (let n = 1 + this.int(3); n > 0 && !socket.destroyed; n--) this.operate();
      this.schedule();
    };
    if (this.operations <= 0) return this.windDown();
    const when = this.int(10);
    if (when === 0) process.nextTick(go);
    else if (when === 1) queueMicrotask(go);
    else if (when < 6) setImmediate(go);
    else this.timer = setTimeout(go, this.int(12));
  }

  windDown() {
    const { socket } = this;
    if (this.winding || socket.destroyed) return;
    this.winding = true;
    while (socket.writableCorked > 0) socket.uncork();
    if (!socket.writableEnded) socket.end();
    this.flow();
    // Whoever paused last must not be the last to be heard of.
    this.timer = setTimeout(() => this.flow(), 50);
  }

  flow() {
    if (this.way === 'data') this.socket.resume();
    else if (this.way === 'readable') this.socket.read(0);
  }

  operate() {
    this.operations--;
    const { socket } = this;
    if (socket.destroyed) return;
    const rare = this.int(100);
    const names = rare < 3 ? operations.fatal : operations.usual;
    const name = names[this.int(names.length)];
    count(name);
    operations.all[name].call(this, socket);
  }

  write(length, encoding) {
    const { socket } = this;
    if (!socket.writable || this.sent > kSentMax) return;
    const piece = content(this.id, this.isClient, this.sent, length);
    this.sent += length;
    const done = this.int(8) === 0 ? this.callback() : undefined;
    if (encoding !== undefined) socket.write(piece.toString(encoding), encoding, done);
    else socket.write(this.int(2) === 0 ? piece : new Uint8Array(piece), done);
  }

  /** It must be called once. (Plain Node's TLS calls one twice when the connection goes while it writes.) */
  callback() {
    let called = false;
    this.awaited++;
    return () => {
      if (called && this.kind === 'tcp') problem(`a callback of write() came twice: ${this.describe()}`);
      if (!called) this.awaited--;
      called = true;
      this.operate();
    };
  }

  poke() {
    const { socket } = this;
    const handle = socket._handle;
    void [socket.address?.(), socket.remoteAddress, socket.remotePort, socket.localAddress, socket.readyState];
    void [socket.bytesRead, socket.bytesWritten, socket.writableLength, socket.connecting, socket.pending];
    if (this.isSecure) this.pokeSecure();
    if (!handle) return;
    void [handle.fd, handle.bytesRead, handle.bytesWritten, handle.writeQueueSize, handle.isStreamBase];
    void [handle.getAsyncId?.(), handle.hasRef?.(), handle.getProviderType?.(), handle._externalStream];
  }

  /** Plain Node crashes when it is asked about TLS whose connection has gone. */
  get isSecure() {
    return this.kind.includes('tls') && !this.socket.destroyed && this.below?.()?.destroyed !== true;
  }

  pokeSecure() {
    const { socket } = this;
    void [socket.getCipher(), socket.getProtocol(), socket.getPeerCertificate(), socket.getSession()];
    void [
      socket.getFinished(),
      socket.isSessionReused(),
      socket.getTLSTicket(),
      socket.authorized,
      socket.alpnProtocol,
    ];
  }
}

module.exports = { End, operations, openEnds: () => openEnds };
