// SPDX-License-Identifier: MIT
// What apps/cluster-client.js says of itself, and waiting for it to get on: however busy the machine is.

import { type Job, sleep } from './context';

export interface Seen {
  /** pid -> handle -> answers */
  readonly answers: Record<string, Record<string, number>>;
  /** Of connections that are kept, those that ended, and with whom they were. */
  readonly failures: readonly { code: string; pid: number }[];
  /** Short connections that failed. */
  readonly refused: number;
  /** Requests answered on kept connections, and on short ones. */
  readonly kept: number;
  readonly short: number;
}

/** Waits until the client has had some more answers on kept and on short connections, and `enough` says yes. */
export async function progress(client: Job, enough: (seen: Seen) => unknown = () => true): Promise<Seen> {
  const first = await client.ask<Seen>('report');
  const deadline = performance.now() + 20_000;
  for (;;) {
    await sleep(50);
    const seen = await client.ask<Seen>('report');
    if (seen.kept > first.kept + 100 && seen.short > first.short + 40 && enough(seen)) return seen;
    if (performance.now() > deadline) throw new Error(`no progress in 20 s: ${JSON.stringify(seen)}`);
  }
}
