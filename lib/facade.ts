/** What the facade (compat/) answers for the public functions that are about a socket of the program's. */
import { getSystemErrorName } from 'node:util';
import type { Congestion, ConnectionInfo } from './engine';

/** What compat/install.ts leaves here, of whichever copy of the package. */
const INSTALLED = Symbol.for('millrace.facade.installed');

/** A copy of the package of another age may know less. `null`: the socket is the kernel's. */
export interface Facade {
  handOver?(socket: object): number | null;
  setCongestion?(target: object, name: Congestion): number | null;
  connectionInfo?(socket: object): ConnectionInfo | null;
}

export function facade(): Facade | undefined {
  return (globalThis as Record<symbol, unknown>)[INSTALLED] as Facade | undefined;
}

/**
 * @returns false for null, true for 0
 * @throws Error with Node's `code`, `errno` and `syscall` for a negative errno
 */
export function outcome(errno: number | null, syscall: string, hints: Readonly<Record<string, string>>): boolean {
  if (errno === null) return false;
  if (errno === 0) return true;
  const code = getSystemErrorName(errno);
  const hint = hints[code];
  const error = new Error(`${syscall} ${code}${hint === undefined ? '' : `: ${hint}`}`);
  throw Object.assign(error, { errno, code, syscall });
}
