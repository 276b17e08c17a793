/**
 * The preload entry: `node --require millrace/register`, `--import millrace/register`, or either in NODE_OPTIONS.
 *
 * It is loaded into every Node process that such a variable reaches, npm and compilers among them, so it is silent and
 * does next to nothing: the options are read here, for a wrong one must be an error before the program runs; the
 * stack, and what sockets of ours need, are loaded when the first such socket comes.
 */
import { activate } from './activate';

try {
  activate();
} catch (error) {
  // Nobody can catch what a preload throws, and whoever mistyped a variable is not helped by where we noticed.
  if (!isPreloaded() || !isOurs(error)) throw error;
  process.stderr.write(`millrace: ${error.message}\n`);
  process.exit(2);
}

/** By `--require` into the main thread: in a worker the parent is told, by its 'error' event. */
function isPreloaded(): boolean {
  const { isMainThread } = require('node:worker_threads') as typeof import('node:worker_threads');
  return isMainThread && module.parent?.id === 'internal/preload';
}

function isOurs(error: unknown): error is Error {
  return error instanceof Error && 'code' in error && String(error.code).startsWith('ERR_MILLRACE_');
}
