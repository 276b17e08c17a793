/** Past the limits of the stack: what a program sees, that it goes on, and that there is room again when some have gone. */
process.env['MILLRACE_CONNECTIONS_MAX'] = '16';
process.env['MILLRACE_LISTENERS_MAX'] = '1';
process.env['MILLRACE_UDP_SOCKETS_MAX'] = '1';
import * as dgram from 'node:dgram';
import { once } from 'node:events';
import * as net from 'node:net';
import type { AddressInfo } from 'node:net';
import t, { type Test } from 'tap';
import './real';
import { connectionInfo, stats } from '../../../lib/index';
import { installEngine } from '../harness';

installEngine();

const counter = (name: string): number => stats().counters['tcp']?.[name] ?? 0;

async function listen(t: Test, server: net.Server): Promise<number> {
  t.teardown(() => server.close());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

async function echoes(socket: net.Socket, text: string): Promise<boolean> {
  socket.write(text);
  const [data] = (await once(socket, 'data')) as [Buffer];
  return String(data) === text;
}

t.test('connections: ENOBUFS, as plain Node would say it; the others go on, and room is found again', async (t) => {
  const server = net.createServer((socket) => socket.on('error', () => {}).pipe(socket));
  const port = await listen(t, server);
  const clients: net.Socket[] = [];
  for (let i = 0; i < 8; i++) {
    const client = net.connect(port, '127.0.0.1');
    await once(client, 'connect');
    t.not(connectionInfo(client), null);
    clients.push(client);
  }
  const refused = net.connect(port, '127.0.0.1');
  const [error] = (await once(refused, 'error')) as [NodeJS.ErrnoException & { port: number; address: string }];
  const { code, errno, syscall, address } = error;
  t.same({ code, errno, syscall, address }, { code: 'ENOBUFS', errno: -105, syscall: 'connect', address: '127.0.0.1' });
  t.ok(counter('tcp_connections_full') > 0, 'it was counted');
  for (const [i, client] of clients.entries()) t.ok(await echoes(client, `number ${i}`), `${i} goes on`);
  (clients.pop() as net.Socket).resetAndDestroy();
  await new Promise((resolve) => setTimeout(resolve, 50));
  const next = net.connect(port, '127.0.0.1');
  await once(next, 'connect');
  t.ok(await echoes(next, 'there is room'));
  for (const client of [...clients, next]) client.resetAndDestroy();
});

t.test('listeners: the kernel’s alone', async (t) => {
  const first = net.createServer((socket) => socket.on('error', () => {}).end('first'));
  const second = net.createServer((socket) => socket.on('error', () => {}).end('second'));
  for (const [server, ours, says] of [
    [first, true, 'first'],
    [second, false, 'second'],
  ] as const) {
    const client = net.connect(await listen(t, server), '127.0.0.1');
    await once(client, 'connect');
    t.equal(connectionInfo(client) !== null, ours);
    const [data] = (await once(client, 'data')) as [Buffer];
    t.equal(String(data), says);
    client.destroy();
  }
});

t.test('datagram sockets: the kernel’s alone', async (t) => {
  const sockets = await Promise.all(
    [1, 2].map(async () => {
      const socket = dgram.createSocket('udp4');
      t.teardown(() => socket.close());
      socket.bind(0, '127.0.0.1');
      await once(socket, 'listening');
      return socket;
    }),
  );
  const [first, second] = sockets as [dgram.Socket, dgram.Socket];
  second.send('to the first', first.address().port, '127.0.0.1');
  const [message, from] = (await once(first, 'message')) as [Buffer, dgram.RemoteInfo];
  t.equal(String(message), 'to the first');
  t.equal(from.port, second.address().port);
  first.send('and back', from.port, '127.0.0.1');
  const [answer] = (await once(second, 'message')) as [Buffer];
  t.equal(String(answer), 'and back');
});
