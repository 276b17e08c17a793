/** The same programs under the kernel and over the real engine with its in-process port: the same log. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import t from 'tap';
import { scenarios } from './same/scenarios';
import { scenarios as secure } from './same/secure';

const REGISTER = join(__dirname, '../../compat/register.js');
const PROGRAMS = { scenarios, secure };

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

for (const [file, programs] of Object.entries(PROGRAMS)) {
  const path = join(__dirname, 'same', `${file}.js`);
  for (const name of Object.keys(programs)) {
    t.test(name, async (t) => {
      const [kernel, engine] = await Promise.all([run(path, name, false), run(path, name, true)]);
      t.ok(kernel.length > 1, 'it says something');
      t.same(engine, kernel);
    });
  }
}
