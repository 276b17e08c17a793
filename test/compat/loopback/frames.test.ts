/** Errors that a program makes in its own listeners show no frame of this package, however long their stack is. */
import dgram from 'node:dgram';
import http from 'node:http';
import net from 'node:net';
import t, { type Test } from 'tap';
import { stats } from '../../../lib/index';
import './real';
import '../../../compat/register';

Error.stackTraceLimit = 100;

function check(t: Test, where: string): void {
  const stack = new Error(where).stack ?? '';
  const ours = stack.split('\n').filter((line) => /dist[/\\](?:lib|compat)[/\\]/.test(line));
  t.same(ours, [], where);
}

t.test('net', async (t) => {
  const server = net.createServer((socket) => {
    check(t, 'connection');
    socket.on('data', (data) => {
      check(t, 'server data');
      socket.write(data);
    });
    socket.on('end', () => {
      check(t, 'server end');
      socket.end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as net.AddressInfo;
  await new Promise<void>((resolve) => {
    const client = net.connect(port, '127.0.0.1', () => {
      check(t, 'connect');
      client.write(Buffer.alloc(3_000_000), () => check(t, 'write'));
    });
    let left = 3_000_000;
    client.on('data', (data) => {
      check(t, 'data');
      left -= data.length;
      if (left === 0) client.end();
    });
    client.on('drain', () => check(t, 'drain'));
    client.on('end', () => check(t, 'end'));
    client.on('close', () => {
      check(t, 'close');
      resolve();
    });
  });
  server.close();
});

t.test('http', async (t) => {
  const server = http.createServer((_request, response) => {
    check(t, 'request');
    response.end('hello');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as net.AddressInfo;
  await new Promise<void>((resolve) => {
    http.get({ port, host: '127.0.0.1', agent: false }, (response) => {
      check(t, 'response');
      response.on('data', () => check(t, 'body'));
      response.on('end', () => {
        check(t, 'response end');
        resolve();
      });
    });
  });
  server.close();
});

t.test('dgram', async (t) => {
  const receiver = dgram.createSocket('udp4');
  await new Promise<void>((resolve) => receiver.bind(0, '127.0.0.1', resolve));
  const sender = dgram.createSocket('udp4');
  await new Promise<void>((resolve) => sender.bind(0, '127.0.0.1', resolve));
  await new Promise<void>((resolve) => {
    receiver.on('message', () => {
      check(t, 'message');
      resolve();
    });
    sender.send('x', receiver.address().port, '127.0.0.1');
  });
  receiver.close();
  sender.close();
});

t.test('all of it went through the stack', async (t) => {
  const { counters } = stats();
  t.ok((counters['stack']?.['connections_accepted'] ?? 0) >= 2);
  t.ok((counters['stack']?.['events'] ?? 0) > 10);
});
