import { execFile } from 'node:child_process';
import { join } from 'node:path';
import t from 'tap';

const REGISTER = join(__dirname, '../../compat/register.js');
const LIBRARY = join(__dirname, '../../lib/index.js');

interface Result {
  code: number | string;
  out: string;
  err: string;
}

/**
 * Runs a program of one string in a Node of its own. By way of env(1), which takes away what tap puts into the
 * environment of every child: its own preload is neither silent nor allowed everything.
 */
function node(args: readonly string[], code: string, env: Readonly<Record<string, string>> = {}): Promise<Result> {
  const variables = Object.entries({ PATH: process.env['PATH'] ?? '', ...env }).map(
    ([name, value]) => `${name}=${value}`,
  );
  return new Promise((resolve) => {
    const command = ['-i', ...variables, process.execPath, ...args, '-e', code];
    execFile('env', command, { timeout: 20_000 }, (error, out, err) => {
      resolve({
        code: error === null ? 0 : (error.code ?? error.signal ?? 'failed'),
        out: out.trim(),
        err: err.trim(),
      });
    });
  });
}

/** Says whether a connection to itself is ours: our handles have no descriptor. */
const PROBE = `
  const net = require('node:net');
  const server = net.createServer((socket) => socket.end('x')).listen(0, '127.0.0.1', () => {
    const client = net.connect(server.address().port, '127.0.0.1', () => {
      console.log(client._handle.fd === -1 ? 'ours' : 'kernel');
      client.resume();
      server.close();
    });
  });`;

const LOOPBACK = { MILLRACE_PORT: 'loopback' };

t.test('--require, --import and NODE_OPTIONS', async (t) => {
  t.same(await node(['--require', REGISTER], PROBE, LOOPBACK), { code: 0, out: 'ours', err: '' });
  t.same(await node(['--import', REGISTER], PROBE, LOOPBACK), { code: 0, out: 'ours', err: '' });
  const env = { ...LOOPBACK, NODE_OPTIONS: `--require ${REGISTER}` };
  t.same(await node([], PROBE, env), { code: 0, out: 'ours', err: '' });
});

t.test('MILLRACE=off, and a port of none', async (t) => {
  t.same(await node(['--require', REGISTER], PROBE, { ...LOOPBACK, MILLRACE: 'off' }), {
    code: 0,
    out: 'kernel',
    err: '',
  });
  t.same(await node(['--require', REGISTER], PROBE, { MILLRACE_PORT: 'none' }), { code: 0, out: 'kernel', err: '' });
});

t.test('a policy keeps what it does not want with the kernel', async (t) => {
  const env = { ...LOOPBACK, MILLRACE_ACCELERATE: 'udp' };
  t.same(await node(['--require', REGISTER], PROBE, env), { code: 0, out: 'kernel', err: '' });
});

t.test('loaded twice, and by hand', async (t) => {
  const code = `
    delete require.cache[require.resolve(${JSON.stringify(REGISTER)})];
    const before = require('node:net').Socket.prototype.resetAndDestroy;
    for (const name of Object.keys(require.cache)) delete require.cache[name];
    require(${JSON.stringify(REGISTER)});
    console.log(require(${JSON.stringify(join(__dirname, '../../compat/net.js'))}) === require('node:net'));
    console.log(require(${JSON.stringify(join(__dirname, '../../compat/dgram.js'))}) === require('node:dgram'));
    ${PROBE}`;
  const result = await node(['--require', REGISTER, '--pending-deprecation'], code, LOOPBACK);
  t.same(result, { code: 0, out: 'true\ntrue\nours', err: '' });
});

t.test('it loads neither net nor tls nor http nor the addon', async (t) => {
  const code = `
    const loaded = process.moduleLoadList.filter((name) => /^NativeModule (?:net|tls|_tls_wrap|http|_http_server|dgram|dns)$/.test(name));
    const addons = Object.keys(require.cache).filter((name) => name.endsWith('.node'));
    console.log(loaded.length + addons.length, loaded.join(), addons.join());`;
  const plain = await node([], code);
  t.same(await node(['--require', REGISTER], code, LOOPBACK), plain);
});

