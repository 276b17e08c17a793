import t from 'tap';
import { loadTool, runTool } from './tool';

// In pieces, because tidy reads this file too.
const UNFINISHED = `TO${'DO'}`;
const SPDX = '// SPDX-License-Identifier: MIT\n';

async function check(test: Pick<typeof t, 'testdir'>, tree: Record<string, unknown>): Promise<string[]> {
  const { tidy } = await loadTool<{ tidy(root: string): string[] }>('tidy.mjs');
  return tidy(test.testdir(tree as Parameters<typeof t.testdir>[0]));
}

/** A function of so many lines. */
function cppFunction(head: string, lines: number): string {
  return `${head} {\n${'  step();\n'.repeat(lines - 2)}}\n`;
}

t.test('as a program', async (t) => {
  const good = t.testdir({ native: { tcp: { 'x.h': `${SPDX}#pragma once\n` } }, 'README.md': 'text\n' });
  t.same(runTool('tidy.mjs', good), { code: 0, stdout: 'tidy: ok\n', stderr: '' });
  const bad = runTool('tidy.mjs', t.testdir({ 'x.md': 'no newline' }));
  t.same(bad, { code: 1, stdout: 'tidy: 1 problem(s)\n', stderr: 'x.md: no newline at the end\n' });
});

t.test('words that must not stay', async (t) => {
  const cases: [tree: Record<string, unknown>, problem: string][] = [
    [{ 'README.md': `# x\n${UNFINISHED}: y\n` }, `README.md:2: '${UNFINISHED}': unfinished work`],
    [{ docs: { 'x.md': `see /ro${'ot'}/x\n` } }, `docs/x.md:1: '/ro${'ot'}/': a path of one machine`],
    [{ test: { 'x.test.ts': `t.on${'ly'}('x')\n` } }, "test/x.test.ts:1: '.%(': a test that is singled out"],
    [
      { native: { tcp: { 'x.cc': `${SPDX}int a = rand();\n` } } },
      "native/tcp/x.cc:2: 'rand(': a function with a better",
    ],
    [{ native: { tcp: { 'x.cc': `${SPDX}  throw 1;\n` } } }, 'no exceptions'],
    [{ native: { tcp: { 'x.cc': 'int a;\n' } } }, 'native/tcp/x.cc:1: begins without its SPDX line'],
    [{ native: { tcp: { 'x.h': SPDX } } }, 'native/tcp/x.h: no #pragma once'],
    [{ 'x.md': 'no newline' }, 'x.md: no newline at the end'],
    [{ 'x.json': '{ \n}\n' }, 'x.json:1: white space at the end'],
    [{ 'package-lock.json': '{"resolved": "x"}' }, 'package-lock.json: names a registry'],
  ];
  for (const [tree, problem] of cases) {
    const problems = await check(t, tree);
    t.equal(problems.length, 1, problems.join('\n'));
    t.ok(problems[0]?.includes(problem.replace('%', `on${'ly'}`)), `${problems[0]} says: ${problem}`);
  }
});

t.test('size of files', async (t) => {
  const source = (lines: number) => `${SPDX}${'int a;\n'.repeat(lines - 1)}`;
  t.same(await check(t, { native: { tcp: { 'x.cc': source(600) } } }), []);
  t.match(await check(t, { native: { tcp: { 'x.cc': source(601) } } }), [
    'native/tcp/x.cc: 601 lines, at most 600: split it by what it does',
  ]);
  t.same(await check(t, { test: { 'x_test.cc': source(1000) } }), []);
  t.equal((await check(t, { test: { 'x_test.cc': source(1001) } })).length, 1);
});

t.test('size of functions in C++', async (t) => {
  const judge = (text: string) => check(t, { native: { tcp: { 'x.cc': SPDX + text } } });
  t.same(await judge(cppFunction('void f(int a)', 70)), []);
  t.same(await judge(cppFunction('void f(int a)', 71)), ['native/tcp/x.cc:2: f has 71 lines, at most 70']);
  t.match(await judge(`namespace a {\nclass B {\n public:\n${cppFunction('  bool C::g() const', 80)}};\n}\n`), [
    /:5: C::g has 80 lines/,
  ]);
  t.same(await judge(`namespace a {\n${cppFunction('void f()', 60).repeat(3)}}\n`), [], 'a namespace is no function');
  t.same(await judge(`int table[] = {\n${'  f(1),\n'.repeat(90)}};\n`), [], 'nor is a table');
  t.match(await judge(cppFunction('A::A(int b)\n    : b_(b)', 75)), [/A::A has 76 lines/]);
  t.same(
    await judge(
      `void f() {\n  // }\n  char c = '{';\n  const char* s = "}{";\n${'  g();\n'.repeat(60)}}\nint x = 65'536;\n`,
    ),
    [],
  );
});

t.test('size of functions in TypeScript', async (t) => {
  const judge = (lines: number) =>
    check(t, {
      lib: { 'x.ts': `export function f(): void {\n${'  g();\n'.repeat(lines - 2)}}\n` },
      test: { lib: { 'x.test.ts': '\n' } },
    });
  t.same(await judge(70), []);
  t.same(await judge(71), ['lib/x.ts:1: f has 71 lines, at most 70']);
});

t.test('every source has its test', async (t) => {
  const source = 'export function f(): number {\n  return 1;\n}\n';
  t.match(await check(t, { compat: { other: { 'x.ts': source } } }), [
    /^compat\/other\/x\.ts: no test\/compat\/other\/x\.test\.ts/,
  ]);
  t.same(
    await check(t, { compat: { other: { 'x.ts': source } }, test: { compat: { other: { 'x.test.ts': '\n' } } } }),
    [],
  );
  t.same(
    await check(t, { lib: { 'x.ts': 'export interface A {}\nexport const B = -1;\n' } }),
    [],
    'types and constants need none',
  );
});
