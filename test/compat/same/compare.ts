/** Runs the programs of a file of this folder under the kernel and over the real engine with its in-process port. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import t from 'tap';
import type { Scenario } from './support';

const REGISTER = join(__dirname, '../../../compat/register.js');

function run(program: string, name: string, accelerated: boolean): Promise<string[]> {
  const inherited = Object.entries(process.env).filter(([key]) => !/^(?:MILLRACE|NODE_OPTIONS|TAP)/.test(key));
  const env = { ...Object.fromEntries(inherited), ...(accelerated ? { MILLRACE_PORT: 'loopback' } : {}) };
  const preload = accelerated ? ['--require', REGISTER] : [];
  return new Promise((resolve) => {
    execFile(process.execPath, [...preload, program, name], { env, timeout: 20_000 }, (error, out, err) => {
      const failed = error === null ? [] : [`failed ${error.code ?? error.signal}`];
      resolve([...out.trim().split('\n'), ...(err === '' ? [] : [err]), ...failed]);
    });
  });
}

/**
 * How often a program runs at most. On a busy machine one poll of the kernel finds what two would have found, and a
 * timer comes late: the same program then has more than one right log. What the engine shows must be one of them.
 */
const ATTEMPTS = 6;

/** One test for each program: both logs are the same. */
export function compare(file: string, programs: Record<string, Scenario>): void {
  t.setTimeout(110_000);
  const path = join(__dirname, `${file}.js`);
  for (const name of Object.keys(programs)) {
    t.test(name, async (t) => {
      const right = new Map<string, string[]>();
      let engine: string[] = [];
      for (let attempt = 0; attempt < ATTEMPTS && !right.has(engine.join('\n')); attempt++) {
        const [plain, ours] = await Promise.all([run(path, name, false), run(path, name, true)]);
        right.set(plain.join('\n'), plain);
        if (attempt === 0) t.ok(plain.length > 1, 'it says something');
        engine = ours;
      }
      t.same(engine, right.get(engine.join('\n')) ?? [...right.values()].at(-1));
    });
  }
}
