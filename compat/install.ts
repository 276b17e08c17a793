/** Installs the facade into this process: once, whatever number of times and copies it is loaded. */
import type { Congestion, ConnectionInfo } from '../lib/engine';
import { watchHooks } from './async-scope';
import { hookUdp } from './dgram/hooks';
import type { Gate } from './gate';
import { acquireInternals } from './internals';
import { hookCluster } from './net/cluster';
import { hookTcp } from './net/hooks';
import { reportUnusable } from './self-test';

const INSTALLED = Symbol.for('millrace.facade.installed');

/** What the public functions of lib/ ask about a socket of the program's; loaded when it is asked. */
const facade = Object.freeze({
  handOver(socket: object): number | null {
    const { leaveFastPath } = require('./net/users') as typeof import('./net/users');
    return leaveFastPath(socket);
  },
  setCongestion(target: object, name: Congestion): number | null {
    const { chooseCongestion } = require('./net/congestion') as typeof import('./net/congestion');
    return chooseCongestion(target, name);
  },
  connectionInfo(socket: object): ConnectionInfo | null {
    const { linkUnder } = require('./net/users') as typeof import('./net/users');
    return linkUnder(socket)?.info() ?? null;
  },
});

/**
 * Puts the hooks under net and dgram. From now on every socket that the gate lets through is offered to its engine. What
 * is not let through is not changed in any way. Silent, except when this Node lacks what the facade needs.
 *
 * @returns false when the facade was installed before, by this copy of the package or another, or cannot be.
 */
export function install(gate: Gate): boolean {
  const global = globalThis as Record<symbol, unknown>;
  if (global[INSTALLED] !== undefined) return false;
  const found = acquireInternals();
  // For lib/facade.ts, whichever copy of the package that is of.
  Object.defineProperty(global, INSTALLED, { value: typeof found === 'string' ? Object.freeze({}) : facade });
  if (typeof found === 'string') {
    reportUnusable(found);
    return false;
  }
  watchHooks();
  hookCluster(found, gate, hookTcp(found, gate), hookUdp(found, gate));
  return true;
}
