// One test of Node's tree: which there are, how one is run, and what its run says.
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';

const FOLDERS = ['parallel', 'sequential'];
const OF_FILES = ['net', 'dgram', 'http', 'https', 'tls', 'http2', 'cluster'];
/** Prefixes of file names, a folder, and the tests elsewhere that use the network. */
export const PREFIXES = [...OF_FILES, 'async-hooks', 'elsewhere'];
const FOLDERS_ELSEWHERE = [...FOLDERS, 'es-module', 'report'];
const USES_NETWORK = /['"](?:node:)?(?:net|dgram|http|https|http2|tls)['"]|\bfetch\(|\bWebSocket\b/;
/** Ports of the tests' own, below those that the kernel gives out: a hundred for each slot of each run. */
const PORT_FIRST = 12_346;
const RUNS = 16;
const SLOTS = 10;

/** Names such as `parallel/test-net-pipe.js`, of the wanted prefixes, in their order. */
export function listTests(tree, prefixes, only) {
  const tests = [];
  for (const prefix of prefixes) {
    for (const folder of foldersOf(prefix)) {
      const directory = join(tree, 'test', folder);
      if (!existsSync(directory)) continue;
      const names = readdirSync(directory).filter((name) => /^test-.*\.m?js$/.test(name));
      for (const name of names.sort()) {
        const wanted = only === undefined || only.some((part) => name.includes(part));
        if (wanted && belongs(prefix, directory, name)) tests.push({ prefix, folder, name: `${folder}/${name}` });
      }
    }
  }
  return tests;
}

function foldersOf(prefix) {
  if (prefix === 'async-hooks') return ['async-hooks'];
  return prefix === 'elsewhere' ? FOLDERS_ELSEWHERE : FOLDERS;
}

function belongs(prefix, directory, name) {
  if (prefix === 'async-hooks') return true;
  if (prefix !== 'elsewhere') return name.startsWith(`test-${prefix}-`);
  if (OF_FILES.some((other) => name.startsWith(`test-${other}-`))) return false;
  return USES_NETWORK.test(readFileSync(join(directory, name), 'utf8'));
}

/** The arguments that a test asks for in its `// Flags:` lines. */
export function flagsOf(source) {
  return [...source.matchAll(/^\/\/ Flags:(.*)$/gm)].flatMap((match) => match[1].split(/\s+/).filter(Boolean));
}

/** The environment without what would change the outcome: of test runners, of an accelerated shell, of npm. */
function cleanEnvironment() {
  const env = {};
  for (const [name, value] of Object.entries(process.env)) {
    if (!/^(?:NODE_|MILLRACE|TAP_|npm_|FORCE_COLOR|NO_COLOR|DEBUG$)/.test(name)) env[name] = value;
  }
  return env;
}

/**
 * Runs one test. Never rejects.
 * @param {{tree: string, node: string, slot: number, scratch: string, timeoutSeconds: number, env: object}} context
 *   slot: no two runs at the same time have the same; env: what the mode adds
 * @returns {Promise<{outcome: 'pass' | 'fail' | 'skip', output: string, seconds: number}>}
 */
export function runTest(test, context) {
  const { tree, node, slot, scratch, timeoutSeconds } = context;
  const file = join(tree, 'test', test.name);
  const directory = join(scratch, `slot-${slot}`);
  mkdirSync(directory, { recursive: true });
  const env = {
    ...cleanEnvironment(),
    NODE_TEST_DIR: directory,
    TEST_THREAD_ID: String(slot),
    NODE_COMMON_PORT: String(PORT_FIRST + ((process.pid % RUNS) * SLOTS + slot) * 100),
    ...context.env,
  };
  const args = [...flagsOf(readFileSync(file, 'utf8')), file];
  return execute(node, args, { cwd: tree, env, timeoutSeconds }).finally(() => {
    rmSync(directory, { recursive: true, force: true, maxRetries: 3 });
  });
}

function execute(node, args, { cwd, env, timeoutSeconds }) {
  return new Promise((resolve) => {
    const start = performance.now();
    const child = spawn(node, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
    let output = '';
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      endGroup(child.pid);
    }, timeoutSeconds * 1000);
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (chunk) => {
        output = (output + chunk).slice(-200_000);
      });
    }
    child.on('error', (error) => {
      output += error.message;
    });
    // A child that outlives its test must not outlive it here: it has the test's ports.
    child.on('exit', () => setTimeout(() => endGroup(child.pid), 2000).unref());
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      endGroup(child.pid);
      const seconds = (performance.now() - start) / 1000;
      if (late) output += `\nnot done after ${timeoutSeconds} s\n`;
      else if (code !== 0) output += `\nexit code ${code}, signal ${signal}\n`;
      const skipped = /^1\.\.0 # Skipped/m.test(output);
      resolve({ outcome: code !== 0 || late ? 'fail' : skipped ? 'skip' : 'pass', output, seconds });
    });
  });
}

function endGroup(pid) {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // All of it is gone.
  }
}
