import { once } from 'node:events';
import * as http2 from 'node:http2';
import * as https from 'node:https';
import * as net from 'node:net';
import type { AddressInfo } from 'node:net';
import * as tls from 'node:tls';
import t from 'tap';
import { CERTIFICATE, KEY } from './certificate';
import { installEngine } from './harness';

const engine = installEngine({ sendBufferBytes: 128 * 1024 });
const SERVER = { key: KEY, cert: CERTIFICATE };
const CLIENT = { host: '127.0.0.1', ca: CERTIFICATE, servername: 'example.test' };

async function listen(server: net.Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

/** What comes until the end. */
async function all(stream: NodeJS.ReadableStream): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of stream) parts.push(part as Buffer);
  return Buffer.concat(parts);
}

t.test('tls.connect(port, host): its own handle is made again', async (t) => {
  const server = tls.createServer(SERVER, (socket) => socket.pipe(socket));
  const port = await listen(server);
  const before = engine.connections;
  const client = tls.connect({ port, ...CLIENT });
  await once(client, 'secureConnect');
  t.equal(engine.connections, before + 1);
  t.equal(client.authorized, true);
  t.equal(client.remotePort, port);
  t.equal((client as unknown as { servername: string }).servername, 'example.test');
  client.end('secret');
  t.equal(String(await all(client)), 'secret');
  server.close();
  await once(server, 'close');
});

t.test('SNI and ALPN survive the exchange', async (t) => {
  const names: string[] = [];
  const server = tls.createServer({
    ...SERVER,
    ALPNProtocols: ['b'],
    SNICallback: (name, done) => {
      names.push(name);
      done(null, tls.createSecureContext(SERVER));
    },
  });
  server.on('secureConnection', (socket) => socket.end(String(socket.alpnProtocol)));
  const port = await listen(server);
  const client = tls.connect({ port, ...CLIENT, ALPNProtocols: ['a', 'b'] });
  t.equal(String(await all(client)), 'b');
  t.same(names, ['example.test']);
  server.close();
});

t.test('a session is resumed', async (t) => {
  const server = tls.createServer({ ...SERVER, maxVersion: 'TLSv1.2' }, (socket) => socket.end('x'));
  const port = await listen(server);
  let session: Buffer | undefined;
  const reused: boolean[] = [];
  for (let i = 0; i < 2; i++) {
    const client = tls.connect({ port, ...CLIENT, ...(session === undefined ? {} : { session }) });
    client.on('session', (data) => {
      session = data;
    });
    client.resume();
    await once(client, 'secureConnect');
    reused.push(client.isSessionReused());
    await once(client, 'close');
  }
  t.same(reused, [false, true]);
  server.close();
});

t.test('tls.connect({ socket }) while the socket connects', async (t) => {
  const server = tls.createServer(SERVER, (socket) => socket.end('over a given socket'));
  const port = await listen(server);
  const before = engine.connections;
  const below = net.connect(port, '127.0.0.1');
  const client = tls.connect({ socket: below, ...CLIENT });
  t.equal(String(await all(client)), 'over a given socket');
  t.equal(engine.connections, before + 1);
  server.close();
});

t.test('the same with a connection of the kernel', async (t) => {
  const server = tls.createServer(SERVER, (socket) => socket.end('kernel'));
  const port = await listen(server);
  const before = engine.connections;
  engine.wanted = false;
  const client = tls.connect({ socket: net.connect(port, '127.0.0.1'), ...CLIENT });
  t.equal(String(await all(client)), 'kernel');
  engine.wanted = true;
  t.equal(engine.connections, before);
  server.close();
});

t.test('STARTTLS: plain text first, both ends upgrade', async (t) => {
  const server = net.createServer((socket) => {
    socket.once('data', () => {
      socket.write('go\n', () => {
        const secure = new tls.TLSSocket(socket, { ...SERVER, isServer: true });
        secure.on('data', (data) => secure.end(`got ${data}`));
      });
    });
  });
  const port = await listen(server);
  const plain = net.connect(port, '127.0.0.1');
  plain.write('starttls\n');
  await once(plain, 'data');
  const client = tls.connect({ socket: plain, ...CLIENT });
  client.write('hidden');
  t.equal(String(await all(client)), 'got hidden');
  server.close();
});

