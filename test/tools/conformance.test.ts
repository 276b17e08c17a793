import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { loadTool } from './tool';

const ROOT = join(__dirname, '..', '..', '..');

interface Result {
  test: string;
  prefix: string;
  plain: string;
  hooked: string | null;
  used: boolean;
  unsteady?: boolean;
}

function result(test: string, plain: string, hooked: string | null): Result {
  return { test: `parallel/test-net-${test}.js`, prefix: 'net', plain, hooked, used: false };
}

/** A tree of Node's with these tests. */
function makeTree(root: string, tests: Record<string, string>): string {
  for (const folder of ['parallel', 'sequential']) mkdirSync(join(root, 'test', folder), { recursive: true });
  for (const [name, source] of Object.entries(tests)) writeFileSync(join(root, 'test', name), source);
  return root;
}

function run(...args: string[]) {
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(?:TAP|NODE_OPTIONS)/.test(name)));
  const tool = join(ROOT, 'tools/conformance/run.mjs');
  return spawnSync(process.execPath, [tool, ...args], { encoding: 'utf8', env });
}

const ECHO = `
const net = require('net');
const server = net.createServer((s) => s.pipe(s)).listen(0, '127.0.0.1', () => {
  const client = net.connect(server.address().port, '127.0.0.1').end('x').resume();
  client.on('close', () => server.close());
});`;

t.test('a tree is run plain and through the stack, and compared', async (t) => {
  const tree = makeTree(t.testdir(), {
    'parallel/test-net-echo.js': ECHO,
    'parallel/test-net-flags.js': "// Flags: --expose-gc --no-warnings\nif (typeof gc !== 'function') process.exit(1);",
    'parallel/test-net-differs.js': "if (process.env.NODE_OPTIONS) throw new Error('here it differs');",
    'parallel/test-net-fails.js': 'process.exit(3);',
    'parallel/test-net-skips.js': "console.log('1..0 # Skipped: no reason');",
    'sequential/test-net-slots.js': `
      const { TEST_THREAD_ID: id, NODE_COMMON_PORT: port, NODE_TEST_DIR: directory } = process.env;
      if (!id || !(port > 1024) || !require('fs').existsSync(directory)) process.exit(1);`,
    'parallel/test-dgram-other.js': 'process.exit(1);',
  });
  const json = join(tree, 'results.json');
  const { status, stdout } = run('--tree', tree, '--prefix', 'net', '--json', json, '--jobs', '2');
  t.equal(status, 1, 'something differs');
  t.match(stdout, /differs: parallel\/test-net-differs\.js.*here it differs/s);
  const { rows, results } = JSON.parse(readFileSync(json, 'utf8')) as { rows: unknown[]; results: Result[] };
  t.same(rows, [{ prefix: 'net', tests: 6, skipped: 1, passedPlain: 4, passedHooked: 3, used: 1 }]);
  t.same(
    results.map(({ test, plain, hooked }) => [test.split('-')[2], plain, hooked]),
    [
      ['differs.js', 'pass', 'fail'],
      ['echo.js', 'pass', 'pass'],
      ['fails.js', 'fail', null],
      ['flags.js', 'pass', 'pass'],
      ['skips.js', 'skip', 'skip'],
      ['slots.js', 'pass', 'pass'],
    ],
  );
});

t.test('--lean: plain Node runs only what fails', async (t) => {
  const note = (name: string) => `
    const how = process.env.NODE_OPTIONS ? 'hooked' : 'plain';
    require('fs').appendFileSync(require('path').join(__dirname, '../../${name}.txt'), how + ' ');`;
  const tree = makeTree(t.testdir(), {
    'parallel/test-net-echo.js': note('echo') + ECHO,
    'parallel/test-net-differs.js': `${note('differs')} if (process.env.NODE_OPTIONS) throw new Error('here it differs');`,
    'parallel/test-net-fails.js': `${note('fails')} process.exit(3);`,
    'parallel/test-http-parser-timeout-reset.js': note('expected'),
  });
  const { status, stdout } = run('--tree', tree, '--lean', '--prefix', 'net,http');
  t.equal(status, 1, stdout);
  t.match(stdout, /differs: parallel\/test-net-differs\.js.*here it differs/s);
  t.match(stdout, /^1 passed, 1 failed, 1 not counted$/m);
  const ran = (name: string) =>
    readFileSync(join(tree, `${name}.txt`), 'utf8')
      .split(' ')
      .slice(0, 2);
  t.same(ran('echo'), ['hooked', '']);
  t.same(ran('differs'), ['hooked', 'plain']);
  t.same(ran('fails'), ['hooked', 'plain']);
  t.throws(() => ran('expected'), 'what is expected to differ does not run');
});

