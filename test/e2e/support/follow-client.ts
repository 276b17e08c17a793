// SPDX-License-Identifier: MIT
// Talks to test/e2e/apps/follow.js.

import type { NodeJob } from './context';

export interface Answer {
  readonly ok?: boolean;
  readonly ms?: number;
  readonly from?: string;
  readonly error?: string;
}

/** Gives the client an order; its answer. */
export async function ask(client: NodeJob, order: string): Promise<Answer> {
  const from = client.stdout.length;
  client.child.stdin?.write(`${order}\n`);
  const [, answer = '{}'] = await client.waitFor(/answer (.*)\n/, 15_000, from);
  return JSON.parse(answer) as Answer;
}