t.test('TLS in TLS over a connecting socket', async (t) => {
  const inner = tls.createServer(SERVER, (socket) => socket.end('deep'));
  const outer = tls.createServer(SERVER, (socket) => inner.emit('connection', socket));
  const port = await listen(outer);
  const before = engine.connections;
  const first = tls.connect({ port, ...CLIENT });
  const second = tls.connect({ socket: first, ...CLIENT });
  t.equal(String(await all(second)), 'deep');
  t.equal(engine.connections, before + 1);
  first.destroy();
  outer.close();
});

t.test('a large transfer over TLS', async (t) => {
  const data = Buffer.alloc(3_000_000, 'some text that is easy to recognise ');
  const server = tls.createServer({ ...SERVER, allowHalfOpen: true }, (socket) => {
    // Not by iteration: that would destroy the socket at the end of what is read.
    const parts: Buffer[] = [];
    socket.on('data', (part: Buffer) => parts.push(part));
    socket.on('end', () => socket.end(Buffer.concat(parts)));
  });
  const port = await listen(server);
  const client = tls.connect({ port, ...CLIENT });
  client.end(data);
  t.ok((await all(client)).equals(data));
  server.close();
});

t.test('a reset below TLS', async (t) => {
  const server = tls.createServer(SERVER);
  let below: net.Socket | undefined;
  server.on('connection', (socket: net.Socket) => {
    below = socket;
  });
  server.on('secureConnection', (socket) => {
    socket.on('error', () => {});
    socket.on('data', () => below?.resetAndDestroy());
  });
  const port = await listen(server);
  const client = tls.connect({ port, ...CLIENT });
  client.write('x');
  const [error] = await once(client, 'error');
  t.match(error, { code: 'ECONNRESET', syscall: 'read' });
  server.close();
});

t.test('a refused tls.connect', async (t) => {
  const client = tls.connect({ port: 9, ...CLIENT, host: '127.99.0.1' });
  const [error] = await once(client, 'error');
  t.match(error, { code: 'ECONNREFUSED', syscall: 'connect' });
});

t.test('https, kept alive and not', async (t) => {
  const server = https.createServer(SERVER, (message, response) => {
    all(message).then((data) => response.end(`${message.url} ${data.length}`));
  });
  const port = await listen(server);
  const before = engine.connections;
  const agent = new https.Agent({ keepAlive: true, maxSockets: 1, ca: CERTIFICATE });
  for (let i = 0; i < 4; i++) {
    const request = https.request({ port, ...CLIENT, agent: i < 3 ? agent : false, method: 'POST', path: `/${i}` });
    request.end(Buffer.alloc(100_000 * i));
    const [response] = await once(request, 'response');
    t.equal(String(await all(response)), `/${i} ${100_000 * i}`);
  }
  t.equal(engine.connections, before + 2);
  agent.destroy();
  server.close();
});

t.test('http2, plain and over TLS', async (t) => {
  const data = Buffer.alloc(400_000, 'h2');
  for (const secure of [false, true]) {
    const server = secure ? http2.createSecureServer(SERVER) : http2.createServer();
    server.on('stream', (stream: http2.ServerHttp2Stream) => {
      all(stream).then((received) => {
        stream.respond({ ':status': 200 });
        stream.end(received);
      });
    });
    const port = await listen(server as unknown as net.Server);
    const before = engine.connections;
    const origin = `${secure ? 'https' : 'http'}://127.0.0.1:${port}`;
    const session = http2.connect(origin, secure ? { ca: CERTIFICATE } : {});
    const answers = await Promise.all(
      [1, 2, 3].map(async () => {
        const stream = session.request({ ':method': 'POST', ':path': '/' });
        stream.end(data);
        return all(stream);
      }),
    );
    for (const answer of answers) t.ok(answer.equals(data));
    t.equal(engine.connections, before + 1);
    session.close();
    await once(session, 'close');
    server.close();
    await once(server, 'close');
  }
});

t.test('nothing is left over', async (t) => {
  await new Promise((resolve) => setTimeout(resolve, 50));
  t.equal(engine.holds, 0);
  t.equal(engine.toy?.open.size ?? 0, 0);
  t.equal(engine.contexts, 0);
});
