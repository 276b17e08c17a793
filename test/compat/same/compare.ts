/** Runs the programs of a file of this folder under the kernel and over the real engine with a port within the process. */
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import type { Stats } from '../../../lib/stats';
import { inProcess } from '../in-process';
import type { Scenario } from './support';

const REGISTER = join(__dirname, '../../../compat/register.js');

const folder = mkdtempSync(join(tmpdir(), 'same-'));
t.teardown(() => rmSync(folder, { recursive: true, force: true }));
let reports = 0;

/** SAME_WATCHED=1: under an async hook, with which the facade works otherwise. */
const WATCHED = process.env['SAME_WATCHED'] === '1';
const WATCH = join(__dirname, 'watch.js');

interface Run {
  readonly lines: string[];
  /** Connections and datagrams that went through the stack. */
  readonly moved: number;
}

function movedBy(report: string): number {
  if (!existsSync(report)) return 0;
  const { counters } = JSON.parse(readFileSync(report, 'utf8')) as Stats;
  const moving = new Set(['connections_opened', 'connections_accepted', 'udp_sent']);
  const all = Object.values(counters).flatMap((group) => Object.entries(group));
  return all.reduce((sum, [name, value]) => (moving.has(name) ? sum + value : sum), 0);
}

function run(program: string, name: string, accelerated: boolean): Promise<Run> {
  const inherited = Object.entries(process.env).filter(([key]) => !/^(?:MILLRACE|NODE_OPTIONS|TAP)/.test(key));
  const report = join(folder, `${++reports}.json`);
  const options = accelerated ? { ...inProcess, MILLRACE_REPORT: report } : {};
  const env = { ...Object.fromEntries(inherited), ...options };
  const preload = [...(accelerated ? ['--require', REGISTER] : []), ...(WATCHED ? ['--require', WATCH] : [])];
  return new Promise((resolve) => {
    execFile(process.execPath, [...preload, program, name], { env, timeout: 20_000 }, (error, out, err) => {
      const failed = error === null ? [] : [`failed ${error.code ?? error.signal}`];
      resolve({ lines: [...out.trim().split('\n'), ...(err === '' ? [] : [err]), ...failed], moved: movedBy(report) });
    });
  });
}

/**
 * How often a program runs at most. On a busy machine one poll of the kernel finds what two would have found, and a
 * timer comes late: the same program then has more than one right log. What the engine shows must be one of them.
 */
const ATTEMPTS = 6;

/**
 * One test for each program: both logs are the same, and the stack had something to do with its own. `untouched`: those in
 * which everything is the kernel's (errors, options, groups, shared ports), or goes wrong before there is anything to move.
 */
export function compare(file: string, programs: Record<string, Scenario>, untouched: readonly string[] = []): void {
  t.setTimeout(110_000);
  const path = join(__dirname, `${file}.js`);
  for (const name of Object.keys(programs)) {
    t.test(name, async (t) => {
      const right = new Map<string, string[]>();
      let engine: string[] = [];
      let moved = 0;
      for (let attempt = 0; attempt < ATTEMPTS && !right.has(engine.join('\n')); attempt++) {
        const [plain, ours] = await Promise.all([run(path, name, false), run(path, name, true)]);
        right.set(plain.lines.join('\n'), plain.lines);
        if (attempt === 0) {
          t.ok(plain.lines.length > 1, 'it says something');
          t.notMatch(plain.lines.at(-1), /^failed SIG/, 'it ends by itself');
        }
        engine = ours.lines;
        moved += ours.moved;
      }
      t.same(engine, right.get(engine.join('\n')) ?? [...right.values()].at(-1));
      if (!untouched.includes(name)) t.ok(moved > 0, 'by way of the stack');
    });
  }
}
