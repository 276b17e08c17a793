/**
 * The package as a user gets it: packed, checked by publint and attw, installed into an empty project with a prebuilt
 * addon and without one, and used from CommonJS, ES modules and TypeScript.
 */
import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { copyFileSync, cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';

const ROOT = join(__dirname, '..', '..', '..');
const ADDON = join(ROOT, 'build/Release/millrace.node');
const DEPENDENCIES = ['eventemitter3', 'node-addon-api', 'node-gyp-build'];

// Not below a folder with node_modules: nothing must be found there by accident.
const work = mkdtempSync(join(tmpdir(), 'millrace-package-'));
t.teardown(() => rmSync(work, { recursive: true, force: true }));
t.setTimeout(580_000);

function environment(more: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !/^(?:TAP|NODE_OPTIONS|MILLRACE|npm_)/.test(name));
  return { ...Object.fromEntries(kept), npm_config_update_notifier: 'false', ...more };
}

function run(command: string, args: readonly string[], cwd: string, env: NodeJS.ProcessEnv = environment()) {
  return spawnSync(command, args, { cwd, env, encoding: 'utf8', timeout: 400_000 });
}

function said(result: SpawnSyncReturns<string>): string {
  return `${result.error ?? ''}${result.stdout}${result.stderr}`;
}

function bin(name: string): string {
  return join(ROOT, 'node_modules/.bin', name);
}

let tarball = '';

