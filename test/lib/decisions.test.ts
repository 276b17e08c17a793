import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import t from 'tap';

const register = join(__dirname, '..', '..', 'compat', 'register.js');

/** What a program says on stderr under MILLRACE_DEBUG, with the ports that it was given as N. */
function told(program: string, env: Readonly<Record<string, string>>): string[] {
  const inherited = Object.entries(process.env).filter(([name]) => !/^(?:MILLRACE|NODE_OPTIONS$)/.test(name));
  const { status, stderr } = spawnSync(process.execPath, ['--require', register, '-e', program], {
    env: { ...Object.fromEntries(inherited), MILLRACE_PORT: 'loopback', MILLRACE_DEBUG: '1', ...env },
    encoding: 'utf8',
    timeout: 30_000,
  });
  t.equal(status, 0, stderr);
  return stderr
    .split('\n')
    .slice(0, -1)
    .map((line) => line.replace(/ port \d{4,}:/, ' port N:'));
}

const echo = `
  const net = require('node:net');
  const server = net.createServer((socket) => socket.end()).listen(0, '127.0.0.1', () => {
    const socket = net.connect(server.address().port, '127.0.0.1', () => socket.resume());
    socket.on('close', () => server.close());
  });`;

t.test('one line for each decision', async (t) => {
  t.same(told(echo, {}), [
    'millrace: tcp listen on 127.0.0.1 port N: ours, and the kernel listens beside',
    'millrace: tcp connect to 127.0.0.1 port N: ours',
  ]);
  const rules = "the kernel's: MILLRACE_ACCELERATE does not ask for it";
  t.same(told(echo, { MILLRACE_ACCELERATE: '!tcp' }), [
    `millrace: tcp listen on 127.0.0.1 port N: ${rules}`,
    `millrace: tcp connect to 127.0.0.1 port N: ${rules}`,
  ]);
  t.same(told(echo, { MILLRACE_ACCELERATE: '!tcp:listen' }), [
    `millrace: tcp listen on 127.0.0.1 port N: ${rules}`,
    "millrace: tcp connect to 127.0.0.1 port N: the kernel's: no accelerated interface leads there",
  ]);
  t.same(told(echo, { MILLRACE_DEBUG: '0' }), [], 'if it is asked for');
});

t.test('datagram sockets', async (t) => {
  const program = (options: string) => `
    const socket = require('node:dgram').createSocket(${options});
    socket.bind(0, '127.0.0.1', () => socket.close());`;
  t.same(told(program("'udp4'"), {}), ['millrace: udp bind to 127.0.0.1 port N: ours, and the kernel receives beside']);
  t.same(told(program("{ type: 'udp4', reuseAddr: true }"), {}), [
    "millrace: udp bind to 127.0.0.1 port N: the kernel's: it may share its port (reuseAddr, reusePort)",
  ]);
});
