/** Keeps this package's frames out of the stacks of errors that Node makes inside our upcalls. */
import { sep } from 'node:path';

const OURS = [`${__dirname}${sep}`, `${__dirname.slice(0, __dirname.lastIndexOf(sep))}${sep}lib${sep}`];

function isOurs(line: string): boolean {
  return /^\s+at /.test(line) && OURS.some((prefix) => line.includes(prefix));
}

/** Removes our frames from an error's stack, and from those of the errors it is made of. */
export function scrubFrames(error: unknown): void {
  if (!(error instanceof Error)) return;
  if (error instanceof AggregateError) for (const part of error.errors) scrubFrames(part);
  const { stack } = error;
  if (typeof stack !== 'string' || !OURS.some((prefix) => stack.includes(prefix))) return;
  const kept = stack.split('\n').filter((line) => !isOurs(line));
  Object.defineProperty(error, 'stack', { value: kept.join('\n'), configurable: true, writable: true });
}