t.test('with nothing accelerated nothing uses the stack', async (t) => {
  const tree = makeTree(t.testdir(), { 'parallel/test-net-echo.js': ECHO });
  const json = join(tree, 'results.json');
  const { status, stdout } = run('--tree', tree, '--prefix', 'net', '--none', '--json', json);
  t.equal(status, 0, stdout);
  const [only] = (JSON.parse(readFileSync(json, 'utf8')) as { results: Result[] }).results;
  t.match(only, { plain: 'pass', hooked: 'pass', used: false });
});

t.test('wrong options', async (t) => {
  for (const args of [['--prefix', 'nett'], ['--jobs', '0'], ['--docs', '--none'], ['--nonsense']]) {
    t.equal(run(...args).status, 2, args.join(' '));
  }
});

t.test('differences are judged by what is expected of this Node', async (t) => {
  const { judge } = await loadTool<{
    judge(
      results: Result[],
      expectations: object[],
      major: number,
    ): Record<'expected' | 'unexpected' | 'stale' | 'unsteady', Result[]> & { tooMany: boolean };
  }>('conformance/expectations.mjs');
  const entry = (test: string, nodes: number[]) => ({ test: `parallel/test-net-${test}.js`, nodes, reason: 'why' });
  const expectations = [entry('known', [20]), entry('other', [22]), entry('mended', [20])];
  const results = [
    result('known', 'pass', 'fail'),
    result('other', 'pass', 'fail'),
    result('mended', 'pass', 'pass'),
    result('plain', 'fail', null),
    { ...result('once', 'pass', 'pass'), unsteady: true },
  ];
  const judged = judge(results, expectations, 20);
  const names = (list: Result[]) => list.map(({ test }) => test.slice('parallel/test-net-'.length, -3));
  t.same(names(judged.expected), ['known']);
  t.same(names(judged.unexpected), ['other']);
  t.same(names(judged.stale), ['mended']);
  t.same(names(judged.unsteady), ['once']);
  t.equal(judged.tooMany, true, 'one of four is more than 1 %');
});

t.test('what is expected only without a privilege', async (t) => {
  const { expectedHere } = await loadTool<{
    expectedHere(list: object[], has: (name: string) => boolean): { test: string }[];
  }>('conformance/expectations.mjs');
  const list = [{ test: 'always' }, { test: 'sometimes', without: 'CAP_NET_ADMIN' }];
  t.same(
    expectedHere(list, (name) => name === 'CAP_NET_ADMIN'),
    [{ test: 'always' }],
  );
  t.same(
    expectedHere(list, () => false),
    list,
  );
});

t.test('of the source packages on offer the newest that fits', async (t) => {
  const { candidates } = await loadTool<{ candidates(versions: string[], major: number): string[] }>(
    'conformance/source-tree.mjs',
  );
  const versions = ['20.19.2+dfsg-1+deb13u2', '22.22.2+dfsg+~cs22-3', '22.9.0+dfsg-1', '24.21.0+dfsg-1'];
  t.same(candidates(versions, 22), ['22.22.2+dfsg+~cs22-3', '22.9.0+dfsg-1', '20.19.2+dfsg-1+deb13u2']);
  t.same(candidates(versions, 26)[0], '24.21.0+dfsg-1');
  t.same(candidates(versions, 18), []);
});

t.test('the document says what the expectations say', async (t) => {
  const { readExpectations } = await loadTool<{ readExpectations(): { test: string; reason: string }[] }>(
    'conformance/expectations.mjs',
  );
  const { exceptionsOf } = await loadTool<{ exceptionsOf(list: object[]): string[] }>('conformance/tables.mjs');
  const document = readFileSync(join(ROOT, 'docs/compatibility.md'), 'utf8');
  t.ok(document.includes(exceptionsOf(readExpectations()).join('\n')), 'npm run conformance -- --docs');
});

t.test('the summary has one line for each major version', async (t) => {
  const { summaryWith } = await loadTool<{ summaryWith(text: string, version: string, rows: object[]): string }>(
    'conformance/tables.mjs',
  );
  const rows = [
    { prefix: 'net', tests: 6, skipped: 1, passedPlain: 4, passedHooked: 3, used: 2 },
    { prefix: 'tls', tests: 10, skipped: 0, passedPlain: 10, passedHooked: 10, used: 10 },
  ];
  let text = 'before\n<!-- node tests -->\n<!-- /node tests -->\nbehind\n';
  for (const version of ['22.1.0', '20.19.0', '22.2.0']) text = summaryWith(text, version, rows);
  const lines = text.split('\n').filter((line) => /^\| \d/.test(line));
  t.same(lines, ['| 20.19.0 | 16 | 14 | 13 | 12 | 1 |', '| 22.2.0 | 16 | 14 | 13 | 12 | 1 |']);
  t.match(text, /^before\n.*\nbehind\n$/s);
  t.throws(() => summaryWith('nothing', '20.0.0', rows), /node tests/);
});
