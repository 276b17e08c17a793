import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { Stats } from '../../lib/index';

const index = join(__dirname, '..', '..', 'lib', 'index.js');

/** Runs a program that has the public API as `api`, in a process of its own: options are read once per process. */
function run(
  program: string,
  env: Readonly<Record<string, string>>,
  addressSpaceKib?: number,
): { code: number | null; stdout: string; stderr: string } {
  const script = `const api = require(${JSON.stringify(index)}); ${program}`;
  const inherited = Object.entries(process.env).filter(([name]) => !/^(?:MILLRACE|NODE_OPTIONS$)/.test(name));
  const settings = { env: { ...Object.fromEntries(inherited), ...env }, encoding: 'utf8', timeout: 30_000 } as const;
  const limit = addressSpaceKib === undefined ? '' : `ulimit -v ${addressSpaceKib}; `;
  const command = ['-c', `${limit}exec "$0" "$@"`, process.execPath, '-e', script];
  const { status, stdout, stderr } = spawnSync('/bin/sh', command, settings);
  return { code: status, stdout, stderr };
}

const wants = 'console.log(api.wants("tcp", "listen", "0.0.0.0", 22), api.wants("tcp", "listen", "0.0.0.0", 80));';

t.test('what is wanted', async (t) => {
  t.match(run(wants, {}), { code: 0, stdout: 'false false\n', stderr: '' }, 'nothing, until a port is named');
  t.match(run(wants, { MILLRACE_PORT: 'loopback' }), { stdout: 'true true\n' });
  t.match(run(wants, { MILLRACE_PORT: 'loopback', MILLRACE: 'off' }), { stdout: 'false false\n' });
  t.match(run(wants, { MILLRACE_PORT: 'loopback', MILLRACE_ACCELERATE: '!tcp:*:*:22' }), { stdout: 'false true\n' });
});

t.test('a wrong option is thrown', async (t) => {
  const program =
    'try { api.configure(); } catch (error) { console.log(error.code, error instanceof api.OptionError, error.message); }';
  t.match(run(program, { MILLRACE_SPIN_US: '-1' }), {
    stdout: "ERR_MILLRACE_OPTION true MILLRACE_SPIN_US is '-1': too small; allowed: an integer from 0 to 1000\n",
  });
});

t.test('without acceleration the counters say so', async (t) => {
  t.match(run('console.log(JSON.stringify(api.stats()))', {}), {
    stdout: /^\{"accelerated":false,"pid":\d+,"ports":\[\],"counters":\{\},"refusedRules":\[\]\}\n$/,
  });
  t.match(run('console.log(api.acquireEngine())', {}), { stdout: 'null\n', stderr: '' });
});

t.test('over loopback', async (t) => {
  const file = join(t.testdir(), 'report-%p.json');
  const program = `api.lifecycle.on('open', (ports) => console.log('open', ports[0].name));
    process.on('exit', () => process.exit());
    console.log(api.acquireEngine() === api.acquireEngine(), api.stats().accelerated, process.pid);`;
  const { code, stdout, stderr } = run(program, { MILLRACE_PORT: 'loopback', MILLRACE_REPORT: file });
  t.equal(stderr, '');
  t.equal(code, 0);
  const match = /^open loopback\ntrue true (\d+)\n$/.exec(stdout);
  t.ok(match, stdout);
  const report = JSON.parse(readFileSync(file.replace('%p', match?.[1] ?? ''), 'utf8')) as Stats;
  t.match(report, { accelerated: true, pid: Number(match?.[1]), ports: [{ name: 'loopback' }] });
  t.ok(Object.keys(report.counters).length > 0, 'the report has counters');
});

t.test('an interface that does not exist is a mistake, and the error names those that do', async (t) => {
  const program = 'try { api.configure(); } catch (error) { console.log(error.code, error.message); }';
  t.match(run(program, { MILLRACE_INTERFACE: 'mr-nowhere' }), {
    stdout: /^ERR_MILLRACE_INTERFACE there is no interface 'mr-nowhere'; those that exist: .*\blo\b/,
  });
  t.match(run(program, { MILLRACE_INTERFACE: 'mr-nowhere', MILLRACE: 'off' }), { stdout: '' });
});

t.test('a report that cannot be written is said, and changes nothing else', async (t) => {
  const program = 'api.acquireEngine(); process.exitCode = 3;';
  t.match(run(program, { MILLRACE_PORT: 'loopback', MILLRACE_REPORT: '/nowhere/at/all/report' }), {
    code: 3,
    stderr: /^millrace: cannot write the report \/nowhere\/at\/all\/report: ENOENT[^\n]*\n$/,
  });
});

t.test('more memory than there may be', async (t) => {
  const program = 'console.log(api.acquireEngine() !== null);';
  const limited = run(program, { MILLRACE_PORT: 'loopback' }, 4_000_000);
  t.match(limited, { code: 0, stdout: 'true\n', stderr: '' }, 'enough');
  t.match(run(program, { MILLRACE_PORT: 'loopback', MILLRACE_FRAMES: '262144' }, 4_000_000), {
    code: 0,
    stdout: 'false\n',
    stderr: /^millrace: sockets stay with the kernel: \d+ MiB of address space are wanted[^\n]*ulimit -v[^\n]*\n$/,
  });
});

t.test('where the port cannot be opened', async (t) => {
  const env = { MILLRACE_PORT: 'loopback', MILLRACE_PCAP: '/nowhere/at/all/capture' };
  const program =
    "api.lifecycle.on('fallback', (reason) => console.log(reason !== '')); console.log(api.acquireEngine(), api.stats().accelerated);";
  const fallen = run(program, env);
  t.match(fallen, {
    code: 0,
    stdout: 'true\nnull false\n',
    stderr: /^millrace: sockets stay with the kernel: [^\n]*nowhere[^\n]*\n$/,
  });
  const required = run('try { api.acquireEngine(); } catch (error) { console.log(error.code); }', {
    ...env,
    MILLRACE_REQUIRE: '1',
  });
  t.match(required, { stdout: 'ERR_MILLRACE_UNAVAILABLE\n', stderr: '' });
});