t.test('a wrong option is one line that names it and what is allowed', async (t) => {
  const run = (env: Record<string, string>) => node(['--require', REGISTER], 'console.log(1)', env);
  t.same(await run({ MILLRACE_PORT: 'lopback' }), {
    code: 2,
    out: '',
    err: "millrace: MILLRACE_PORT is 'lopback': not one of the values; allowed: none, loopback, af_xdp, dpdk",
  });
  t.same(await run({ MILLRACE_PROT: 'loopback' }), {
    code: 2,
    out: '',
    err: 'millrace: MILLRACE_PROT is not an option of millrace (variable); did you mean MILLRACE_PORT? npx millrace options lists them',
  });
  const nowhere = await run({ MILLRACE_PORT: 'af_xdp', MILLRACE_INTERFACE: 'nope' });
  t.equal(nowhere.code, 2);
  t.match(nowhere.err, /^millrace: there is no interface 'nope'; those that exist: [^\n]+$/);
});

t.test('a wrong option where somebody can catch it is thrown', async (t) => {
  const code = `try { require(${JSON.stringify(REGISTER)}) } catch (error) { console.log(error.code) }`;
  t.match(await node([], code, { MILLRACE_PORT: 'lopback' }), { code: 0, out: 'ERR_MILLRACE_OPTION', err: '' });
  const worker = `
    process.env.MILLRACE_PORT = 'lopback';
    new (require('node:worker_threads').Worker)('0', { eval: true }).on('error', ({ code }) => console.log(code));`;
  t.match(await node(['--require', REGISTER], worker), { code: 0, out: 'ERR_MILLRACE_OPTION', err: '' });
  const imported = await node(['--import', REGISTER], '0', { MILLRACE_PORT: 'lopback' });
  t.not(imported.code, 0);
  t.match(imported.err, /OptionError: MILLRACE_PORT is 'lopback'/);
});

t.test('a working directory that is gone, or that the program may not read', async (t) => {
  const directory = t.testdir({ inner: {} });
  const gone = join(directory, 'inner');
  const shell = (before: string, args: readonly string[], code: string) =>
    new Promise<Result>((resolve) => {
      const script = `${before} && exec env -i MILLRACE_PORT=loopback "$@"`;
      execFile('sh', ['-c', script, 'sh', process.execPath, ...args, '-e', code], (error, out, err) => {
        resolve({ code: error === null ? 0 : (error.code ?? 'failed'), out: out.trim(), err: err.trim() });
      });
    });
  const result = await shell(`cd '${gone}' && rmdir '${gone}'`, ['--require', REGISTER], PROBE);
  t.same(result, { code: 0, out: 'ours', err: '' });
  const flag = process.allowedNodeEnvironmentFlags.has('--permission') ? '--permission' : '--experimental-permission';
  const read = `--allow-fs-read=${join(__dirname, '../../..')}/*`;
  const shut = await shell('cd /', [flag, '--no-warnings', read, '--require', REGISTER], 'console.log(1)');
  t.match(shut, { code: 0, out: '1', err: /^(?:millrace: .*kernel[^\n]*)?$/ });
});

t.test('workers', async (t) => {
  const code = `
    const { Worker } = require('node:worker_threads');
    const worker = new Worker(${JSON.stringify(PROBE)}, { eval: true });
    worker.on('exit', (status) => console.log('exit', status));`;
  const result = await node(['--require', REGISTER], code, LOOPBACK);
  t.equal(result.code, 0);
  t.match(result.out, /^(?:ours|kernel)\nexit 0$/);
});

t.test('the permission model: the kernel, and a reason', async (t) => {
  const flag = process.allowedNodeEnvironmentFlags.has('--permission') ? '--permission' : '--experimental-permission';
  for (const more of [[], ['--allow-addons'], ['--allow-addons', '--allow-worker', '--allow-child-process']]) {
    // Node 26 asks for the network, too.
    const network = process.allowedNodeEnvironmentFlags.has('--allow-net') ? ['--allow-net'] : [];
    const flags = [flag, '--allow-fs-read=*', ...network, '--no-warnings', ...more];
    const result = await node([...flags, '--require', REGISTER], PROBE, LOOPBACK);
    t.equal(result.code, 0);
    t.equal(result.out, 'kernel', more.join(' '));
    t.match(result.err, /^millrace: .*kernel[^\n]*$/);
  }
});

t.test('statistics say what went through', async (t) => {
  const code = `${PROBE}
    process.on('exit', () => console.log(typeof require(${JSON.stringify(LIBRARY)}).stats()));`;
  const result = await node(['--require', REGISTER], code, LOOPBACK);
  t.same(result, { code: 0, out: 'ours\nobject', err: '' });
});
