// Random operations on many connections: what programs do to sockets, in every order and from every callback. Every byte
// that arrives is checked against what was sent, and every end against how the other side ended. Plain Node; the same
// seed makes the same choices, as far as the network lets it.
//   storm.js both <seed> <seconds> <at a time> [<kind>...]        both ends in this process
//   storm.js serve <seed> <port> <host> <ledger file> [<kind>...] until SIGTERM; each kind on the next port
//   storm.js connect <seed> <seconds> <at a time> <host> <port> <ledger file> [<kind>...]
//   storm.js compare <ledger file> <ledger file>                  of the two sides
// Kinds: see storm/kinds.js; tcp when none is named. STORM_HAND_OVER=0: no connection is handed over to the kernel.
'use strict';

const fs = require('node:fs');
const { End, openEnds } = require('./storm/end');
const { counts, generator, ledger, problem, problems, watchExceptions } = require('./storm/ground');
const { KINDS } = require('./storm/kinds');
require('./storm/operations');

const [role, ...words] = process.argv.slice(2);
watchExceptions();

function startServers(seed, kinds, port, host, listening) {
  const random = generator(seed);
  let waiting = kinds.length;
  const servers = kinds.map((kind, i) => {
    const take = (socket, { halfOpen, below }) => {
      const own = generator(Math.floor(random() * 2 ** 32));
      halfOpen?.(socket, own);
      const end = new End(socket, own, { isClient: false, id: null, kind });
      end.below = below;
    };
    const server = KINDS[kind].createServer(take);
    server.listen(port === 0 ? 0 : port + i, host, () => {
      waiting--;
      if (waiting === 0) listening();
    });
    return server;
  });
  return servers;
}

function storm({ seed, seconds, atATime, host, kinds, ports }, done) {
  const random = generator(seed ^ 0x5bd1e995);
  const until = Date.now() + seconds * 1000;
  let open = 0;
  let id = 0;
  const keep = setInterval(() => {
    if (Date.now() < until || open > 0) return;
    clearInterval(keep);
    for (const kind of kinds) KINDS[kind].finish?.();
    setTimeout(done, 200);
  }, 50);
  const fill = () => {
    while (open < atATime && Date.now() < until) connect(++id);
  };
  const connect = (number) => {
    const own = generator(Math.floor(random() * 2 ** 32));
    const which = number % kinds.length;
    const kind = kinds[which];
    open++;
    const stop = own() < 0.2 ? new AbortController() : undefined;
    const options = { port: ports[which], host, allowHalfOpen: own() < 0.5, random: own };
    if (stop !== undefined) options.signal = stop.signal;
    const { socket, below, begin, usesBuffer } = KINDS[kind].connect(options);
    socket.on('close', () => {
      open--;
      setImmediate(fill);
    });
    const end = new End(socket, own, { isClient: true, id: number, kind, usesBuffer });
    begin?.(end);
    end.below = below;
    end.abort = stop && (() => stop.abort());
  };
  fill();
}

/** OpenSSL drops what comes when we have said that we end (SSL_shutdown() is called twice): half-open TLS loses bytes. */
function isMissing(receiver, sender) {
  return receiver.received !== sender.sent && !(receiver.kind.includes('tls') && receiver.endedFirst);
}

/** What must be true of both ends together. */
function compare(all) {
  const clients = all.filter(({ isClient }) => isClient);
  const servers = all.filter(({ isClient }) => !isClient);
  const byId = new Map(servers.filter(({ id }) => id !== null).map((end) => [end.id, end]));
  const seen = { connections: 0, whole: 0, bytes: 0, kinds: {} };
  for (const client of clients) {
    const server = byId.get(client.id);
    seen.connections++;
    if (server === undefined) continue; // it gave up before it knew
    seen.bytes += client.received + server.received;
    const peaceful = client.gaveUp === '' && server.gaveUp === '';
    const told = `connection ${client.id}: ${JSON.stringify(client)} ${JSON.stringify(server)}`;
    if (client.received > server.sent || server.received > client.sent) problem(`more than was sent, ${told}`);
    if (!client.closed || !server.closed) problem(`not closed, ${told}`);
    if (!peaceful || client.kind === 'h2') continue; // of h2 see below
    if (client.error !== '' || server.error !== '') problem(`an error of nobody's making, ${told}`);
    if (isMissing(client, server) || isMissing(server, client)) problem(`bytes are missing, ${told}`);
    if (!client.ended || !server.ended) problem(`an end is missing, ${told}`);
    seen.whole++;
    seen.kinds[client.kind] = (seen.kinds[client.kind] ?? 0) + 1;
  }
  return seen;
}

function finish(summary) {
  console.log(JSON.stringify({ ...summary, problems: problems.slice(0, 20), operations: counts }));
  process.exitCode = problems.length > 0 ? 1 : 0;
}

/** Calls `then` when the last word of the other side has come. */
function whenAllClosed(then) {
  const wait = setInterval(() => {
    if (openEnds() > 0) return;
    clearInterval(wait);
    setTimeout(then, 300);
  }, 50);
}

if (role === 'both') {
  const [seed, seconds, atATime] = words.slice(0, 3).map(Number);
  const kinds = words.length > 3 ? words.slice(3) : ['tcp'];
  const host = '127.0.0.1';
  const servers = startServers(seed, kinds, 0, host, () => {
    const ports = servers.map((server) => server.address().port);
    storm({ seed, seconds, atATime, host, kinds, ports }, () => {
      whenAllClosed(() => {
        for (const server of servers) server.close();
        finish(compare(ledger));
      });
    });
  });
} else if (role === 'serve') {
  const [seed, port, host, file] = words;
  const kinds = words.length > 4 ? words.slice(4) : ['tcp'];
  const servers = startServers(Number(seed), kinds, Number(port), host, () => console.log('ready'));
  process.once('SIGTERM', () => {
    whenAllClosed(() => {
      for (const server of servers) server.close();
      fs.writeFileSync(file, JSON.stringify(ledger));
      finish({ ends: ledger.length });
    });
  });
} else if (role === 'connect') {
  const [seed, seconds, atATime, host, port, file] = words;
  const kinds = words.length > 6 ? words.slice(6) : ['tcp'];
  const ports = kinds.map((_, i) => Number(port) + i);
  storm({ seed: Number(seed), seconds: Number(seconds), atATime: Number(atATime), host, kinds, ports }, () => {
    fs.writeFileSync(file, JSON.stringify(ledger));
    finish({ ends: ledger.length });
  });
} else if (role === 'compare') {
  finish(compare(words.flatMap((file) => JSON.parse(fs.readFileSync(file, 'utf8')))));
}