t.test('npm pack', async (t) => {
  const result = run('npm', ['pack', '--ignore-scripts', '--pack-destination', work], ROOT);
  t.equal(result.status, 0, said(result));
  tarball = join(work, readdirSync(work).find((name) => name.endsWith('.tgz')) ?? 'none');
  const list = run('tar', ['-tzf', tarball], work).stdout.split('\n');
  t.ok(list.includes('package/dist/compat/register.js'));
  t.ok(list.includes('package/binding.gyp'));
  t.notOk(
    list.some((name) => /^package\/(?:test|dist\/test|bench|node_modules|build)\//.test(name)),
    'no tests in it',
  );
});

t.test('publint', async (t) => {
  const result = run(bin('publint'), ['run', tarball, '--strict'], work);
  t.equal(result.status, 0, said(result));
});

t.test('are the types wrong?', async (t) => {
  // Of Node 16 and later: what cannot read "exports" is older than any Node that we run on.
  const result = run(bin('attw'), [tarball, '--profile', 'node16', '--no-color'], work);
  t.equal(result.status, 0, said(result));
});

/** Takes a tarball apart, adds the addon where prebuildify puts it, and packs it again. */
function withPrebuilt(): string {
  const place = join(work, 'prebuilt');
  mkdirSync(place);
  run('tar', ['-xzf', tarball, '-C', place], work);
  const prebuilds = join(place, 'package/prebuilds', `${process.platform}-${process.arch}`);
  mkdirSync(prebuilds, { recursive: true });
  copyFileSync(ADDON, join(prebuilds, 'millrace.glibc.node'));
  const path = join(work, 'prebuilt.tgz');
  run('tar', ['-czf', path, '-C', place, 'package'], work);
  return path;
}

/** An empty project into which the tarball is installed; what the package depends on comes from here, not from afar. */
function project(name: string, from: string, ...options: string[]) {
  const directory = join(work, name);
  mkdirSync(directory);
  const local = (dependency: string) => [dependency, `file:${join(ROOT, 'node_modules', dependency)}`];
  const content = {
    private: true,
    dependencies: { millrace: `file:${from}`, ...Object.fromEntries(DEPENDENCIES.map(local)) },
    overrides: Object.fromEntries(DEPENDENCIES.map((dependency) => [dependency, `$${dependency}`])),
  };
  writeFileSync(join(directory, 'package.json'), JSON.stringify(content));
  const args = ['install', '--offline', '--install-links', '--no-audit', '--no-fund', ...options];
  // As on a machine that compiles addons at all: node-gyp is npm's own.
  const installed = run('npm', args, directory);
  return { directory, installed };
}

const BODY = `
const server = net.createServer((socket) => socket.end('hello'));
server.listen(0, '127.0.0.1', () => {
  const client = net.connect(server.address().port, '127.0.0.1');
  client.on('data', (data) => console.log(String(data)));
  client.on('close', () => {
    const { counters } = millrace.stats();
    console.log(counters.stack === undefined ? 'kernel' : 'accelerated ' + counters.stack.connections_opened);
    server.close();
  });
});
`;

const PROGRAMS: Record<string, string> = {
  'plain.cjs': `const net = require('node:net');\nconst millrace = require('millrace');\n${BODY}`,
  'common.cjs': `require('millrace/register');\nconst net = require('node:net');\nconst millrace = require('millrace');\n${BODY}`,
  'door.cjs': `const net = require('millrace/net');\nconst millrace = require('millrace');\n${BODY}`,
  'module.mjs': `import 'millrace/register';\nimport * as net from 'node:net';\nimport * as millrace from 'millrace';\n${BODY}`,
  'named.mjs': `import { createServer, connect } from 'millrace/net';\nimport dgram from 'millrace/dgram';\nimport { stats } from 'millrace';
const net = { createServer, connect };\nconst millrace = { stats };\nif (typeof dgram.createSocket !== 'function') throw new Error();\n${BODY}`,
  'typed.mts': `import 'millrace/register';
import * as net from 'millrace/net';
import * as dgram from 'millrace/dgram';
import { configure, lifecycle, stats, type Stats } from 'millrace';
const server: net.Server = net.createServer((socket: net.Socket) => socket.end('hello'));
const socket: dgram.Socket = dgram.createSocket('udp4');
socket.close();
void configure;
void lifecycle;
server.listen(0, '127.0.0.1', () => {
  const client = net.connect((server.address() as net.AddressInfo).port, '127.0.0.1');
  client.on('data', (data) => console.log(String(data)));
  client.on('close', () => {
    const all: Stats = stats();
    console.log('accelerated ' + (all.counters['stack']?.['connections_opened'] ?? 0));
    server.close();
  });
});
`,
};

function writePrograms(directory: string): void {
  for (const [name, text] of Object.entries(PROGRAMS)) writeFileSync(join(directory, name), text);
}

const LOOPBACK = environment({ MILLRACE_PORT: 'loopback' });
const GOOD = 'hello\naccelerated 1\n';

/** Every way to use it, in an installed project. */
async function use(t: Test, directory: string): Promise<void> {
  writePrograms(directory);
  const node = (...args: string[]) => run(process.execPath, args, directory, LOOPBACK);
  for (const args of [
    ['common.cjs'],
    ['door.cjs'],
    ['module.mjs'],
    ['named.mjs'],
    ['--require', 'millrace/register', 'plain.cjs'],
    ['--import', 'millrace/register', 'plain.cjs'],
  ]) {
    const result = node(...args);
    t.same([result.status, result.stdout, result.stderr], [0, GOOD, ''], args.join(' '));
  }
  const plain = node('plain.cjs');
  t.same([plain.status, plain.stdout, plain.stderr], [0, 'hello\nkernel\n', ''], 'nothing happens without register');
  const command = run(join(directory, 'node_modules/.bin/millrace'), ['--version'], directory);
  t.match(command.stdout, /\d+\.\d+\.\d+/, said(command));
}

t.test('with a prebuilt addon', async (t) => {
  const { directory, installed } = project('with', withPrebuilt());
  t.equal(installed.status, 0, said(installed));
  const addons = readdirSync(join(directory, 'node_modules/millrace')).includes('build');
  t.notOk(addons, 'nothing was compiled');
  await use(t, directory);

  await t.test('TypeScript', async (t) => {
    mkdirSync(join(directory, 'node_modules/@types'));
    for (const name of ['@types/node', 'undici-types']) {
      symlinkSync(join(ROOT, 'node_modules', name), join(directory, 'node_modules', name));
    }
    for (const module of ['node16', 'nodenext']) {
      const args = ['--strict', '--module', module, '--target', 'es2022', '--types', 'node', '--outDir', module];
      const compiled = run(bin('tsc'), [...args, 'typed.mts'], directory);
      t.equal(compiled.status, 0, said(compiled));
      const result = run(process.execPath, [join(module, 'typed.mjs')], directory, LOOPBACK);
      t.same([result.status, result.stdout, result.stderr], [0, GOOD, ''], module);
    }
  });

  await t.test('two copies of the package in one tree', async (t) => {
    const inner = join(directory, 'node_modules/other/node_modules');
    mkdirSync(inner, { recursive: true });
    cpSync(join(directory, 'node_modules/millrace'), join(inner, 'millrace'), { recursive: true });
    const index = "require('millrace/register');\nexports.stats = require('millrace').stats;\n";
    writeFileSync(join(inner, '../index.js'), index);
    writeFileSync(join(directory, 'both.cjs'), `require('other');\n${PROGRAMS['common.cjs']}`);
    const result = run(process.execPath, ['both.cjs'], directory, LOOPBACK);
    t.equal(result.status, 0, said(result));
    t.match(result.stdout, /^hello\n/);
    t.equal(result.stderr, '');
  });
});

t.test('with none: the install script compiles', async (t) => {
  const { directory, installed } = project('none', tarball, '--foreground-scripts');
  t.equal(installed.status, 0, said(installed));
  await use(t, directory);
});

t.test('with none and no compiler: the kernel, and one line that says so', async (t) => {
  const { directory, installed } = project('bare', tarball, '--ignore-scripts');
  t.equal(installed.status, 0, said(installed));
  writePrograms(directory);
  const result = run(process.execPath, ['common.cjs'], directory, LOOPBACK);
  t.equal(result.status, 0, said(result));
  t.equal(result.stdout, 'hello\nkernel\n');
  t.match(result.stderr, /^millrace: [^\n]*kernel[^\n]*\n$/);
  const off = run(process.execPath, ['common.cjs'], directory, environment({ MILLRACE: 'off' }));
  t.same([off.status, off.stdout, off.stderr], [0, 'hello\nkernel\n', '']);
});
