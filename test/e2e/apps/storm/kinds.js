// What a storm's streams run over. Each kind has a server that gives its ends to `take(socket, options)`, and a client
// that makes a connection: `connect({ port, host, random, allowHalfOpen, signal })` gives { socket, options of an End }.
'use strict';

const http2 = require('node:http2');
const net = require('node:net');
const tls = require('node:tls');
const { CERTIFICATE: cert, KEY: key } = require('../../../../dist/test/compat/certificate.js');

const kHalfOpen = { allowHalfOpen: true };

/** Half-open or not is chosen by the socket; a server takes its own option for all that it accepts. */
function halfOpen(socket, random) {
  socket.allowHalfOpen = random() < 0.5;
}

const tcp = {
  createServer: (take) => net.createServer(kHalfOpen, (socket) => take(socket, { halfOpen })),
  connect: ({ random, ...options }) => ({ socket: net.connect({ ...options, ...onread(random) }), ...used }),
};

/** net's `onread` for some. */
let used = {};
function onread(random) {
  used = {};
  if (random() >= 0.15) return {};
  const own = { end: null };
  const callback = (length, buffer) => {
    const { end } = own;
    end.take(Buffer.from(buffer.subarray(0, length)));
    return end.random() > 0.05 || !setTimeout(() => end.socket.destroyed || end.socket.resume(), 5);
  };
  const buffer = random() < 0.5 ? Buffer.alloc(2000) : () => Buffer.alloc(7000);
  used = { usesBuffer: true, begin: (end) => (own.end = end) };
  return { onread: { buffer, callback } };
}

const secureServer = { key, cert, ...kHalfOpen, sessionTimeout: 300 };

function secureClient(random) {
  const maxVersion = random() < 0.3 ? 'TLSv1.2' : 'TLSv1.3';
  return { rejectUnauthorized: false, servername: 'localhost', maxVersion, ...resumed(maxVersion, random) };
}

/** The last session of each version. */
const sessions = {};
function resumed(version, random) {
  return random() < 0.6 && sessions[version] !== undefined ? { session: sessions[version] } : {};
}
function keepSession(socket, version) {
  socket.on('session', (session) => {
    sessions[version] = session;
  });
  return socket;
}

function secureConnect(options, random) {
  const own = secureClient(random);
  return keepSession(tls.connect({ ...own, ...options }), own.maxVersion);
}

function secureServing(take) {
  const server = tls.createServer(secureServer, (socket) => take(socket, { halfOpen }));
  server.on('tlsClientError', () => {}); // it gave up
  return server;
}

const overTls = {
  createServer: secureServing,
  connect: ({ random, ...options }) => ({
    socket: secureConnect({ ...options, ...onread(random) }, random),
    ...used,
  }),
};

/** TLS over a socket of the program's, connecting still or connected. */
const tlsOver = {
  createServer: secureServing,
  connect({ random, port, host, ...options }) {
    const below = net.connect({ port, host, ...kHalfOpen });
    below.on('error', () => {});
    return { socket: secureConnect({ ...options, socket: below }, random), below: () => below };
  },
};

const tlsInTls = {
  createServer(take) {
    const secureContext = tls.createSecureContext(secureServer);
    const server = tls.createServer(secureServer, (outer) => {
      outer.on('error', () => {});
      const inner = new tls.TLSSocket(outer, { isServer: true, secureContext, ...kHalfOpen });
      const failed = () => outer.destroy();
      inner.once('error', failed);
      inner.once('secure', () => {
        inner.off('error', failed);
        take(inner, { halfOpen, below: () => outer });
      });
    });
    return server.on('tlsClientError', () => {});
  },
  connect({ random, port, host, ...options }) {
    const outer = secureConnect({ port, host, ...kHalfOpen }, random);
    outer.on('error', () => {});
    return { socket: secureConnect({ ...options, socket: outer }, random), below: () => outer };
  },
};

/** Otherwise streams that are paused hold up the others of their session. */
const kWindow = 1 << 26;
const wide = { settings: { initialWindowSize: kWindow } };
const widen = (session) => session.destroyed || session.setLocalWindowSize(kWindow);

const h2 = {
  createServer(take) {
    const server = http2.createServer(wide);
    server.on('sessionError', () => {});
    server.on('session', (session) => {
      widen(session);
      h2.all.push(session);
    });
    server.on('stream', (stream) => {
      stream.respond({ ':status': 200 });
      take(stream, { below: () => stream.session });
    });
    return server;
  },
  /** Some streams share a session. */
  connect({ random, port, host, signal }) {
    const open = h2.sessions.filter((session) => !session.closed && !session.destroyed);
    let session = open[Math.floor(random() * 6)];
    if (session === undefined) {
      session = http2.connect(`http://${host}:${port}`, wide);
      session.once('connect', widen);
      session.on('error', () => {});
      open.push(session);
      h2.all.push(session);
    }
    h2.sessions = open;
    const socket = session.request({ ':method': 'POST', ':path': '/' }, { endStream: false, signal });
    return { socket, below: () => (random() < 0.2 ? session : null) };
  },
  sessions: [],
  all: [],
  /** No more streams. Plain Node has sessions that close() does not end. */
  finish() {
    for (const session of h2.all) session.destroy();
  },
};

const KINDS = { tcp, tls: overTls, 'tls-over': tlsOver, 'tls-in-tls': tlsInTls, h2 };

module.exports = { KINDS };
