/** Congestion control that a program has chosen for a socket without a connection, or for a server. */
import type { Congestion } from '../../lib/engine';

/** By the socket and the handles below it, of which any may be another when the connection comes; by the server. */
const chosen = new WeakMap<object, Congestion>();

export function remember(who: object, name: Congestion): void {
  chosen.set(who, name);
}

/** What was chosen for the first of them for which anything was. */
export function chosenFor(...candidates: (object | undefined)[]): Congestion | undefined {
  for (const who of candidates) {
    const name = who === undefined ? undefined : chosen.get(who);
    if (name !== undefined) return name;
  }
  return undefined;
}
