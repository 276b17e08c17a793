import { once } from 'node:events';
import * as net from 'node:net';
import type { AddressInfo } from 'node:net';
import t from 'tap';
import { installEngine } from './harness';

const engine = installEngine();

/** A server on a port of the kernel's choice. */
async function listen(server: net.Server, host = '127.0.0.1'): Promise<number> {
  server.listen(0, host);
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

t.test('echo, half-closed by the client', async (t) => {
  const before = engine.connections;
  const server = net.createServer((socket) => socket.pipe(socket));
  const port = await listen(server);
  const client = net.connect(port, '127.0.0.1');
  client.setEncoding('utf8');
  let received = '';
  client.on('data', (text) => {
    received += text;
  });
  await once(client, 'connect');
  t.equal(engine.connections, before + 1, 'the connection is ours');
  t.equal(client.remotePort, port);
  t.equal(client.remoteAddress, '127.0.0.1');
  t.equal(client.remoteFamily, 'IPv4');
  t.equal(client.localAddress, '127.0.0.1');
  t.same(Object.keys(client.address()), ['address', 'family', 'port']);
  client.write('hello ');
  client.write(Buffer.from('wörld'));
  client.write('ÿ', 'latin1');
  client.end('!', 'utf8');
  await once(client, 'close');
  t.equal(Buffer.from(received, 'utf8').includes('hello wörld'), true);
  t.equal(received.endsWith('!'), true);
  t.equal(client.bytesWritten, 14);
  t.equal(client.bytesRead, 14);
  server.close();
  await once(server, 'close');
});

t.test('end() before connect sends its bytes and FIN', async (t) => {
  const server = net.createServer((socket) => {
    let received = '';
    socket.on('data', (data) => {
      received += data;
    });
    socket.on('end', () => socket.end(received.toUpperCase()));
  });
  const port = await listen(server);
  const client = net.connect(port, '127.0.0.1').end('early');
  const [data] = await once(client, 'data');
  t.equal(String(data), 'EARLY');
  await once(client, 'close');
  server.close();
});

t.test('bytes of a large transfer, with back-pressure both ways', async (t) => {
  const size = 4 * 1024 * 1024;
  const block = Buffer.alloc(size, 'abcdefghijklmnopqrstuvwxyz0123456789');
  let waited = 0;
  const server = net.createServer((socket) => {
    socket.pause();
    setTimeout(() => socket.resume(), 20);
    const parts: Buffer[] = [];
    socket.on('data', (part: Buffer) => {
      parts.push(part);
      socket.pause();
      setImmediate(() => socket.resume());
    });
    socket.on('end', () => {
      t.ok(Buffer.concat(parts).equals(block), 'every byte, in order');
      socket.end('done');
    });
  });
  const port = await listen(server);
  const client = net.connect(port, '127.0.0.1');
  await once(client, 'connect');
  for (let at = 0; at < size; at += 100_000) {
    if (!client.write(block.subarray(at, at + 100_000))) {
      waited++;
      await once(client, 'drain');
    }
  }
  client.end();
  const [answer] = await once(client, 'data');
  t.equal(String(answer), 'done');
  t.ok(waited > 0, 'the writer had to wait');
  server.close();
});

t.test('a refused connection', async (t) => {
  const client = net.connect(9, '127.99.0.1');
  const [error] = await once(client, 'error');
  t.match(error, {
    code: 'ECONNREFUSED',
    syscall: 'connect',
    address: '127.99.0.1',
    port: 9,
    message: 'connect ECONNREFUSED 127.99.0.1:9',
  });
  t.notMatch(error.stack, /compat[\\/]net/, 'no frame of ours');
});

t.test('reset: behind the bytes that came before it', async (t) => {
  const server = net.createServer((socket) => {
    // Later: found together with the bytes, libuv takes the hang-up for an end.
    socket.write('last words', () => setTimeout(() => socket.resetAndDestroy(), 20));
  });
  const port = await listen(server);
  const client = net.connect(port, '127.0.0.1');
  let received = '';
  client.on('data', (data) => {
    received += data;
  });
  const [error] = await once(client, 'error');
  t.equal(received, 'last words');
  t.match(error, { code: 'ECONNRESET', syscall: 'read', message: 'read ECONNRESET' });
  t.notMatch(error.stack, /compat[\\/]net/);
  await once(client, 'close');
  server.close();
});

t.test('resetAndDestroy before connect, and its result', async (t) => {
  const server = net.createServer((socket) => socket.on('error', () => {}));
  const port = await listen(server);
  const client = net.connect(port, '127.0.0.1');
  t.equal(client.resetAndDestroy(), client);
  await once(client, 'close');
  t.equal(client.destroyed, true);
  server.close();
});

t.test('closing with unread bytes resets the peer', async (t) => {
  const server = net.createServer({ pauseOnConnect: true }, (socket) => setTimeout(() => socket.destroy(), 20));
  const port = await listen(server);
  const client = net.connect(port, '127.0.0.1');
  client.write('nobody reads this');
  const [error] = await once(client, 'error');
  t.equal((error as NodeJS.ErrnoException).code, 'ECONNRESET');
  server.close();
});

t.test('the onread option, with one buffer and with a factory', async (t) => {
  const server = net.createServer((socket) => socket.end('0123456789'));
  const port = await listen(server);
  for (const factory of [false, true]) {
    const seen: string[] = [];
    const buffers: Uint8Array[] = [];
    const buffer = Buffer.alloc(4);
    const make = () => {
      const made = Buffer.alloc(4);
      buffers.push(made);
      return made;
    };
    const client = net.connect({
      port,
      host: '127.0.0.1',
      onread: {
        buffer: factory ? make : buffer,
        callback: (length: number, data: Uint8Array) => {
          seen.push(Buffer.from(data.buffer, data.byteOffset, length).toString());
          t.equal(data, factory ? buffers[buffers.length - 1] : buffer);
          return true;
        },
      },
    });
    await once(client, 'close');
    t.same(seen, ['0123', '4567', '89']);
    t.equal(client.bytesRead, 10);
    if (factory) t.equal(buffers.length, 4);
  }
  server.close();
});

t.test('a local address and port', async (t) => {
  const server = net.createServer((socket) => socket.end(`${socket.remoteAddress}:${socket.remotePort}`));
  const port = await listen(server);
  const spare = net.createServer();
  const localPort = await listen(spare);
  spare.close();
  await once(spare, 'close');
  const client = net.connect({ port, host: '127.0.0.1', localAddress: '127.0.0.1', localPort });
  const [data] = await once(client, 'data');
  t.equal(String(data), `127.0.0.1:${localPort}`);
  t.equal(client.localPort, localPort);
  await once(client, 'close');
  server.close();
});

t.test('one listener serves ours and the kernel', async (t) => {
  const server = net.createServer((socket) => socket.end('x'));
  const port = await listen(server, '0.0.0.0');
  const before = engine.connections;
  for (const wanted of [true, false, true]) {
    engine.wanted = wanted;
    const client = net.connect(port, '127.0.0.1');
    const [data] = await once(client, 'data');
    t.equal(String(data), 'x');
    await once(client, 'close');
  }
  engine.wanted = true;
  t.equal(engine.connections, before + 2);
  const other = net.createServer();
  other.listen(port, '0.0.0.0');
  const [error] = await once(other, 'error');
  t.match(error, { code: 'EADDRINUSE', syscall: 'listen', port });
  server.close();
  await once(server, 'close');
  t.equal(engine.toy?.listeners.size ?? 0, 0, 'both have ended');
});

t.test('options of a socket reach the connection', async (t) => {
  const server = net.createServer({ noDelay: true, keepAlive: true, keepAliveInitialDelay: 5000 });
  const port = await listen(server);
  const client = net.connect(port, '127.0.0.1');
  client.setNoDelay(true);
  const [[socket]] = await Promise.all([once(server, 'connection'), once(client, 'connect')]);
  if (engine.toy !== null) {
    const options = [...engine.toy.open].map((open) => [open.noDelay, open.keepAlive.slice(0, 2)]);
    t.same(options, [
      [true, []],
      [true, [true, 5]],
    ]);
  }
  socket.destroy();
  client.destroy();
  server.close();
});

t.test('what a program has put on the handle before it connects', async (t) => {
  const server = net.createServer((socket) => socket.end());
  const port = await listen(server);
  const client = net.connect(port, '127.0.0.1');
  const handle = (client as unknown as { _handle: Record<string, unknown> })._handle;
  const calls: unknown[] = [];
  handle['note'] = 'mine';
  handle['setKeepAlive'] = (...args: unknown[]) => calls.push(args.slice(0, 2)); // 24 has more
  // A method kept under another name goes on working.
  handle['kept'] = handle['close'];
  handle['close'] = function (this: { kept(callback: () => void): void; note: string }, callback: () => void) {
    calls.push(this.note);
    this.kept(callback);
  };
  client.setKeepAlive(true, 3000);
  client.resume();
  await once(client, 'close');
  t.same(calls, [[true, 3], [true, 3], 'mine'], 'as with the kernel');
  server.close();
});

t.test('maxConnections and drop', async (t) => {
  const server = net.createServer(() => {});
  server.maxConnections = 0;
  (server as unknown as { maxConnections: number }).maxConnections = 1;
  const port = await listen(server);
  const first = net.connect(port, '127.0.0.1');
  await once(server, 'connection');
  const second = net.connect(port, '127.0.0.1');
  second.on('error', () => {});
  const [drop] = await once(server, 'drop');
  t.equal(drop.localPort, port);
  first.destroy();
  second.destroy();
  server.close();
});

t.test('destroy while connecting', async (t) => {
  // The server may see it come and go.
  const server = net.createServer((socket) => socket.on('error', () => {}).resume());
  const port = await listen(server);
  const client = net.connect(port, '127.0.0.1');
  client.on('connect', () => t.fail('it was destroyed'));
  process.nextTick(() => process.nextTick(() => client.destroy()));
  await once(client, 'close');
  t.equal(client.connecting, false);
  server.close();
  await once(server, 'close');
});

t.test('a write that waits is cancelled by destroy', async (t) => {
  const server = net.createServer({ pauseOnConnect: true });
  const port = await listen(server);
  const client = net.connect(port, '127.0.0.1');
  const [[socket]] = await Promise.all([once(server, 'connection'), once(client, 'connect')]);
  let called = 0;
  client.write(Buffer.alloc(1024 * 1024), () => called++);
  t.ok(client.writableLength > 0);
  client.destroy();
  await once(client, 'close');
  t.equal(called, 1);
  socket.destroy();
  server.close();
});

// A writer that does not read hears of the reset at once, ahead of the end; by then it may have begun to read.
t.test('a reset that is told ahead of the end fails the write that waits', async (t) => {
  if (engine.toy === null) return;
  const accepted: net.Socket[] = [];
  const server = net.createServer((socket) => accepted.push(socket.pause()));
  const port = await listen(server);
  const client = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  await once(client, 'connect');
  client.resume();
  const written = new Promise<NodeJS.ErrnoException | null | undefined>((resolve) => {
    client.write(Buffer.alloc(64 << 20), resolve);
  });
  client.on('error', () => {});
  t.ok(client.writableLength > 0, 'it waits');
  const under = [...engine.toy.open].find(({ local }) => local.port === client.localPort);
  under?.sink.onError(-32);
  under?.sink.onEnd();
  t.equal((await written)?.code, 'EPIPE');
  client.destroy();
  server.close();
  for (const socket of accepted) socket.destroy();
  await once(server, 'close');
});

t.test('nothing is left over', async (t) => {
  await new Promise((resolve) => setTimeout(resolve, 50));
  t.equal(engine.holds, 0, 'the loop is free');
  t.equal(engine.toy?.open.size ?? 0, 0, 'connections');
  t.equal(engine.contexts, 0, 'async contexts');
});
