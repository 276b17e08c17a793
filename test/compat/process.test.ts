/** What only whole processes show: when they end, and what they hand to their children. Over the real engine. */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';

const REGISTER = join(__dirname, '../../compat/register.js');

interface Result {
  /** false: it had to be killed. */
  ended: boolean;
  code: number;
  out: string;
  err: string;
}

function run(code: string, timeout = 15_000, through: readonly string[] = []): Promise<Result> {
  return runWith(['-e', code], timeout, through);
}

/** `through`: a command that runs another one, and its arguments. */
function runWith(program: readonly string[], timeout: number, through: readonly string[] = []): Promise<Result> {
  const inherited = Object.entries(process.env).filter(([name]) => !/^(?:MILLRACE|NODE_OPTIONS|TAP)/.test(name));
  const env = { ...Object.fromEntries(inherited), MILLRACE_PORT: 'loopback' };
  return new Promise((resolve) => {
    const [command = '', ...args] = [...through, process.execPath, '--require', REGISTER, ...program];
    execFile(command, args, { env, timeout }, (error, out, err) => {
      const status = error === null ? 0 : typeof error.code === 'number' ? error.code : -1;
      resolve({ ended: error?.killed !== true, code: status, out: out.trim(), err: err.trim() });
    });
  });
}

/** A server that keeps its sockets open, unreferenced, and a client. */
function pair(client: string, server = ''): string {
  return `
    const net = require('node:net');
    const server = net.createServer({ allowHalfOpen: true }, (socket) => { socket.unref(); ${server} });
    server.listen(0, '127.0.0.1', () => {
      server.unref();
      const client = net.connect({ port: server.address().port, host: '127.0.0.1', allowHalfOpen: true }, () => {
        if (client._handle.fd !== -1) throw new Error('not ours');
        ${client}
      });
    });`;
}

t.test('an open socket that reads keeps the process alive', async (t) => {
  const result = await run(pair('client.resume(); console.log("open");'), 3000);
  t.equal(result.out, 'open');
  t.equal(result.ended, false);
});

t.test('unref() lets it go, before the connection and after', async (t) => {
  t.match(await run(pair('client.resume(); client.unref(); console.log("gone");')), {
    ended: true,
    code: 0,
    out: 'gone',
  });
  const early = `
    const net = require('node:net');
    const server = net.createServer((socket) => socket.unref()).listen(0, '127.0.0.1', () => {
      server.unref();
      net.connect(server.address().port, '127.0.0.1').unref();
    });`;
  t.match(await run(early), { ended: true, code: 0 });
});

t.test('a half-closed idle socket does not', async (t) => {
  const client = 'client.resume().on("end", () => console.log("end"));';
  t.match(await run(pair(client, 'socket.end();')), { ended: true, code: 0, out: 'end' });
});

t.test('what was written arrives although the process has nothing else to do', async (t) => {
  const code = `
    const net = require('node:net');
    let received = 0;
    const server = net.createServer((socket) => socket.on('data', (data) => { received += data.length; }).on('end', () => {
      console.log(received);
      server.close();
    }));
    server.listen(0, '127.0.0.1', () => net.connect(server.address().port, '127.0.0.1').end(Buffer.alloc(5_000_000)));`;
  t.match(await run(code), { ended: true, code: 0, out: '5000000' });
});

t.test('a listener that throws loses nothing of the others', async (t) => {
  const code = `
    const net = require('node:net');
    let caught = 0;
    process.on('uncaughtException', (error) => { if (error.message === 'mine') caught++; else throw error; });
    let seen = 0;
    const server = net.createServer((socket) => socket.on('data', () => {
      if (++seen === 20) { console.log(caught); process.exit(); }
      throw new Error('mine');
    }));
    server.listen(0, '127.0.0.1', () => {
      for (let i = 0; i < 20; i++) net.connect(server.address().port, '127.0.0.1').write('x');
    });`;
  t.match(await run(code), { ended: true, code: 0, out: '19', err: '' });
});

/** Leaving for the kernel takes CAP_NET_ADMIN. */
function mayHandOver(): boolean {
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1] ?? '0';
  return ((BigInt(`0x${effective}`) >> 12n) & 1n) === 1n;
}

t.test('a socket as the stdin and stdout of a child', { skip: !mayHandOver() && 'needs CAP_NET_ADMIN' }, async (t) => {
  const client = `
    const { spawn } = require('node:child_process');
    const child = spawn('sh', ['-c', 'read line; echo "child read $line"'], { stdio: [client, client, 'inherit'] });
    child.on('exit', (code) => { console.log(code); client.destroy(); });`;
  const server = `
    socket.write('hello\\n');
    socket.on('data', (data) => console.log(String(data).trim()));
    socket.ref();
    socket.on('end', () => socket.end());`;
  const result = await run(pair(client, server));
  t.match(result, { ended: true, code: 0, err: '' });
  t.same(result.out.split('\n').sort(), ['0', 'child read hello']);
});

const SEND = `
  const code = 'process.on("message", (message, socket) => socket.end("child"))';
  const stdio = ['ignore', 'inherit', 'inherit', 'ipc'];
  const child = require('node:child_process').spawn(process.execPath, ['-e', code], { stdio });
  child.send('socket', client, (error) => {
    console.log(error && error.code + ' ' + error.syscall);
    child.disconnect();
  });`;

t.test('sending a socket to a child', { skip: !mayHandOver() && 'needs CAP_NET_ADMIN' }, async (t) => {
  const server = 'socket.ref(); socket.on("data", (data) => { console.log(String(data)); socket.end(); });';
  const result = await run(pair(SEND, server));
  t.match(result, { ended: true, code: 0, err: '' });
  t.same(result.out.split('\n').sort(), ['child', 'null']);
});

t.test('without CAP_NET_ADMIN it cannot be sent, and the library says why', async (t) => {
  const client = `
    const { handOver } = require(${JSON.stringify(join(__dirname, '../../lib/index.js'))});
    try {
      handOver(client);
    } catch ({ code, errno, syscall, message }) {
      console.log(code, errno, syscall, message);
    }
    client.write('still here', () => { ${SEND} });`;
  const server = 'socket.ref(); socket.on("data", (data) => console.log(String(data))).on("end", () => socket.end());';
  const drop = ['--bounding-set', '-net_admin', '--inh-caps', '-net_admin'];
  const result = await run(pair(client, server), 15_000, mayHandOver() ? ['setpriv', ...drop] : []);
  t.match(result, { ended: true, code: 0, err: '' });
  t.same(result.out.split('\n').sort(), [
    'EPERM -1 handOver handOver EPERM: needs CAP_NET_ADMIN',
    'EPERM write',
    'still here',
  ]);
});

t.test('cluster: workers serve through the kernel', async (t) => {
  const code = `
    const cluster = require('node:cluster');
    const net = require('node:net');
    if (cluster.isPrimary) {
      cluster.setupPrimary({ execArgv: process.execArgv });
      const worker = cluster.fork();
      worker.on('listening', ({ port }) => {
        const client = net.connect(port, '127.0.0.1');
        client.on('data', (data) => {
          console.log(String(data), client._handle.fd === -1);
          client.destroy();
          worker.kill();
        });
      });
    } else {
      net.createServer((socket) => socket.end('worker')).listen(0, '127.0.0.1');
    }`;
  // A worker is started from its file.
  const folder = t.testdir({ 'cluster.js': code });
  const result = await runWith([join(folder, 'cluster.js')], 15_000);
  t.match(result, { ended: true, code: 0, out: 'worker false' });
});
