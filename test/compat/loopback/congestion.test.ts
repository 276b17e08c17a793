/** Congestion control by name, for one socket and for one server, and what is told of a connection. */
import { once } from 'node:events';
import * as http from 'node:http';
import * as http2 from 'node:http2';
import * as net from 'node:net';
import type { AddressInfo } from 'node:net';
import * as tls from 'node:tls';
import t, { type Test } from 'tap';
import './real';
import { connectionInfo, setCongestion } from '../../../lib/index';
import { CERTIFICATE, KEY } from '../certificate';
import { installEngine } from '../harness';

const engine = installEngine();

/** The algorithm's name; undefined: the connection is not the stack's. */
const nameOf = (socket: net.Socket): string | undefined => connectionInfo(socket)?.congestion;

async function listen(t: Test, server: net.Server, host = '127.0.0.1'): Promise<number> {
  const sockets = new Set<net.Socket>();
  server.on('connection', (socket: net.Socket) => sockets.add(socket));
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  server.listen(0, host);
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

async function accepted(server: net.Server, event = 'connection'): Promise<net.Socket> {
  return ((await once(server, event)) as [net.Socket])[0];
}

async function echoes(t: Test, client: net.Socket, server: net.Socket): Promise<void> {
  server.once('data', (data: Buffer) => server.write(data));
  client.write('there and back');
  const [data] = (await once(client, 'data')) as [Buffer];
  t.equal(String(data), 'there and back', 'and it works');
}

t.test('a socket: before it connects, while it does, when it is up', async (t) => {
  const server = net.createServer();
  const port = await listen(t, server);

  const early = new net.Socket();
  t.equal(setCongestion(early, 'bbr'), true);
  t.equal(connectionInfo(early), null, 'there is no connection yet');
  early.connect(port, '127.0.0.1');
  let [other] = await Promise.all([accepted(server), once(early, 'connect')]);
  t.equal(nameOf(early), 'bbr');
  t.equal(nameOf(other), 'cubic', 'the other end is another socket');
  await echoes(t, early, other);
  t.equal(setCongestion(early, 'cubic'), true);
  t.equal(nameOf(early), 'cubic', 'changed in the middle');
  t.equal(setCongestion(other, 'newreno'), true);
  t.equal(nameOf(other), 'newreno', 'one of a server');
  await echoes(t, early, other);
  early.destroy();

  const late = net.connect(port, '127.0.0.1');
  t.equal(setCongestion(late, 'newreno'), true);
  [other] = await Promise.all([accepted(server), once(late, 'connect')]);
  t.equal(nameOf(late), 'newreno');
  t.equal(setCongestion(late, 'reno' as 'newreno'), true);
  t.equal(nameOf(late), 'newreno', "TCP_CONGESTION's name for the same");
  late.destroy();

  const plain = net.connect(port, '127.0.0.1');
  await Promise.all([accepted(server), once(plain, 'connect')]);
  t.equal(nameOf(plain), 'cubic', 'nothing was said');
  plain.destroy();
});

t.test('a name that is looked up, with several addresses', async (t) => {
  const server = net.createServer();
  const port = await listen(t, server);
  const lookup = (_name: string, _options: object, callback: (error: null, found: object[]) => void) =>
    callback(null, [
      { address: '::1', family: 6 },
      { address: '127.0.0.1', family: 4 },
    ]);
  const options = { port, host: 'several.test', lookup, autoSelectFamily: true, autoSelectFamilyAttemptTimeout: 100 };
  const client = net.connect(options as unknown as net.NetConnectOpts);
  t.equal(setCongestion(client, 'bbr'), true);
  await Promise.all([accepted(server), once(client, 'connect')]);
  t.equal(client.remoteAddress, '127.0.0.1', 'the first address did not answer');
  t.equal(nameOf(client), 'bbr');
  client.destroy();
});

t.test('a server: those that it accepts from now on', async (t) => {
  const server = net.createServer();
  t.equal(setCongestion(server, 'bbr'), true);
  const port = await listen(t, server);
  const connect = async (): Promise<[net.Socket, net.Socket]> => {
    const client = net.connect(port, '127.0.0.1');
    t.teardown(() => client.destroy());
    const [other] = await Promise.all([accepted(server), once(client, 'connect')]);
    return [client, other];
  };
  const [, first] = await connect();
  t.equal(nameOf(first), 'bbr', 'chosen before it listened');
  t.equal(setCongestion(server, 'newreno'), true);
  const [client, second] = await connect();
  t.equal(nameOf(second), 'newreno');
  t.equal(nameOf(first), 'bbr', 'what is open keeps its own');
  t.equal(nameOf(client), 'cubic');
  server.close();
});

t.test('http', async (t) => {
  const server = http.createServer((request, response) => {
    const before = nameOf(request.socket);
    t.equal(setCongestion(request.socket, 'newreno'), true);
    response.end(`${before} ${nameOf(request.socket)}`);
  });
  setCongestion(server, 'bbr');
  const port = await listen(t, server);
  const agent = new http.Agent({ keepAlive: true });
  t.teardown(() => agent.destroy());
  const request = http.get({ port, host: '127.0.0.1', agent });
  request.on('socket', (socket) => t.equal(setCongestion(socket, 'bbr'), true));
  const [response] = (await once(request, 'response')) as [http.IncomingMessage];
  t.equal(nameOf(request.socket as net.Socket), 'bbr');
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  t.equal(String(Buffer.concat(chunks)), 'bbr newreno');
});

t.test('http2', async (t) => {
  const server = http2.createServer();
  setCongestion(server, 'newreno');
  const port = await listen(t, server);
  server.on('stream', (stream) => {
    const socket = stream.session?.socket as net.Socket;
    const before = nameOf(socket);
    t.equal(setCongestion(socket, 'bbr'), true);
    stream.respond();
    stream.end(`${before} ${nameOf(socket)}`);
  });
  const session = http2.connect(`http://127.0.0.1:${port}`);
  t.teardown(() => session.destroy());
  await once(session, 'connect');
  t.equal(setCongestion(session.socket, 'bbr'), true);
  t.equal(nameOf(session.socket), 'bbr');
  const chunks: Buffer[] = [];
  for await (const chunk of session.request({ ':path': '/' })) chunks.push(chunk as Buffer);
  t.equal(String(Buffer.concat(chunks)), 'newreno bbr');
});

t.test('tls', async (t) => {
  const server = tls.createServer({ cert: CERTIFICATE, key: KEY });
  setCongestion(server, 'newreno');
  const port = await listen(t, server);
  const options = { port, host: '127.0.0.1', rejectUnauthorized: false };
  const client = tls.connect(options);
  t.equal(setCongestion(client, 'bbr'), true, 'before it connects');
  const [secure] = await Promise.all([accepted(server, 'secureConnection'), once(client, 'secureConnect')]);
  t.equal(nameOf(client), 'bbr');
  t.equal(nameOf(secure), 'newreno');
  t.equal(setCongestion(secure, 'bbr'), true, 'one that is up');
  t.equal(nameOf(secure), 'bbr');
  await echoes(t, client, secure);
  client.destroy();

  const raw = net.connect(port, '127.0.0.1');
  const over = tls.connect({ socket: raw, rejectUnauthorized: false });
  t.equal(setCongestion(over, 'newreno'), true, 'over a socket that connects');
  await Promise.all([accepted(server, 'secureConnection'), once(over, 'secureConnect')]);
  t.equal(nameOf(over), 'newreno');
  t.equal(nameOf(raw), 'newreno', 'it is one connection');
  over.destroy();
});

t.test('what is not the stack’s', async (t) => {
  engine.wanted = false;
  t.teardown(() => {
    engine.wanted = true;
  });
  const server = net.createServer();
  const port = await listen(t, server);
  t.equal(setCongestion(server, 'bbr'), false, 'a listener of the kernel');
  const client = net.connect(port, '127.0.0.1');
  const [other] = await Promise.all([accepted(server), once(client, 'connect')]);
  t.equal(setCongestion(client, 'bbr'), false);
  t.equal(setCongestion(other, 'bbr'), false);
  t.equal(connectionInfo(client), null);
  t.equal(setCongestion({}, 'bbr'), false, 'no socket at all');
  t.equal(connectionInfo({}), null);
  client.destroy();
});

t.test('wrong calls', async (t) => {
  const socket = new net.Socket();
  t.throws(() => setCongestion(socket, 'vegas' as 'bbr'), {
    name: 'TypeError',
    code: 'ERR_INVALID_ARG_VALUE',
    message: "The argument 'name' must be one of: 'cubic', 'newreno', 'bbr'. Received 'vegas'",
  });
  t.throws(() => setCongestion(socket, undefined as unknown as 'bbr'), { code: 'ERR_INVALID_ARG_VALUE' });
  t.throws(() => setCongestion(null as unknown as object, 'bbr'), { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' });
  t.throws(() => connectionInfo('x' as unknown as object), { code: 'ERR_INVALID_ARG_TYPE' });
  socket.destroy();
  const ended = {
    code: 'ENOTCONN',
    errno: -107,
    syscall: 'setCongestion',
    message: 'setCongestion ENOTCONN: the socket has ended',
  };
  t.throws(() => setCongestion(socket, 'bbr'), ended, 'destroyed before it connected');

  const server = net.createServer();
  const port = await listen(t, server);
  const client = net.connect(port, '127.0.0.1');
  const [other] = await Promise.all([accepted(server), once(client, 'connect')]);
  other.resetAndDestroy();
  other.on('error', () => {});
  const [error] = (await once(client, 'error')) as [NodeJS.ErrnoException];
  t.equal(error.code, 'ECONNRESET');
  t.throws(() => setCongestion(client, 'bbr'), ended, 'reset by the peer');
  t.throws(() => setCongestion(other, 'bbr'), ended, 'destroyed here');
  t.equal(connectionInfo(client), null);
});

t.test('what is told', async (t) => {
  const server = net.createServer({ allowHalfOpen: true });
  const port = await listen(t, server);
  const client = net.connect({ port, host: '127.0.0.1' });
  t.equal(connectionInfo(client)?.state ?? 'SYN-SENT', 'SYN-SENT');
  const [other] = await Promise.all([accepted(server), once(client, 'connect')]);
  const bytes = 3_000_000;
  let received = 0;
  other.on('data', (data: Buffer) => {
    received += data.length;
    if (received === bytes) other.write('.');
  });
  client.write(Buffer.alloc(bytes));
  await once(client, 'data');
  const sent = connectionInfo(client);
  const got = connectionInfo(other);
  t.match(sent, { state: 'ESTABLISHED', congestion: 'cubic', bytesAcknowledged: bytes, bytesReceived: 1 });
  t.match(got, { state: 'ESTABLISHED', bytesReceived: bytes, bytesSent: 1 });
  t.ok(sent !== null && sent.bytesSent >= bytes && sent.segmentsSent > 1 && sent.segmentsReceived > 1);
  t.ok(sent !== null && sent.congestionWindowBytes >= 10 * sent.mssBytes && sent.rtoUs >= 200_000);
  t.equal(sent?.pacingBytesPerS, null, 'CUBIC does not pace');
  t.equal(sent?.slowStartThresholdBytes, null, 'nothing was lost');
  client.end();
  await once(other, 'end');
  t.equal(connectionInfo(other)?.state, 'CLOSE-WAIT');
  client.destroy();
  t.equal(connectionInfo(client), null);
});

t.test('to ask does not hold up what was just written', async (t) => {
  const server = net.createServer((socket) => socket.pipe(socket));
  const port = await listen(t, server);
  const client = net.connect(port, '127.0.0.1');
  t.teardown(() => client.destroy());
  await once(client, 'connect');
  // Nothing else moves by then: no timer comes to its help either, but for the keep-alive's.
  await new Promise((resolve) => setTimeout(resolve, 300));
  const start = performance.now();
  client.write('x');
  t.ok(connectionInfo(client));
  await once(client, 'data');
  t.ok(performance.now() - start < 150, 'it is answered at once');
});
