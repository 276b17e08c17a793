// SPDX-License-Identifier: MIT
// Processes of the lab: started, watched, bounded in time and always ended. Shared by the end-to-end tests, the
// benchmark and the demo; knows nothing of namespaces.
'use strict';

const { spawn } = require('node:child_process');

/** Output kept per stream; a chatty program must not grow the harness. */
const kOutputMax = 4 << 20;

/**
 * Every limit is multiplied by this. In a guest whose clock skips what it sleeps, waiting for a file may take half a
 * minute by that clock.
 */
const kPatience = Number(process.env.LAB_PATIENCE ?? 1);

/**
 * The environment that programs under test get: ours without what a test runner or a user put there to instrument or
 * accelerate Node itself, so that "plain Node" is plain. Which build of the addon is loaded (MILLRACE_PREBUILD) stays.
 */
function cleanEnvironment(extra = {}) {
  const env = {};
  for (const [name, value] of Object.entries(process.env)) {
    if (/^(NODE_OPTIONS|NODE_V8_COVERAGE|MILLRACE(?!_PREBUILD$).*|TAP.*|_TAPJS.*|npm_.*)$/.test(name)) continue;
    env[name] = value;
  }
  return { ...env, ...extra };
}

/** A running program. `stdout` and `stderr` hold what it has written so far. */
class Job {
  constructor(command, args, options = {}) {
    this.name = options.name ?? command;
    this.stdout = '';
    this.stderr = '';
    this.code = null;
    this.signal = null;
    this.running = true;
    this.startedMs = performance.now();
    this.watchers = new Set();
    this.child = spawn(command, args, {
      cwd: options.cwd,
      env: options.env ?? cleanEnvironment(),
      stdio: [options.stdin ?? 'ignore', 'pipe', 'pipe'],
    });
    this.pid = this.child.pid;
    const keep = (stream) => (chunk) => {
      if (this[stream].length < kOutputMax) this[stream] += chunk;
      for (const watcher of [...this.watchers]) watcher();
    };
    this.child.stdout.setEncoding('utf8').on('data', keep('stdout'));
    this.child.stderr.setEncoding('utf8').on('data', keep('stderr'));
    this.child.stdin?.on('error', () => {});
    this.exit = new Promise((resolve) => {
      const done = (code, signal) => {
        if (!this.running) return;
        this.running = false;
        this.code = code;
        this.signal = signal;
        this.elapsedMs = performance.now() - this.startedMs;
        for (const watcher of [...this.watchers]) watcher();
        resolve({ code, signal });
      };
      this.child.on('error', (error) => {
        this.stderr += `${error.message}\n`;
        done(127, null);
      });
      this.child.on('close', done);
    });
  }

  /** Everything it said, for messages of failure. */
  describe() {
    const state = this.running ? 'running' : `ended (code ${this.code}, signal ${this.signal})`;
    return `${this.name} ${state}\n--- stdout\n${this.stdout.slice(-4000)}\n--- stderr\n${this.stderr.slice(-4000)}`;
  }

  /** Waits until `pattern` is in stdout after index `from`; gives the match. Rejects at the end of the program or time. */
  waitFor(pattern, timeoutMs = 10000, from = 0) {
    return new Promise((resolve, reject) => {
      const finish = (action, value) => {
        clearTimeout(timer);
        this.watchers.delete(look);
        action(value);
      };
      const look = () => {
        const match = pattern.exec(this.stdout.slice(from));
        if (match) finish(resolve, match);
        else if (!this.running) finish(reject, new Error(`${pattern} never came: ${this.describe()}`));
      };
      const timer = setTimeout(
        () => finish(reject, new Error(`${pattern} did not come in ${timeoutMs} ms: ${this.describe()}`)),
        timeoutMs * kPatience,
      );
      this.watchers.add(look);
      look();
    });
  }

  /** Writes a line to its stdin and waits for one line of JSON that answers it. */
  async ask(line, timeoutMs = 10000) {
    const from = this.stdout.length;
    this.child.stdin.write(`${line}\n`);
    const match = await this.waitFor(/^(\{.*\})\n/m, timeoutMs, from);
    return JSON.parse(match[1]);
  }

  /** Waits for its end; kills it and rejects when that takes longer than `timeoutMs`. */
  async finish(timeoutMs = 30000) {
    let timer;
    const late = new Promise((resolve) => {
      timer = setTimeout(resolve, timeoutMs * kPatience, 'late');
    });
    const outcome = await Promise.race([this.exit, late]);
    clearTimeout(timer);
    if (outcome !== 'late') return outcome;
    this.kill('SIGKILL');
    await this.exit;
    throw new Error(`not done in ${timeoutMs} ms: ${this.describe()}`);
  }

  kill(signal = 'SIGTERM') {
    if (this.running && this.pid !== undefined) this.child.kill(signal);
  }

  /** Asks it to end, insists after `patienceMs`, and gives how it ended. */
  async stop(signal = 'SIGTERM', patienceMs = 3000) {
    this.kill(signal);
    const timer = setTimeout(() => this.kill('SIGKILL'), patienceMs * kPatience);
    const outcome = await this.exit;
    clearTimeout(timer);
    return outcome;
  }
}

/** Runs a program to its end. Rejects when it takes longer than `timeoutMs`; a code other than 0 is the caller's. */
async function run(command, args, options = {}) {
  const job = new Job(command, args, { ...options, stdin: options.input === undefined ? 'ignore' : 'pipe' });
  if (options.input !== undefined) job.child.stdin.end(options.input);
  await job.finish(options.timeoutMs ?? 30000);
  return { code: job.code, signal: job.signal, stdout: job.stdout, stderr: job.stderr, elapsedMs: job.elapsedMs };
}

/** The same, but a code other than 0 is an error. Gives stdout. */
async function must(command, args, options = {}) {
  const outcome = await run(command, args, options);
  if (outcome.code !== 0) {
    throw new Error(
      `${command} ${args.join(' ')}: code ${outcome.code}, ${outcome.signal}\n${outcome.stdout}${outcome.stderr}`,
    );
  }
  return outcome.stdout;
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

module.exports = { Job, run, must, sleep, cleanEnvironment, kPatience };
