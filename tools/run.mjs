// Runs a program and collects what it prints; ends its whole process group when it takes too long.
import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { ROOT } from './files.mjs';

const running = new Set();

/**
 * Never rejects. `code` is the exit code, 124 after a timeout, 127 when the program could not be started.
 * `idle` leaves the processors to everybody else.
 * @param {{timeoutSeconds?: number, env?: object, cwd?: string, idle?: boolean, onText?: (text: string) => void}} options
 */
export function run(command, args, options = {}) {
  const { timeoutSeconds = 600, env = {}, cwd = ROOT, idle = false, onText = () => {} } = options;
  return new Promise((resolve) => {
    let output = '';
    let late = false;
    const [program, ...rest] = idle ? ['chrt', '--idle', '0', command, ...args] : [command, ...args];
    const child = spawn(program, rest, {
      cwd,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    running.add(child);
    if (idle) lowerGroup(child.pid);
    const timer = setTimeout(() => {
      late = true;
      endGroup(child);
    }, timeoutSeconds * 1000);
    const take = (chunk) => {
      output += chunk;
      onText(chunk);
    };
    child.stdout.setEncoding('utf8').on('data', take);
    child.stderr.setEncoding('utf8').on('data', take);
    const settle = (code, note = '') => {
      clearTimeout(timer);
      running.delete(child);
      resolve({ code, output: output + note });
    };
    child.on('error', (error) => settle(127, `${command}: ${error.message}\n`));
    child.on('close', (code, signal) => {
      if (late) settle(124, `\n${command}: not done after ${timeoutSeconds} s\n`);
      else settle(code ?? 128, signal === null ? '' : `\n${command}: ended by ${signal}\n`);
    });
  });
}

/** The class counts within a session's group only, and the kernel may give each session its share: a small one then. */
export function lowerGroup(pid) {
  try {
    writeFileSync(`/proc/${pid}/autogroup`, '19');
  } catch {
    // A kernel without such groups, or it has ended.
  }
}

function endGroup(child) {
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    // It is gone already.
  }
}

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, () => {
    for (const child of running) endGroup(child);
    process.exit(130);
  });
}

/** A program of node_modules. */
export function bin(name) {
  return `${ROOT}/node_modules/.bin/${name}`;
}
