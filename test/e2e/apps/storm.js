// Random operations on many connections: what programs do to sockets, in every order and from every callback. Every byte
// that arrives is checked against what was sent, and every end against how the other side ended. Plain Node; the same
// seed makes the same choices, as far as the network lets it.
//   storm.js both <seed> <seconds> <at a time>                    both ends in this process
//   storm.js serve <seed> <port> <host> <ledger file>             until SIGTERM
//   storm.js connect <seed> <seconds> <at a time> <host> <port> <ledger file>
//   storm.js compare <ledger file> <ledger file>                  of the two sides
// STORM_HAND_OVER=0: no connection is handed over to the kernel.
'use strict';

const fs = require('node:fs');
const net = require('node:net');
const { Writable } = require('node:stream');

const [role, ...words] = process.argv.slice(2);

// --- chance, and content

/** mulberry32 */
function generator(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const kTable = 1 << 20;
const kWriteMax = 300_000;
const kIdBytes = 8;
/** Seven bits, so that every encoding can carry it. Twice, so that every piece is in one. */
const table = Buffer.alloc(2 * kTable);
{
  const random = generator(1);
  for (let i = 0; i < kTable; i++) table[i] = table[kTable + i] = Math.floor(random() * 128);
}

function content(id, fromClient, offset, length) {
  const start = (id * 7919 + (fromClient ? 104_729 : 0) + offset) % kTable;
  return table.subarray(start, start + length);
}

// --- one end of a connection

const problems = [];
const ledger = [];
const counts = {};
let openEnds = 0;

function problem(text) {
  problems.push(text);
  if (problems.length < 20) console.error(text);
}

const expected = new WeakSet();
process.on('uncaughtException', (error) => {
  if (!expected.has(error)) problem(`uncaught ${error.stack}`);
});

function throwSomething() {
  const error = new Error('on purpose');
  expected.add(error);
  throw error;
}

class End {
  constructor(socket, random, isClient, id) {
    this.socket = socket;
    this.random = random;
    this.isClient = isClient;
    this.id = id;
    this.sent = 0;
    this.received = 0;
    this.operations = 3 + Math.floor(random() * 50);
    this.record = {
      isClient,
      id,
      sent: 0,
      received: 0,
      finished: false,
      ended: false,
      gaveUp: '',
      error: '',
      closed: false,
    };
    this.greeting = '';
    ledger.push(this.record);
    openEnds++;
    this.listen();
    if (id !== null) this.start();
  }

  int(limit) {
    return Math.floor(this.random() * limit);
  }

  listen() {
    const { socket, record } = this;
    socket.on('error', (error) => {
      record.error ||= error.code ?? error.message;
    });
    socket.on('end', () => {
      record.ended = true;
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
      this.poke(); // getters of what has gone
      this.maybeThrow();
    });
    this.read();
    this.deadline = setTimeout(() => {
      const { readyState, bytesRead, bytesWritten, writableLength, readableLength, _handle: handle } = socket;
      problem(
        `hangs: ${JSON.stringify({ ...record, sent: this.sent, received: this.received, operations: this.operations, readyState, bytesRead, bytesWritten, writableLength, readableLength, paused: socket.isPaused(), queue: handle?.writeQueueSize })}`,
      );
      socket.destroy();
    }, 30_000);
  }

  /** Ends the connection in another way than by end(). */
  giveUp(how, action) {
    this.record.gaveUp ||= how;
    action();
  }

  /** Only where plain Node survives it: in most events its streams lose their place. */
  maybeThrow() {
    if (this.int(40) === 0) throwSomething();
  }

  // --- receiving

  read() {
    const { socket } = this;
    // The server's first bytes tell which connection it is.
    const way = this.isClient ? this.int(4) : this.int(3);
    this.way = way;
    if (way === 0 || this.usesBuffer) {
      if (!this.usesBuffer) socket.on('data', (data) => this.take(data));
      else socket.resume();
    } else if (way === 1) {
      socket.on('readable', () => {
        for (;;) {
          const size = this.int(2) === 0 ? undefined : 1 + this.int(70_000);
          const data = socket.read(size) ?? socket.read();
          if (data === null) return;
          this.take(data);
        }
      });
    } else {
      const sink = new Writable({
        highWaterMark: 1 + this.int(40_000),
        write: (data, _encoding, done) => {
          this.take(data);
          if (this.int(4) === 0) setTimeout(done, this.int(3));
          else done();
        },
      });
      socket.pipe(sink);
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
        problem(`wrong bytes: connection ${this.id}, ${this.isClient ? 'client' : 'server'}, near ${this.received}`);
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
    if (this.way === 0 || this.usesBuffer) this.socket.resume();
    else if (this.way === 1) this.socket.read(0);
  }

  operate() {
    this.operations--;
    const { socket } = this;
    if (socket.destroyed) return;
    const rare = this.int(100);
    const name = rare < 3 ? FATAL[this.int(FATAL.length)] : USUAL[this.int(USUAL.length)];
    counts[name] = (counts[name] ?? 0) + 1;
    OPERATIONS[name].call(this, socket);
  }

  write(length, encoding) {
    const { socket } = this;
    if (!socket.writable || this.sent > 4_000_000) return;
    const piece = content(this.id, this.isClient, this.sent, length);
    this.sent += length;
    const done = this.int(8) === 0 ? () => this.operate() : undefined;
    if (encoding !== undefined) socket.write(piece.toString(encoding), encoding, done);
    else socket.write(this.int(2) === 0 ? piece : new Uint8Array(piece), done);
  }

  poke() {
    const { socket } = this;
    const handle = socket._handle;
    void [socket.address(), socket.remoteAddress, socket.remotePort, socket.localAddress, socket.readyState];
    void [socket.bytesRead, socket.bytesWritten, socket.writableLength, socket.connecting, socket.pending];
    if (!handle) return;
    void [handle.fd, handle.bytesRead, handle.bytesWritten, handle.writeQueueSize, handle.isStreamBase];
    void [handle.getAsyncId?.(), handle.hasRef?.(), handle.getProviderType?.(), handle._externalStream];
  }
}

/** An error may not come out of these. */
const OPERATIONS = {
  writeSmall() {
    this.write(1 + this.int(200));
  },
  writeBig() {
    this.write(1 + this.int(kWriteMax));
  },
  writeText() {
    this.write(2 * this.int(5000), ['utf8', 'latin1', 'ascii', 'hex', 'base64', 'utf16le'][this.int(6)]);
  },
  writeMany() {
    for (let n = this.int(20); n > 0; n--) this.write(this.int(2000));
  },
  corked(socket) {
    socket.cork();
    for (let n = this.int(5); n > 0; n--) this.write(this.int(3000), this.int(2) === 0 ? 'latin1' : undefined);
    if (this.int(3) > 0) process.nextTick(() => socket.uncork());
    else socket.uncork();
  },
  pause(socket) {
    if (this.way === 0 || this.usesBuffer) socket.pause();
    setTimeout(() => !socket.destroyed && this.flow(), this.int(20));
  },
  resume() {
    this.flow();
  },
  ref(socket) {
    socket.unref();
    socket.ref();
  },
  unref(socket) {
    socket.unref();
    setTimeout(() => socket.ref(), this.int(10));
  },
  noDelay(socket) {
    socket.setNoDelay(this.int(2) === 0);
  },
  keepAlive(socket) {
    socket.setKeepAlive(this.int(2) === 0, this.int(5000));
  },
  timeout(socket) {
    socket.setTimeout([0, 1, 5, 1000][this.int(4)]);
  },
  poke() {
    this.poke();
  },
  readNothing(socket) {
    if (this.way === 1) socket.read(0);
  },
  throwLater() {
    setImmediate(throwSomething);
  },
  end(socket) {
    if (this.int(4) > 0 || socket.writableEnded) return;
    while (socket.writableCorked > 0) socket.uncork();
    socket.end();
  },
  ...extras(),
};

/** What only millrace has. */
function extras() {
  if (!process.execArgv.concat(process.env.NODE_OPTIONS ?? '').some((word) => word.includes('register'))) return {};
  const millrace = require('../../../dist/lib/index.js');
  const quietly = (action) => {
    try {
      return action();
    } catch (error) {
      if (!/ENOTCONN|EAGAIN|ENOBUFS|EPERM|ERR_INVALID/.test(error.code)) throw error;
      return null;
    }
  };
  return {
    info: (socket) => millrace.connectionInfo(socket),
    congestion(socket) {
      quietly(() => millrace.setCongestion(socket, ['cubic', 'newreno', 'bbr'][this.int(3)]));
    },
    ...(process.env.STORM_HAND_OVER === '0'
      ? {}
      : {
          handOver(socket) {
            if (this.int(8) === 0) quietly(() => millrace.handOver(socket));
          },
        }),
    stats: () => void millrace.stats(),
  };
}

const DESTROY = {
  destroy(socket) {
    this.giveUp('destroy', () => socket.destroy());
  },
  destroyWithError(socket) {
    this.giveUp('destroy', () => socket.destroy(new Error('own')));
  },
  reset(socket) {
    // While its FIN is on the way plain Node answers EINVAL and never closes.
    if (!socket.writableEnded && !socket.connecting) this.giveUp('reset', () => socket.resetAndDestroy());
  },
  destroySoon(socket) {
    this.giveUp('destroySoon', () => socket.destroySoon());
  },
  destroyInTick(socket) {
    this.giveUp('destroy', () => process.nextTick(() => socket.destroy()));
  },
  endAndDestroy(socket) {
    this.giveUp('destroy', () => {
      while (socket.writableCorked > 0) socket.uncork();
      socket.end(() => socket.destroy());
    });
  },
};
Object.assign(OPERATIONS, DESTROY);
const FATAL = Object.keys(DESTROY);
const USUAL = Object.keys(OPERATIONS).filter((name) => !FATAL.includes(name));

// --- many of them

function startServer(seed, port, host, listening) {
  const random = generator(seed);
  const take = (socket) => {
    const own = generator(Math.floor(random() * 2 ** 32));
    // Of the socket's own options; net takes them for all that it accepts.
    socket.allowHalfOpen = own() < 0.5;
    new End(socket, own, false, null);
  };
  const half = { allowHalfOpen: true };
  const server = net.createServer(half, take);
  server.listen(port, host, () => listening(server));
  return server;
}

function storm(seed, seconds, atATime, host, port, done) {
  const random = generator(seed ^ 0x5bd1e995);
  const until = Date.now() + seconds * 1000;
  let open = 0;
  let id = 0;
  const keep = setInterval(() => {
    if (Date.now() < until || open > 0) return;
    clearInterval(keep);
    setTimeout(done, 200);
  }, 50);
  const fill = () => {
    while (open < atATime && Date.now() < until) connect(++id);
  };
  const connect = (number) => {
    const own = generator(Math.floor(random() * 2 ** 32));
    open++;
    const options = { port, host, allowHalfOpen: own() < 0.5 };
    let end;
    const usesBuffer = own() < 0.15;
    if (usesBuffer) {
      const take = (length, buffer) => {
        end.take(Buffer.from(buffer.subarray(0, length)));
        return end.random() > 0.05 || !setTimeout(() => end.socket.destroyed || end.socket.resume(), 5);
      };
      options.onread = { buffer: own() < 0.5 ? Buffer.alloc(2000) : () => Buffer.alloc(7000), callback: take };
    }
    const socket = net.connect(options);
    socket.on('close', () => {
      open--;
      setImmediate(fill);
    });
    class Client extends End {
      get usesBuffer() {
        return options.onread !== undefined;
      }
    }
    end = new Client(socket, own, true, number);
  };
  fill();
}

// --- what must be true of both ends together

function compare(clients, servers) {
  const byId = new Map(servers.filter(({ id }) => id !== null).map((end) => [end.id, end]));
  const seen = { connections: 0, whole: 0, bytes: 0 };
  for (const client of clients) {
    const server = byId.get(client.id);
    seen.connections++;
    if (server === undefined) continue; // it gave up before it knew
    seen.bytes += client.received + server.received;
    const peaceful = client.gaveUp === '' && server.gaveUp === '';
    const told = `connection ${client.id}: ${JSON.stringify(client)} ${JSON.stringify(server)}`;
    if (client.received > server.sent || server.received > client.sent) problem(`more than was sent, ${told}`);
    if (!client.closed || !server.closed) problem(`not closed, ${told}`);
    if (!peaceful) continue;
    if (client.error !== '' || server.error !== '') problem(`an error of nobody's making, ${told}`);
    if (client.received !== server.sent || server.received !== client.sent) problem(`bytes are missing, ${told}`);
    if (!client.ended || !server.ended) problem(`an end is missing, ${told}`);
    seen.whole++;
  }
  return seen;
}

function finish(summary) {
  console.log(JSON.stringify({ ...summary, problems: problems.slice(0, 20), operations: counts }));
  process.exitCode = problems.length > 0 ? 1 : 0;
}

if (role === 'both') {
  const [seed, seconds, atATime] = words.map(Number);
  startServer(seed, 0, '127.0.0.1', (server) => {
    storm(seed, seconds, atATime, '127.0.0.1', server.address().port, () => {
      // The last word of the other side.
      const wait = setInterval(() => {
        if (openEnds > 0) return;
        clearInterval(wait);
        server.close(() => {
          const of = (isClient) => ledger.filter((end) => end.isClient === isClient);
          finish(compare(of(true), of(false)));
        });
      }, 50);
    });
  });
} else if (role === 'serve') {
  const [seed, port, host, file] = words;
  const server = startServer(Number(seed), Number(port), host, () => console.log('ready'));
  process.once('SIGTERM', () => {
    const wait = setInterval(() => {
      if (openEnds > 0) return;
      clearInterval(wait);
      server.close();
      setTimeout(() => {
        fs.writeFileSync(file, JSON.stringify(ledger));
        finish({ ends: ledger.length });
      }, 300);
    }, 50);
  });
} else if (role === 'connect') {
  const [seed, seconds, atATime, host, port, file] = words;
  storm(Number(seed), Number(seconds), Number(atATime), host, Number(port), () => {
    fs.writeFileSync(file, JSON.stringify(ledger));
    finish({ ends: ledger.length });
  });
} else if (role === 'compare') {
  const all = words.flatMap((file) => JSON.parse(fs.readFileSync(file, 'utf8')));
  const of = (isClient) => all.filter((end) => end.isClient === isClient);
  finish(compare(of(true), of(false)));
}
