/** Leaving the fast path in mid-stream: whatever stands on the socket does not notice. Both ends leave together here. */
import { AsyncLocalStorage } from 'node:async_hooks';
import { fork } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import * as http from 'node:http';
import * as http2 from 'node:http2';
import * as net from 'node:net';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import * as tls from 'node:tls';
import t, { type Test } from 'tap';
import './real';
import { handOver } from '../../../lib/index';
import { CERTIFICATE, KEY } from '../certificate';
import { installEngine } from '../harness';

const engine = installEngine();

const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1] ?? '0';
const skip = ((BigInt(`0x${effective}`) >> 12n) & 1n) === 1n ? false : 'needs CAP_NET_ADMIN';

const sha = (data: Buffer): string => createHash('sha256').update(data).digest('hex');

/** The descriptor of a socket's handle: only the kernel's have one. */
function fdOf(socket: net.Socket): number {
  return (socket as unknown as { _handle: { fd: number } })._handle.fd;
}

async function listen(t: Test, server: net.Server, host = '127.0.0.1'): Promise<number> {
  t.teardown(() => server.close());
  server.listen(0, host);
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

/** Two ends of a connection of the stack. */
async function pair(t: Test, options: net.ServerOpts = {}, host = '127.0.0.1'): Promise<[net.Socket, net.Socket]> {
  const server = net.createServer({ allowHalfOpen: true, ...options });
  const port = await listen(t, server, host);
  const client = net.connect({ port, host: host === '::' ? '127.0.0.1' : host, allowHalfOpen: true });
  const [[accepted]] = (await Promise.all([once(server, 'connection'), once(client, 'connect')])) as [[net.Socket], []];
  t.teardown(() => {
    client.destroy();
    accepted.destroy();
  });
  t.equal(fdOf(client), -1, 'a connection of the stack');
  return [client, accepted];
}

/** Not by `for await`, which destroys the stream at its end. */
async function readAll(stream: NodeJS.ReadableStream): Promise<Buffer> {
  const chunks: Buffer[] = [];
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  stream.resume();
  await once(stream, 'end');
  return Buffer.concat(chunks);
}

t.test('in the middle of two streams, more than once asked', { skip }, async (t) => {
  const [client, server] = await pair(t);
  const up = randomBytes(8_000_000);
  const down = randomBytes(9_000_000);
  const before = engine.connections;
  const received = Promise.all([readAll(server), readAll(client)]);
  client.write(up.subarray(0, 6_000_000));
  server.write(down.subarray(0, 6_000_000));
  await new Promise<void>((resolve) => {
    server.on('data', () => {
      if (server.bytesRead > 2_000_000) resolve();
    });
  });
  t.equal(handOver(server), true);
  t.equal(handOver(server), false, 'the second time there is nothing to do');
  t.equal(handOver(client), false, 'the other end has left too');
  t.ok(fdOf(server) >= 0 && fdOf(client) >= 0, 'both are of the kernel');
  t.ok(server.bytesRead < 6_000_000, 'there was more to come');
  client.end(up.subarray(6_000_000));
  server.end(down.subarray(6_000_000));
  const [gotUp, gotDown] = await received;
  t.equal(sha(gotUp), sha(up));
  t.equal(sha(gotDown), sha(down));
  t.equal(server.bytesRead, up.length);
  t.equal(client.bytesRead, down.length);
  t.equal(client.bytesWritten, up.length);
  t.equal(server.remotePort, client.localPort);
  t.equal(engine.connections, before, 'and no connection was made anew');
});

t.test('bytes that nobody has read, and bytes that nobody has taken, go along', { skip }, async (t) => {
  const [client, server] = await pair(t, { pauseOnConnect: true });
  client.pause();
  const up = randomBytes(5_000_000);
  const down = randomBytes(6_000_000);
  const writes = [client, server].map((end) => new Promise((resolve) => end.once('finish', resolve)));
  client.end(up);
  server.end(down);
  await sleep(50);
  t.ok(client.writableLength > 0 && server.writableLength > 0, 'more was written than the stack takes');
  t.equal(handOver(client), true);
  await sleep(20);
  const [gotUp, gotDown] = await Promise.all([readAll(server), readAll(client), ...writes]);
  t.equal(sha(gotUp as Buffer), sha(up));
  t.equal(sha(gotDown as Buffer), sha(down));
});

/** Reads a socket that it is sent, tells the digest of the first bytes, and goes on to the end when it is told to. */
const CHILD = `
  const hash = require('node:crypto').createHash('sha256');
  let left = Number(process.argv[2]);
  let socket;
  process.on('message', (message, sent) => {
    if (message === 'end') {
      socket.end('bye');
      return process.disconnect();
    }
    socket = sent;
    const late = setTimeout(() => process.send('bytes that did not come: ' + left), 3000);
    socket.on('data', (data) => {
      hash.update(data);
      left -= data.length;
      if (left > 0) return;
      clearTimeout(late);
      process.send(hash.digest('hex'));
    });
  });`;

t.test('sent to another process while it writes: what comes is for that one alone', { skip }, async (t) => {
  const up = randomBytes(300_000);
  const program = join(t.testdir({ 'child.js': CHILD }), 'child.js');
  const child = fork(program, [String(up.length)], { execArgv: [], env: { PATH: process.env['PATH'] } });
  t.teardown(() => child.kill());
  const [client, server] = await pair(t, { pauseOnConnect: true });
  client.pause();
  client.write(up.subarray(0, 100_000));
  // A little more than the stack takes: the rest goes to the kernel's socket, which is full then. What that does not take
  // at all is cancelled, as Node does with every write of a socket that it sends away.
  server.on('error', () => {});
  const pieces: Buffer[] = [];
  while (server.writableLength === 0) {
    const piece = randomBytes(200_000);
    pieces.push(piece);
    server.write(piece);
    await sleep(20);
  }
  const down = Buffer.concat(pieces);
  const told = once(child, 'message');
  child.send('socket', server);
  // Behind the answer of the child, at which Node closes the socket here.
  await sleep(200);
  client.write(up.subarray(100_000));
  t.same(await told, [sha(up), undefined]);
  const received = readAll(client);
  await sleep(200);
  child.send('end');
  client.end();
  const got = await received;
  const before = got.subarray(0, -3);
  t.ok(before.length > 0 && before.equals(down.subarray(0, before.length)), 'what was written here');
  t.equal(String(got.subarray(-3)), 'bye', 'and there');
});

t.test('read in part: what is with the program stays there', { skip }, async (t) => {
  const [client, server] = await pair(t);
  const up = randomBytes(600_000);
  client.write(up);
  const [first] = (await once(server, 'data')) as [Buffer];
  server.pause();
  await sleep(20);
  t.ok(first.length + server.readableLength < up.length, 'a part is still below');
  t.equal(handOver(server), true);
  client.end();
  t.equal(sha(Buffer.concat([first, await readAll(server)])), sha(up));
});

t.test('half-closed by the other end', { skip }, async (t) => {
  const [client, server] = await pair(t, { pauseOnConnect: true });
  const closed = Promise.all([once(client, 'close'), once(server, 'close')]);
  client.end('the last word');
  await sleep(30);
  t.equal(handOver(server), true);
  t.equal(String(await readAll(server)), 'the last word');
  server.end('an answer');
  t.equal(String(await readAll(client)), 'an answer');
  await closed;
});

t.test('half-closed by this end, its FIN acknowledged', { skip }, async (t) => {
  const [client, server] = await pair(t);
  const closed = Promise.all([once(client, 'close'), once(server, 'close')]);
  client.end('question');
  t.equal(String(await readAll(server)), 'question');
  await sleep(30);
  t.equal(handOver(client), true);
  server.end('answer');
  t.equal(String(await readAll(client)), 'answer');
  await closed;
});

t.test('the end was read before', { skip }, async (t) => {
  const [client, server] = await pair(t);
  const closed = Promise.all([once(client, 'close'), once(server, 'close')]);
  let ends = 0;
  server.on('end', () => ends++).resume();
  client.end();
  await once(server, 'end');
  t.equal(handOver(server), true);
  server.write('x');
  t.equal(String((await once(client, 'data'))[0]), 'x');
  await sleep(30);
  t.equal(ends, 1, 'and is not told again');
  server.end();
  client.resume();
  await closed;
});

t.test('an orphan: the other end was closed, and what it wrote is on its way', { skip }, async (t) => {
  const [client, server] = await pair(t, { pauseOnConnect: true });
  const up = randomBytes(200_000);
  client.write(up, () => client.destroySoon());
  await once(client, 'close');
  t.equal(handOver(server), true);
  t.equal(sha(await readAll(server)), sha(up));
});

t.test('a dual-stack server knows its peer by the same address', { skip }, async (t) => {
  const [client, server] = await pair(t, {}, '::');
  const address = [server.remoteAddress, server.remoteFamily, server.localAddress];
  t.same(address, ['::ffff:127.0.0.1', 'IPv6', '::ffff:127.0.0.1']);
  t.equal(handOver(server), true);
  t.same([server.remoteAddress, server.remoteFamily, server.localAddress], address);
  const raw: { address?: string } = {};
  const { handle } = kernelOf(server);
  t.equal(handle.getpeername(raw), 0);
  t.equal(raw.address, '::ffff:127.0.0.1', 'in the kernel too');
  client.end('x');
  t.equal(String(await readAll(server)), 'x');
});

function kernelOf(socket: net.Socket): { handle: { getpeername(out: object): number } } {
  const { linkOf } = require('../../../compat/net/handle') as typeof import('../../../compat/net/handle');
  const handle = linkOf((socket as unknown as { _handle: object })._handle)?.kernel;
  return { handle: handle as unknown as { getpeername(out: object): number } };
}

t.test('TLS, on both ends', { skip }, async (t) => {
  const server = tls.createServer({ key: KEY, cert: CERTIFICATE });
  const port = await listen(t, server);
  const client = tls.connect({ port, host: '127.0.0.1', ca: CERTIFICATE, servername: 'localhost' });
  const [[accepted]] = (await Promise.all([once(server, 'secureConnection'), once(client, 'secureConnect')])) as [
    [tls.TLSSocket],
    [],
  ];
  const up = randomBytes(3_000_000);
  const down = randomBytes(3_000_000);
  const received = Promise.all([readAll(accepted), readAll(client)]);
  client.write(up.subarray(0, 1_000_000));
  accepted.write(down.subarray(0, 1_000_000));
  await new Promise<void>((resolve) => {
    accepted.on('data', () => {
      if (accepted.bytesRead > 500_000) resolve();
    });
  });
  t.equal(handOver(client), true);
  t.equal(handOver(accepted), false);
  client.end(up.subarray(1_000_000));
  accepted.end(down.subarray(1_000_000));
  const [gotUp, gotDown] = await received;
  t.equal(sha(gotUp), sha(up));
  t.equal(sha(gotDown), sha(down));
});

t.test('http with keep-alive, between requests and in the middle of one', { skip }, async (t) => {
  const body = randomBytes(2_000_000);
  const sockets = new Set<net.Socket>();
  const server = http.createServer((request, response) => {
    sockets.add(request.socket);
    if (request.url === '/leave') handOver(request.socket);
    request.resume().on('end', () => response.end(body));
  });
  const port = await listen(t, server);
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  t.teardown(() => agent.destroy());
  const ask = async (path: string): Promise<string> => {
    const request = http.request({ port, host: '127.0.0.1', path, agent, method: 'POST' });
    request.write(body);
    request.end(body);
    const [response] = (await once(request, 'response')) as [http.IncomingMessage];
    return sha(await readAll(response));
  };
  for (const path of ['/', '/leave', '/', '/']) t.equal(await ask(path), sha(body), path);
  t.equal(sockets.size, 1, 'all over one connection');
});

t.test('http2', { skip }, async (t) => {
  const body = randomBytes(2_000_000);
  const server = http2.createServer();
  const accepted: net.Socket[] = [];
  server.on('connection', (socket: net.Socket) => accepted.push(socket));
  server.on('stream', (stream) => {
    stream.respond({ ':status': 200 });
    stream.end(body);
  });
  const port = await listen(t, server as unknown as net.Server);
  const session = http2.connect(`http://127.0.0.1:${port}`);
  t.teardown(() => session.destroy());
  const ask = async (): Promise<string> => sha(await readAll(session.request({ ':path': '/' })));
  const first = ask();
  t.equal(await first, sha(body));
  const [one] = accepted;
  const running = [ask(), ask()];
  await sleep(1);
  t.equal(handOver(one as net.Socket), true);
  for (const answer of running) t.equal(await answer, sha(body));
  t.equal(await ask(), sha(body));
});

t.test('the context of a socket’s callbacks', { skip }, async (t) => {
  const storage = new AsyncLocalStorage<string>();
  const server = net.createServer((socket) => socket.pipe(socket));
  const port = await listen(t, server);
  const seen: unknown[] = [];
  const client = storage.run('mine', () => net.connect(port, '127.0.0.1'));
  await once(client, 'connect');
  storage.run('another', () => handOver(client));
  client.on('data', () => seen.push(storage.getStore()));
  client.on('close', () => seen.push(storage.getStore()));
  client.write('x');
  await once(client, 'data');
  client.end();
  await once(client, 'close');
  t.same(seen, ['mine', 'mine']);
});

t.test('options, timeouts and a reset go on working', { skip }, async (t) => {
  const [client, server] = await pair(t);
  t.equal(handOver(client), true);
  client.setNoDelay(true).setKeepAlive(true, 1000).setNoDelay(false);
  client.setTimeout(30);
  await once(client, 'timeout');
  const failed = once(server.resume(), 'error');
  client.resetAndDestroy();
  t.match((await failed)[0], { code: 'ECONNRESET', syscall: 'read' });
});

t.test('a peer that resets', { skip }, async (t) => {
  const [client, server] = await pair(t);
  t.equal(handOver(client), true);
  const failed = once(client.resume(), 'error');
  server.resetAndDestroy();
  t.match((await failed)[0], { code: 'ECONNRESET', syscall: 'read', errno: -104 });
});

t.test('when there is nothing to go on with', { skip }, async (t) => {
  const server = net.createServer((socket) => socket.resume());
  const port = await listen(t, server);
  const client = net.connect(port, '127.0.0.1');
  t.equal(handOver(client), false, 'not even begun: the handle is the kernel’s still');
  await new Promise<void>((resolve) => {
    client.once('lookup', () => undefined);
    process.nextTick(() =>
      process.nextTick(() => {
        t.throws(() => handOver(client), { code: 'ENOTCONN', syscall: 'handOver' }, 'connecting');
        resolve();
      }),
    );
  });
  await once(client, 'connect');
  client.destroy();
  t.equal(handOver(client), false, 'destroyed');
  t.equal(handOver(new net.Socket()), false, 'without a handle');
});

t.test('nothing is left', { skip }, async (t) => {
  for (let i = 0; i < 100 && (engine.holds > 0 || engine.contexts > 0); i++) await sleep(20);
  t.equal(engine.holds, 0, 'holds of the loop');
  t.ok(engine.contexts <= 2, `contexts: ${engine.contexts}`);
});
