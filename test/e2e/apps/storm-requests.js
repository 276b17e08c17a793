// Random requests over agents that keep connections: bodies of all sizes both ways, aborted by either side at any time, by
// signals, timeouts and destroyed sockets. What comes whole must be right; every request ends once, and none for a reason
// that nobody has given.
//   storm-requests.js <seed> <seconds> <at a time> [<host>]
'use strict';

const http = require('node:http');
const https = require('node:https');
const { setTimeout: delay } = require('node:timers/promises');
const {
  content,
  count,
  counts,
  generator,
  problem,
  problems,
  throwSomething,
  watchExceptions,
} = require('./storm/ground');
const { CERTIFICATE: cert, KEY: key } = require('../../../dist/test/compat/certificate.js');

const [seed, seconds, atATime, host = '127.0.0.1'] = process.argv.slice(2);
const random = generator(Number(seed));
const int = (limit) => Math.floor(random() * limit);
const kPatienceMs = 20_000;
const kBodyMax = 200_000;
/** Of a connection that the other side has closed or cut off. */
const kCut = new Set(['ECONNRESET', 'EPIPE', 'ABORT_ERR', 'ERR_STREAM_PREMATURE_CLOSE', 'own']);

watchExceptions();
let open = 0;
let whole = 0;
let done = 0;

/** In pieces, sometimes slowly. */
async function writeBody(stream, number, fromClient, bytes) {
  for (let at = 0; at < bytes && !stream.destroyed; ) {
    const length = Math.min(bytes - at, 1 + int(60_000));
    const last = at + length === bytes;
    const piece = content(number, fromClient, at, length);
    at += length;
    if (last && int(2) === 0) return void stream.end(piece);
    if (!stream.write(piece) && int(2) === 0) await delay(int(4));
    else if (int(10) === 0) await delay(int(4));
  }
  if (!stream.destroyed) stream.end();
}

function readBody(stream, number, fromClient, then) {
  let at = 0;
  stream.on('data', (data) => {
    if (!content(number, fromClient, at, data.length).equals(data)) problem(`wrong bytes: request ${number} at ${at}`);
    at += data.length;
    if (int(12) === 0) {
      stream.pause();
      setTimeout(() => stream.resume(), int(5));
    }
  });
  stream.on('end', () => then(at));
}

/** TLS cannot. */
function resetOf(socket) {
  if (socket.encrypted) socket.destroy();
  else socket.resetAndDestroy();
}

/** What the server does is in the request's headers; the client knows what to expect. */
const SERVER_WAYS = ['answer', 'answer', 'answer', 'answer', 'early', 'cut', 'half', 'close', 'silent'];

function serve(request, response) {
  const { number: text, way, upload, download } = request.headers;
  const [number, up, down] = [Number(text), Number(upload), Number(download)];
  response.on('error', () => {});
  request.on('error', () => {});
  if (way === 'cut') return void setTimeout(() => request.socket.destroy(), int(8));
  if (way === 'silent') return void setTimeout(() => resetOf(request.socket), 300);
  if (way === 'close') response.setHeader('connection', 'close');
  if (int(2) === 0) response.setHeader('content-length', down);
  const answer = () => {
    if (way === 'half') return void response.write('x', () => response.destroy());
    void writeBody(response, number, false, down);
  };
  if (way === 'early') answer();
  readBody(request, number, true, (bytes) => {
    if (bytes !== up) problem(`request ${number}: ${bytes} bytes of ${up}`);
    if (way !== 'early') answer();
    if (int(100) === 0) throwSomething();
  });
}

