/** The public API. Unmodified programs need none of it: `--require millrace/register` is enough. */
import { currentEngine } from './runtime';
import type { Stats } from './stats';

export type { PortReport } from './binding';
export { connectionInfo, setCongestion } from './congestion';
export type * from './engine';
export { ANONYMOUS, NOT_OURS } from './engine';
export { InterfaceError, OptionError, UnavailableError, UnknownOptionError } from './errors';
export { handOver } from './hand-over';
export { type LifecycleEvents, lifecycle } from './lifecycle';
export type { Operation, Protocol } from './policy';
export { acquireEngine, configure, leave, mayWant, wants } from './runtime';
export type { Stats } from './stats';

/** The counters of the stack in this environment. */
export function stats(): Stats {
  const { statsOf } = require('./stats') as typeof import('./stats');
  return statsOf(currentEngine());
}
