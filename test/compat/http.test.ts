import { once } from 'node:events';
import * as http from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import t from 'tap';
import { installEngine } from './harness';

const engine = installEngine({ sendBufferBytes: 64 * 1024 });

async function listen(server: http.Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

async function body(message: http.IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of message) parts.push(part as Buffer);
  return Buffer.concat(parts);
}

async function request(options: http.RequestOptions, payload?: Buffer): Promise<http.IncomingMessage> {
  const sent = http.request(options);
  sent.end(payload);
  const [response] = (await once(sent, 'response')) as [http.IncomingMessage];
  return response;
}

t.test('requests over a kept-alive agent', async (t) => {
  const server = http.createServer((message, response) => {
    body(message).then((data) => response.end(`${message.method} ${message.url} ${data.length}`));
  });
  const port = await listen(server);
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const before = engine.connections;
  for (let i = 0; i < 5; i++) {
    const response = await request(
      { port, host: '127.0.0.1', agent, method: 'POST', path: `/${i}` },
      Buffer.alloc(i * 1000),
    );
    t.equal(String(await body(response)), `POST /${i} ${i * 1000}`);
  }
  t.equal(engine.connections, before + 1, 'one connection, ours');
  agent.destroy();
  server.close();
  await once(server, 'close');
});

t.test('a large upload and a large download', async (t) => {
  const data = Buffer.alloc(3_000_000, 'payload ');
  const server = http.createServer((message, response) => {
    body(message).then((received) => {
      t.ok(received.equals(data), 'upload');
      response.end(received);
    });
  });
  const port = await listen(server);
  const response = await request({ port, host: '127.0.0.1', method: 'PUT', agent: false }, data);
  t.ok((await body(response)).equals(data), 'download');
  server.close();
});

t.test('pipelined requests, and a bad one', async (t) => {
  const server = http.createServer((message, response) => response.end(message.url));
  const port = await listen(server);
  const net = await import('node:net');
  const client = net.connect(port, '127.0.0.1');
  client.write('GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n');
  let text = '';
  client.on('data', (data) => {
    text += data;
    if (text.endsWith('/b')) client.write('NONSENSE\r\n\r\n');
  });
  await once(client, 'close');
  t.match(text, /\/a[\s\S]*\/b[\s\S]*400 Bad Request/);
  server.close();
});

t.test('upgrade: bytes both ways after it', async (t) => {
  const server = http.createServer();
  server.on('upgrade', (_message, socket: Socket, head: Buffer) => {
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n');
    t.equal(String(head), 'first ');
    socket.unshift(head);
    socket.pipe(socket);
  });
  const port = await listen(server);
  const net = await import('node:net');
  const client = net.connect(port, '127.0.0.1');
  await once(client, 'connect');
  client.write('GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nfirst ');
  let text = '';
  client.setEncoding('latin1').on('data', (data) => {
    text += data;
  });
  await new Promise((resolve) => setTimeout(resolve, 20));
  for (let i = 0; i < 5; i++) {
    client.write(`${i} `);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  client.end('last');
  await once(client, 'end');
  t.match(text, /first 0 1 2 3 4 last$/);
  server.close();
});

t.test('a client that resets is seen by the server', async (t) => {
  const server = http.createServer();
  server.on('request', (message) => {
    message.socket.on('error', () => {});
  });
  const port = await listen(server);
  const net = await import('node:net');
  const client = net.connect(port, '127.0.0.1');
  client.write('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc');
  const [message] = (await once(server, 'request')) as [http.IncomingMessage];
  message.resume();
  client.resetAndDestroy();
  const [error] = await once(message, 'error');
  t.equal(error.code, 'ECONNRESET');
  server.close();
});

t.test('fetch', async (t) => {
  const server = http.createServer((message, response) => {
    body(message).then((data) => response.end(JSON.stringify({ url: message.url, length: data.length })));
  });
  const port = await listen(server);
  const before = engine.connections;
  const answers = await Promise.all(
    [1, 2, 3].map(async (i) => {
      const response = await fetch(`http://127.0.0.1:${port}/${i}`, { method: 'POST', body: 'x'.repeat(i * 50_000) });
      return response.json();
    }),
  );
  t.same(answers, [
    { url: '/1', length: 50_000 },
    { url: '/2', length: 100_000 },
    { url: '/3', length: 150_000 },
  ]);
  t.ok(engine.connections > before);
  server.closeAllConnections();
  server.close();
});
