/** Runs the command line of the package, in an environment without options of the surrounding. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { join } from 'node:path';

/** dist/lib/cli/main.js, from dist/test/lib/cli. */
export const MAIN = join(__dirname, '..', '..', '..', 'lib', 'cli', 'main.js');

export interface Outcome {
  readonly code: number | null;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
}

interface Settings {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

function environment(env: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv {
  const inherited = Object.entries(process.env).filter(([name]) => !/^(?:MILLRACE|NODE_OPTIONS$)/.test(name));
  return { ...Object.fromEntries(inherited), ...env };
}

export function millrace(args: readonly string[], { env = {}, cwd }: Settings = {}): Outcome {
  const options = {
    env: environment(env),
    encoding: 'utf8',
    timeout: 30_000,
    ...(cwd === undefined ? {} : { cwd }),
  } as const;
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, [MAIN, ...args], options);
  return { code: status, signal, stdout, stderr };
}

/** Starts it and lets it run. */
export function startMillrace(args: readonly string[], { env = {} }: Settings = {}): ChildProcess {
  return spawn(process.execPath, [MAIN, ...args], { env: environment(env), stdio: ['ignore', 'pipe', 'pipe'] });
}
