// SPDX-License-Identifier: MIT
// Threads that end at each step of their life (apps/dying-threads.js), beside one that goes on and must not notice.

import type { Test } from 'tap';
import { app, complainsRightly, type Job, type Lab } from './context';

/** `program`: dying-threads on port 7000 of the mill's IPv4 address, just started. */
export async function endsAtEveryStep(t: Test, home: Lab, program: Job, timeoutMs: number): Promise<void> {
  await program.waitFor(/^listening on both/m, 30_000);
  const args = [app('dying-peer'), home.mill.ipv4, '7000', 'echo'];
  const peer = home.spawn(home.peer, process.execPath, args, { stdin: 'pipe' });
  await program.waitFor(/^done/m, timeoutMs);
  const seen = await peer.ask<{ connected: number; echoes: number; wrong: number; broken: number }>('report');
  t.comment(JSON.stringify(seen));
  for (const line of program.stdout.split('\n').filter((text) => /^(not )?ok /.test(text))) {
    t.ok(line.startsWith('ok'), line);
  }
  t.ok(seen.connected > 0 && seen.echoes > 0);
  t.equal(seen.wrong, 0);
  t.equal(seen.broken, 0, 'the thread beside them was not disturbed');
  program.child.stdin?.write('end\n');
  t.same(await program.finish(10_000), { code: 0, signal: null });
  complainsRightly(t, program.stderr, 'threads');
}