function ask({ port, agent, secure }) {
  const number = ++done;
  open++;
  const way = SERVER_WAYS[int(SERVER_WAYS.length)];
  const upload = int(3) === 0 ? 0 : int(kBodyMax);
  const download = int(3) === 0 ? 0 : int(kBodyMax);
  const stop = int(6) === 0 ? new AbortController() : undefined;
  const headers = { number, way, upload, download };
  if (int(2) === 0) headers['content-length'] = upload;
  if (int(8) === 0) headers.expect = '100-continue';
  // A server that answers before it has read all may close on what is still under way.
  const isOpen = way === 'early' && upload > 0;
  let gaveUp = isOpen || ['cut', 'half', 'silent'].includes(way) ? way : '';
  const options = { port, host, agent, method: 'POST', path: '/', headers, rejectUnauthorized: false };
  const request = (secure ? https : http).request({ ...options, ...(stop && { signal: stop.signal }) });
  let [answered, closed, failed, ended] = [0, 0, '', 0];
  const told = () => JSON.stringify({ number, way, upload, download, gaveUp, answered, failed, ended, secure });
  const patience = setTimeout(() => {
    problem(`hangs: ${told()}`);
    request.destroy();
  }, kPatienceMs);
  request.on('response', (response) => {
    if (++answered > 1) problem(`answered twice: ${told()}`);
    response.on('error', (error) => (failed ||= error.code ?? error.message));
    if (way === 'half') return void response.resume();
    readBody(response, number, false, (bytes) => {
      ended++;
      // Plain Node tells the end of what was aborted, too.
      if (bytes !== download && gaveUp === '') problem(`answer of ${bytes} bytes: ${told()}`);
    });
  });
  request.on('error', (error) => (failed ||= error.code ?? error.message));
  request.on('close', () => {
    clearTimeout(patience);
    if (++closed > 1) problem(`closed twice: ${told()}`);
    // A response that is paused ends behind the request.
    setTimeout(judge, 100);
  });
  const judge = () => {
    open--;
    if (gaveUp === '') {
      const stale = request.reusedSocket && failed === 'ECONNRESET';
      if ((failed !== '' || ended !== 1) && !stale) problem(`failed for no reason: ${told()}`);
      whole++;
    } else if (failed !== '' && !kCut.has(failed) && !failed.startsWith('HPE_')) problem(`failed otherwise: ${told()}`);
  };
  const giveUp = (how, action) => {
    setTimeout(() => {
      if (closed > 0) return;
      gaveUp ||= how;
      count(how);
      action();
    }, int(20));
  };
  if (stop !== undefined) giveUp('abort', () => stop.abort());
  else {
    const how = int(30);
    const own = Object.assign(new Error('own'), { code: 'own' });
    if (how < 3) giveUp('destroy', () => request.destroy());
    else if (how < 6) giveUp('destroyWithError', () => request.destroy(own));
    else if (how < 8) giveUp('destroySocket', () => request.socket?.destroy());
  }
  if (int(5) === 0) request.setTimeout(1 + int(30), () => int(2) && giveUp('timeout', () => request.destroy()));
  if (int(5) === 0) request.setNoDelay(int(2) === 0);
  if (headers.expect !== undefined) request.once('continue', () => void writeBody(request, number, true, upload));
  if (headers.expect !== undefined) request.flushHeaders();
  else void writeBody(request, number, true, upload);
}

const plain = http.createServer({ keepAliveTimeout: 60_000 }, serve);
const secure = https.createServer({ key, cert, keepAliveTimeout: 60_000 }, serve);
for (const server of [plain, secure]) server.on('clientError', (_, socket) => socket.destroy());
plain.listen(0, host, () => secure.listen(0, host, storm));

function storm() {
  const kept = { keepAlive: true, maxSockets: 8, maxFreeSockets: 4, scheduling: int(2) === 0 ? 'lifo' : 'fifo' };
  const ways = [
    { port: plain.address().port, agent: new http.Agent(kept), secure: false },
    { port: plain.address().port, agent: new http.Agent(), secure: false },
    { port: secure.address().port, agent: new https.Agent(kept), secure: true },
  ];
  const until = Date.now() + Number(seconds) * 1000;
  const keep = setInterval(() => {
    while (open < Number(atATime) && Date.now() < until) ask(ways[int(ways.length)]);
    if (open > 0 || Date.now() < until) return;
    clearInterval(keep);
    for (const { agent } of ways) agent.destroy();
    plain.close();
    secure.close();
    for (const server of [plain, secure]) setTimeout(() => server.closeAllConnections(), 500);
    console.log(JSON.stringify({ requests: done, whole, problems: problems.slice(0, 20), operations: counts }));
    process.exitCode = problems.length > 0 ? 1 : 0;
  }, 2);
}
