/** The preload in programs that have nothing to do with it: it is silent, and changes neither output nor exit code. */
import { spawn } from 'node:child_process';
import { cpSync, symlinkSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import t, { type Test } from 'tap';

const REGISTER = join(__dirname, '../../compat/register.js');
const ROOT = join(__dirname, '../../..');
const PRELOAD = { NODE_OPTIONS: `--require ${REGISTER}`, MILLRACE_PORT: 'loopback' };

t.setTimeout(110_000);

interface Result {
  code: number | null;
  out: string;
  err: string;
}

/** A command with nothing in its environment but `env`: what tap puts there is neither silent nor allowed everything. */
function run(command: string, args: readonly string[], env: Readonly<Record<string, string>>): Promise<Result> {
  return new Promise((resolve) => {
    // npm and its like run by the Node that PATH names: the one that is tested.
    const path = [dirname(process.execPath), process.env['PATH']].join(delimiter);
    const own = { PATH: path, HOME: process.env['HOME'] ?? '/', NO_COLOR: '1', ...env };
    const variables = Object.entries(own).map(([name, value]) => `${name}=${value}`);
    const child = spawn('env', ['-i', ...variables, command, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    const result: Result = { code: null, out: '', err: '' };
    child.stdout.on('data', (data) => {
      result.out += data;
    });
    child.stderr.on('data', (data) => {
      result.err += data;
    });
    child.on('close', (code) => resolve({ ...result, code }));
  });
}

function plainly(result: Result): Result {
  const strip = (text: string) =>
    text
      .replace(/\b\d+:(?=\d|\w)|\(node:\d+\)/g, '')
      .replace(/duration_ms:? ?[\d.]+/g, '')
      .replace(/^.*A complete log of this run.*$/gm, '');
  return { code: result.code, out: strip(result.out), err: strip(result.err) };
}

/** Runs it without the preload and with it, and wants the same. */
async function same(t: Test, command: string, args: readonly string[], env: Readonly<Record<string, string>> = {}) {
  const [plain, preloaded] = await Promise.all([run(command, args, env), run(command, args, { ...PRELOAD, ...env })]);
  t.same(plainly(preloaded), plainly(plain));
  return plain;
}

t.test('npm', async (t) => {
  const result = await same(t, 'npm', ['pack', '--dry-run', '--ignore-scripts', '--json', ROOT]);
  t.equal(result.code, 0);
});

t.test('tsc', async (t) => {
  const file = join(t.testdir({ 'wrong.ts': 'export const a: number = "text";\n' }), 'wrong.ts');
  const result = await same(t, process.execPath, [
    join(ROOT, 'node_modules/typescript/bin/tsc'),
    '--ignoreConfig',
    '--noEmit',
    file,
  ]);
  t.match(result.out, /TS2322/);
});

t.test('node --test', async (t) => {
  const file = join(
    t.testdir({
      'a.test.cjs': `
        const { test } = require('node:test');
        const net = require('node:net');
        test('echo', (t, done) => {
          const server = net.createServer((socket) => socket.pipe(socket)).listen(0, '127.0.0.1', () => {
            const client = net.connect(server.address().port, '127.0.0.1');
            client.end('x');
            client.resume().on('close', () => server.close(done));
          });
        });
        test('wrong', () => { throw new Error('on purpose'); });`,
    }),
    'a.test.cjs',
  );
  const args = ['--test', '--test-reporter', 'tap', file];
  const runs = [run(process.execPath, args, {}), run(process.execPath, args, PRELOAD)];
  const [plain, preloaded] = await Promise.all(runs);
  const points = (result: Result | undefined) => result?.out.match(/^ *(?:not )?ok \d+ - \S+|^# (?:pass|fail) \d+/gm);
  t.same(points(preloaded), points(plain));
  t.match(plain?.out, /# pass 1/);
  t.equal(preloaded?.err, '');
});

t.test('flags', async (t) => {
  const probe = `
    const net = require('node:net');
    const server = net.createServer((socket) => socket.end('x')).listen(0, '127.0.0.1', () => {
      net.connect(server.address().port, '127.0.0.1').on('data', (data) => console.log(String(data))).on('close', () => server.close());
    });`;
  const flags = [
    ['--frozen-intrinsics'],
    ['--pending-deprecation', '--throw-deprecation'],
    ['--disallow-code-generation-from-strings'],
    ['--disable-proto=delete'],
    ['--stack-trace-limit=0'],
    ['--trace-uncaught', '--trace-warnings'],
    ['--expose-internals'],
    ['--enable-source-maps'],
    ['--experimental-vm-modules'],
    ['--preserve-symlinks'],
    ['--no-deprecation', '--zero-fill-buffers'],
    ['--jitless'],
  ];
  for (const list of flags) {
    await t.test(list.join(' '), async (t) => {
      const result = await same(t, process.execPath, [...list, '-e', probe]);
      t.equal(result.out, 'x\n');
    });
  }
});

t.test('other ways to run node', async (t) => {
  await t.test('print', (t) => same(t, process.execPath, ['-p', '[1, 2, Object.keys(require.cache).length >= 0]']));
  await t.test('an error', (t) => same(t, process.execPath, ['-e', 'throw new TypeError("on purpose")']));
  await t.test('a rejection', (t) => same(t, process.execPath, ['-e', 'Promise.reject(new Error("on purpose"))']));
  await t.test('an exit code', (t) => same(t, process.execPath, ['-e', 'process.exitCode = 7']));
  await t.test('a signal', (t) => same(t, process.execPath, ['-e', 'process.kill(process.pid, "SIGTERM")']));
  await t.test('a module', (t) =>
    same(t, process.execPath, [
      '--input-type=module',
      '-e',
      'import { connect } from "node:net"; console.log(connect.name)',
    ]),
  );
  await t.test('named imports, taken before the preload, carry connections', async (t) => {
    const early = join(
      t.testdir({
        'early.mjs': `import { connect, createServer } from 'node:net'; globalThis.early = { connect, createServer };`,
      }),
      'early.mjs',
    );
    const probe = `
      import net, { connect, createServer, Socket } from 'node:net';
      import { createSocket } from 'node:dgram';
      const { early } = globalThis;
      const same = early.connect === connect && early.createServer === createServer && net.Socket === Socket;
      const server = early.createServer((socket) => socket.end('x')).listen(0, '127.0.0.1', () => {
        const client = early.connect(server.address().port, '127.0.0.1', () => {
          console.log(same, client instanceof Socket, client._handle.fd === -1 ? 'ours' : 'kernel', createSocket.name);
          client.resume();
          server.close();
        });
      });`;
    const args = ['--import', early, '--import', REGISTER, '--input-type=module', '-e', probe];
    const result = await run(process.execPath, args, { MILLRACE_PORT: 'loopback' });
    t.same(result, { code: 0, out: 'true true ours createSocket\n', err: '' });
  });
  await t.test('what is global', (t) =>
    same(t, process.execPath, ['-p', 'Object.getOwnPropertyNames(globalThis).sort().join()']),
  );
  await t.test('the shape of net and dgram', (t) =>
    same(t, process.execPath, [
      '-p',
      `[require('net'), require('dgram')].map((m) => Object.keys(m).join() + Object.getOwnPropertyNames(m.Socket.prototype).join() +
        Object.values(m).filter((f) => typeof f === 'function').map((f) => f.length + f.name).join()).join('\\n')`,
    ]),
  );
  await t.test('own execArgv of a worker', (t) =>
    same(t, process.execPath, [
      '-e',
      `const { Worker } = require('worker_threads');
       const code = "const net = require('net'); const own = process.execArgv.filter((a) => a.startsWith('--')); const s = net.createServer((c) => c.end('x')).listen(0, '127.0.0.1', () => net.connect(s.address().port, '127.0.0.1').on('data', (d) => require('worker_threads').parentPort.postMessage(own.join() + d)).on('close', () => s.close()));";
       const lines = [];
       for (const options of [{ execArgv: [] }, { execArgv: ['--no-warnings'] }, { env: {} }]) {
         const worker = new Worker(code, { eval: true, ...options });
         worker.on('message', (line) => lines.push(line));
         worker.on('exit', (code) => lines.push('exit ' + code));
       }
       process.on('exit', () => console.log(lines.sort().join()));`,
    ]),
  );
  await t.test('a context of its own', (t) =>
    same(t, process.execPath, [
      '-e',
      `const context = require('vm').createContext({ require, console });
       require('vm').runInContext("const net = require('net'); const s = net.createServer((c) => c.end('x')).listen(0, '127.0.0.1', () => net.connect(s.address().port, '127.0.0.1').on('data', (d) => console.log(d.length)).on('close', () => s.close()));", context);`,
    ]),
  );
});

t.test('two copies in one tree, loaded in either order', async (t) => {
  const other = t.testdir({});
  for (const name of ['dist/lib', 'dist/compat', 'package.json']) {
    cpSync(join(ROOT, name), join(other, name), { recursive: true });
  }
  for (const name of ['build', 'node_modules']) symlinkSync(join(ROOT, name), join(other, name));
  const second = join(other, 'dist/compat/register.js');
  const probe = `
    const net = require('net');
    const server = net.createServer((socket) => socket.end('x')).listen(0, '127.0.0.1', () => {
      const client = net.connect(server.address().port, '127.0.0.1', () => {
        console.log(client._handle.fd === -1 ? 'ours' : 'kernel');
        client.resume();
        server.close();
      });
    });`;
  for (const [one, two] of [
    [REGISTER, second],
    [second, REGISTER],
  ] as const) {
    const args = ['--require', one, '--require', two, '-e', probe];
    const result = await run(process.execPath, args, { MILLRACE_PORT: 'loopback' });
    t.same(result, { code: 0, out: 'ours\n', err: '' });
  }
});

t.test('node --watch runs it again', async (t) => {
  const file = join(t.testdir({ 'app.js': `console.log('run', process.execArgv.length >= 0);` }), 'app.js');
  const own = { PATH: process.env['PATH'] ?? '', ...PRELOAD };
  const child = spawn(process.execPath, ['--watch', file], { env: own, stdio: ['ignore', 'pipe', 'pipe'] });
  let out = '';
  let err = '';
  child.stderr.on('data', (data) => {
    err += data;
  });
  await new Promise<void>((resolve) => {
    let touched = false;
    child.stdout.on('data', (data) => {
      out += data;
      const runs = out.match(/^run true$/gm)?.length ?? 0;
      if (runs >= 1 && /Completed running/.test(out) && !touched) {
        touched = true;
        writeFileSync(file, `console.log('run', true); // changed\n`);
      }
      if (runs >= 2) resolve();
    });
    child.on('exit', () => resolve());
  });
  const closed = new Promise((resolve) => child.on('close', resolve));
  child.kill();
  await closed;
  t.match(out, /run true[\s\S]*run true/);
  t.notMatch(err, /millrace/i);
});

t.test('a snapshot of the program', async (t) => {
  const directory = t.testdir({
    'entry.js': `require('v8').startupSnapshot.setDeserializeMainFunction(() => {
      const net = require('net');
      const server = net.createServer((socket) => socket.end('x')).listen(0, '127.0.0.1', () => {
        net.connect(server.address().port, '127.0.0.1').on('data', (data) => console.log(String(data))).on('close', () => server.close());
      });
    });`,
  });
  const blob = join(directory, 'blob');
  const build = ['--snapshot-blob', blob, '--build-snapshot', join(directory, 'entry.js')];
  const built = await run(process.execPath, build, PRELOAD);
  const plain = await run(process.execPath, build, {});
  t.same(plainly(built), plainly(plain));
  const ran = await run(process.execPath, ['--snapshot-blob', blob], PRELOAD);
  t.same(ran, { code: 0, out: 'x\n', err: '' });
});

t.test('--no-addons: the kernel, and a reason', async (t) => {
  const probe = `require('net').createServer().listen(0, '127.0.0.1', function () { console.log('up'); this.close(); })`;
  const result = await run(process.execPath, ['--no-addons', '-e', probe], PRELOAD);
  t.equal(result.code, 0);
  t.equal(result.out, 'up\n');
  t.match(result.err, /^millrace: [^\n]*kernel[^\n]*\n$/);
});
