/** `millrace run`: checks the machine, then starts a program with the preload and becomes as transparent as it can. */
import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { join } from 'node:path';
import { loadOptions } from '../config';
import { UnavailableError } from '../errors';
import { checkInterfaces } from '../interfaces';
import { type MachineFacts, readMachine } from '../machine';
import type { Options } from '../options';
import { readiness } from '../readiness';
import { environmentFor, parseFlags } from './flags';
import { UsageError } from './usage';

const FORWARDED = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2'] as const;

/** Runs the command. @returns the exit code; when the program died by a signal, this process does so too. */
export async function runCommand(args: readonly string[]): Promise<number> {
  const { variables, rest } = parseFlags(args);
  const [command, ...commandArgs] = rest;
  if (command === undefined) throw new UsageError('there is no command to run, such as: millrace run node app.js');
  const env = environmentFor(variables, process.env);
  const options = loadOptions({ env });
  const problem = options.enabled ? whyNot(options, readMachine) : null;
  if (problem !== null) {
    if (options.require) throw problem;
    process.stderr.write(`millrace: ${problem.message}; the program runs on the kernel\n`);
  }
  if (options.enabled && problem === null) env['NODE_OPTIONS'] = withPreload(env['NODE_OPTIONS']);
  return supervise(command, commandArgs, env);
}

/**
 * Why nothing would be accelerated, or null.
 * @throws InterfaceError for a name that does not exist: that is a mistake, not a machine that cannot
 */
export function whyNot(options: Options, read: () => MachineFacts): UnavailableError | null {
  if (options.port === 'none') {
    return new UnavailableError('nothing is accelerated: no --interface and no --port was given', ['interface']);
  }
  checkInterfaces(options.interface);
  const state = readiness(read(), options.interface).find((one) => one.port === options.port);
  const errors = state?.gaps.filter((gap) => gap.level === 'error') ?? [];
  if (errors.length === 0) return null;
  const message = `nothing is accelerated: ${errors.map((gap) => gap.what).join('; ')} (millrace doctor says how to mend it)`;
  return new UnavailableError(message, [...new Set(errors.map((gap) => gap.missing))]);
}

/** NODE_OPTIONS with the preload behind what is there. */
export function withPreload(
  present: string | undefined,
  file = join(__dirname, '..', '..', 'compat', 'register.js'),
): string {
  const quoted = /[\s"\\]/.test(file) ? `"${file.replace(/[\\"]/g, '\\$&')}"` : file;
  const preload = `--require ${quoted}`;
  if (present === undefined || present.trim() === '') return preload;
  return present.includes(preload) ? present : `${present} ${preload}`;
}

function supervise(command: string, args: readonly string[], env: NodeJS.ProcessEnv): Promise<number> {
  return new Promise((resolve) => {
    const child = spawn(command, args, { env, stdio: 'inherit' });
    const forward = (signal: NodeJS.Signals) => {
      // A terminal sends its signals to the whole group: the program has this one already.
      const fromTerminal = process.stdin.isTTY && (signal === 'SIGINT' || signal === 'SIGQUIT');
      if (!fromTerminal) child.kill(signal);
    };
    for (const signal of FORWARDED) process.on(signal, forward);
    const done = (code: number) => {
      for (const signal of FORWARDED) process.off(signal, forward);
      resolve(code);
    };
    child.on('error', (error: NodeJS.ErrnoException) => {
      process.stderr.write(`millrace: cannot run '${command}': ${error.code ?? error.message}\n`);
      done(error.code === 'ENOENT' ? 127 : 126);
    });
    child.on('exit', (code, signal) => {
      done(signal === null ? (code ?? 0) : 128 + constants.signals[signal]);
      if (signal !== null) process.kill(process.pid, signal);
    });
  });
}
