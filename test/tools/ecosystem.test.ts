import t from 'tap';
import { loadTool } from './tool';

type Steps = readonly { readonly step: string; readonly value: unknown }[];

interface Run {
  readonly side: 'none' | 'client' | 'server';
  readonly steps: { readonly client: Steps; readonly server: Steps };
  readonly stderr: { readonly client: string; readonly server: string };
  readonly connections: number;
  readonly segments: number;
  readonly opens: number;
}

interface Row {
  readonly name: string;
  readonly packages: readonly string[];
  readonly sides: readonly string[];
  readonly server?: string;
}

const steps = { client: [{ step: 'echo', value: [1, 'x'] }], server: [{ step: 'closed', value: 1000 }] };
const plain: Run = { side: 'none', steps, stderr: { client: '', server: '' }, connections: 0, segments: 0, opens: 3 };
const ours: Run = { ...plain, side: 'client', connections: 3, segments: 40, opens: 0 };

t.test('what a run under millrace is compared by', async (t) => {
  const { differences } = await loadTool<{ differences(plain: Run, run: Run): string[] }>('ecosystem/row.mjs');
  t.same(differences(plain, ours), []);
  const other = { ...steps, server: [{ step: 'closed', value: 1006 }] };
  const [words, ...more] = differences(plain, { ...ours, steps: other });
  t.match(words, /^steps of the server:.*plain.*1000.*millrace.*1006/s);
  t.same(more, []);
  t.match(
    differences(plain, { ...ours, steps: { ...steps, client: [] } }),
    [/^steps of the client:/],
    'one that is missing',
  );
  const noise = { client: 'Warning: a leak\n', server: '' };
  t.match(differences(plain, { ...ours, stderr: noise }), [/^stderr of the client:.*a leak/s]);
  t.same(differences(plain, { ...ours, connections: 0 }), ['nothing went through the stack']);
  t.same(differences(plain, { ...ours, opens: 2 }), ["2 TCP connections were the kernel's"]);
  t.same(differences({ ...plain, opens: 0 }, ours), ['the plain run made no connection']);
});

t.test('the command line', async (t) => {
  interface Parsed {
    readonly problem?: string;
    readonly rows?: readonly Row[];
  }
  const { parseArguments } = await loadTool<{ parseArguments(args: string[]): Parsed }>('ecosystem/arguments.mjs');
  const { ROWS } = await loadTool<{ ROWS: readonly Row[] }>('ecosystem/rows.mjs');
  t.equal(parseArguments([]).rows?.length, ROWS.length);
  t.same(
    parseArguments(['--only', 'pg,ws']).rows?.map(({ name }) => name),
    ['ws', 'pg'],
  );
  t.match(parseArguments(['--only', 'pgg']).problem, /pgg/);
  t.match(parseArguments(['--nothing']).problem, /nothing/);
});

t.test('every row has packages of a fixed version, and its table says how it went', async (t) => {
  const { ROWS } = await loadTool<{ ROWS: readonly Row[] }>('ecosystem/rows.mjs');
  const { VERSIONS } = await loadTool<{ VERSIONS: Record<string, string> }>('ecosystem/install.mjs');
  for (const { packages } of ROWS) for (const name of packages) t.match(VERSIONS[name], /^\d+\.\d+\.\d+$/, name);
  type Result = { row: Row; runs: readonly Run[]; problems: readonly string[] };
  interface Tables {
    tableOf(results: readonly Result[]): string[];
    tableWith(table: readonly string[], results: readonly Result[]): string[];
  }
  const { tableOf, tableWith } = await loadTool<Tables>('ecosystem/tables.mjs');
  const row = ROWS.find(({ name }) => name === 'ws') as Row;
  const good = tableOf([{ row, runs: [plain, ours, { ...ours, side: 'server' }], problems: [] }]);
  t.match(good.at(-1), /^\| ws [\d.]+ \| Node \| same \(3\) \| same \(3\) \| 2 \|/);
  const bad = tableOf([{ row, runs: [plain, ours], problems: ['millrace as server: it ended'] }]);
  t.match(bad.at(-1), /\| same \(3\) \| differs \|/);
  const others = ['Node 20:', '', ...bad, '| pg 8.0.0 | postgresql | same (1) | - | 3 | all |'];
  const renewed = tableWith(others, [{ row, runs: [plain, ours, { ...ours, side: 'server' }], problems: [] }]);
  t.same(renewed, ['Node 20:', '', ...good, others.at(-1)]);
});
