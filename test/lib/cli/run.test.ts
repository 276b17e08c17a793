import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import t from 'tap';
import { whyNot, withPreload } from '../../../lib/cli/run';
import { loadOptions } from '../../../lib/config';
import { readMachine } from '../../../lib/machine';
import { millrace, startMillrace } from './cli';

/** Runs without the preload, whatever this machine can do: these tests are about the command itself. */
const off = { env: { MILLRACE: 'off' } };

t.test('the command runs, with its arguments, input and output', async (t) => {
  const script = 'console.log(JSON.stringify(process.argv.slice(1))); console.error("err")';
  const outcome = millrace(['run', '--', process.execPath, '-e', script, 'a b', '--port'], off);
  t.same(outcome, { code: 0, signal: null, stdout: '["a b","--port"]\n', stderr: 'err\n' });
  t.match(millrace(['run', process.execPath, '-p', '1+1'], off), { code: 0, stdout: '2\n' });
});

t.test('the exit code is the exit code of the command', async (t) => {
  t.match(millrace(['run', process.execPath, '-e', 'process.exit(7)'], off), { code: 7 });
});

t.test('so is the signal', async (t) => {
  t.match(millrace(['run', process.execPath, '-e', 'process.kill(process.pid, "SIGKILL")'], off), {
    signal: 'SIGKILL',
  });
});

t.test('signals are passed on', async (t) => {
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGUSR2'] as const) {
    const script = `process.on('${signal}', () => process.exit(42)); console.log('ready'); setTimeout(() => {}, 20000)`;
    const child = startMillrace(['run', process.execPath, '-e', script], off);
    await once(child.stdout!, 'data');
    child.kill(signal);
    const [code] = (await once(child, 'exit')) as [number];
    t.equal(code, 42, signal);
  }
});

t.test('a command that cannot be run', async (t) => {
  t.match(millrace(['run', 'mr-no-such-command'], { env: { MILLRACE: 'off', PATH: '/usr/bin' } }), {
    code: 127,
    stderr: "millrace: cannot run 'mr-no-such-command': ENOENT\n",
  });
  t.match(millrace(['run', __dirname], off), { code: 126, stderr: /EACCES/ });
  t.match(millrace(['run', '--debug'], off), { code: 2, stderr: /there is no command to run/ });
});

t.test('flags reach the program as variables', async (t) => {
  const args = ['run', '--no-enabled', '--spin-us=5', '--interface', 'lo', process.execPath, '-p'];
  const outcome = millrace([
    ...args,
    'process.env.MILLRACE_SPIN_US + process.env.MILLRACE_INTERFACE + process.env.MILLRACE',
  ]);
  t.match(outcome, { code: 0, stdout: '5looff\n' });
});

t.test('a wrong option ends with 2 and starts nothing', async (t) => {
  const start = [process.execPath, '-p', '"started"'];
  t.same(millrace(['run', '--spin-us', 'x', ...start]), {
    code: 2,
    signal: null,
    stdout: '',
    stderr: "millrace: --spin-us is 'x': not an integer; allowed: an integer from 0 to 1000\n",
  });
  t.match(millrace(['run', ...start], { env: { MILLRACE_SPIN_US: 'x' } }), {
    code: 2,
    stdout: '',
    stderr: /MILLRACE_SPIN_US/,
  });
  const cwd = t.testdir({ 'millrace.config.json': '{"spinUs": "x"}' });
  t.match(millrace(['run', ...start], { cwd }), { code: 2, stdout: '', stderr: /spinUs in millrace\.config\.json/ });
  t.match(millrace(['run', '--interface', 'mr-nowhere', ...start]), {
    code: 2,
    stdout: '',
    stderr: /^millrace: there is no interface 'mr-nowhere'; those that exist: .*\blo\b/,
  });
});

t.test('where nothing can be accelerated', async (t) => {
  const start = [process.execPath, '-p', 'String(process.env.NODE_OPTIONS)'];
  t.match(millrace(['run', ...start]), {
    code: 0,
    stdout: 'undefined\n',
    stderr: /^millrace: nothing is accelerated: no --interface .*; the program runs on the kernel\n$/,
  });
  t.match(millrace(['run', '--require', ...start]), {
    code: 1,
    stdout: '',
    stderr: /^millrace: nothing is accelerated: [^\n]*\n$/,
  });
});

t.test('a program over loopback is accelerated, and its own arguments and output are untouched', async (t) => {
  const report = `${t.testdir()}/report.json`;
  const program = `
    const net = require('node:net');
    const server = net.createServer((socket) => socket.pipe(socket));
    server.listen(0, '127.0.0.1', () => {
      const client = net.connect(server.address().port, '127.0.0.1');
      client.on('data', (data) => process.stdout.write(data)).on('close', () => server.close());
      client.end(process.argv[1] + '\\n');
    });`;
  const outcome = millrace([
    'run',
    '--port',
    'loopback',
    '--report',
    report,
    process.execPath,
    '-e',
    program,
    'echoed',
  ]);
  t.same(outcome, { code: 0, signal: null, stdout: 'echoed\n', stderr: '' });
  const stats = JSON.parse(readFileSync(report, 'utf8')) as { counters: { stack: Record<string, number> } };
  t.match(stats, { accelerated: true, counters: { stack: { connections_opened: 1, connections_accepted: 1 } } });
});

t.test('a missing capability is named', async (t) => {
  const options = loadOptions({ env: { MILLRACE_INTERFACE: 'lo' }, directory: '/nonexistent-directory' });
  const error = whyNot(options, () => ({ ...readMachine(), capabilities: [] }));
  t.match(error, { code: 'ERR_MILLRACE_UNAVAILABLE' });
  for (const name of ['CAP_NET_RAW', 'CAP_NET_ADMIN', 'CAP_BPF', 'CAP_PERFMON']) {
    t.ok(error?.missing.includes(name), `${name} is in the list`);
    t.ok(error?.message.includes(name), `${name} is in the message`);
  }
});

t.test('NODE_OPTIONS', async (t) => {
  t.equal(withPreload(undefined, '/a/register.js'), '--require /a/register.js');
  t.equal(
    withPreload('--max-old-space-size=100', '/a/register.js'),
    '--max-old-space-size=100 --require /a/register.js',
  );
  t.equal(withPreload('--require /a/register.js', '/a/register.js'), '--require /a/register.js', 'not twice');
  t.equal(withPreload('', '/a b/"c\\d/register.js'), '--require "/a b/\\"c\\\\d/register.js"');
});

t.test('Node reads the quoted path as it was meant', async (t) => {
  const directory = t.testdir({ 'with "space" \\': { 'register.js': 'console.log("preloaded " + __filename)' } });
  const file = `${directory}/with "space" \\/register.js`;
  const outcome = millrace(['run', process.execPath, '-e', '0'], {
    env: { MILLRACE: 'off', NODE_OPTIONS: withPreload(undefined, file) },
  });
  t.match(outcome, { code: 0 });
  t.ok(outcome.stdout.endsWith(`preloaded ${file}\n`), outcome.stdout + outcome.stderr);
});
