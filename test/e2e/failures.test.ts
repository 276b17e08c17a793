// SPDX-License-Identifier: MIT
// All that can go wrong with a connection over a real wire: refused, unreachable in every way, reset before, in and behind
// the bytes. A plain program says the same under plain Node and under millrace, every field of every error.

import t, { type Test } from 'tap';
import { app, cannotRun, count, lab, sleep, type Lab } from './support/context';

t.setTimeout(150_000);
const skip = cannotRun();

/** Routes that lead nowhere, each in its own way: the mill's own, and the peer's, which tells by ICMP. */
async function trouble(home: Lab): Promise<void> {
  const { mill, peer } = home;
  const kinds = ['unreachable', 'prohibit', 'blackhole'];
  for (const [i, kind] of kinds.entries()) {
    await home.ip(mill, ['route', 'add', kind, `10.99.${i + 1}.0/24`]);
    await home.ip(mill, ['-6', 'route', 'add', kind, `fd99:${i + 1}::/64`]);
    if (kind === 'blackhole') continue;
    await home.ip(peer, ['route', 'add', kind, `10.98.${i + 1}.0/24`]);
    await home.ip(peer, ['-6', 'route', 'add', kind, `fd98:${i + 1}::/64`]);
  }
  await home.ip(mill, ['route', 'add', '10.98.0.0/16', 'via', peer.ipv4]);
  await home.ip(mill, ['-6', 'route', 'add', 'fd98::/16', 'via', peer.ipv6]);
  await home.must(peer, 'sysctl', ['-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1']);
}

async function lines(t: Test, home: Lab, mode: 'kernel' | 'millrace'): Promise<string[]> {
  const { mill, peer } = home;
  const job = await home.node(mode, app('failures'), [mill.ipv4, mill.ipv6, peer.ipv4, peer.ipv6], { ready: null });
  await job.finish(60_000);
  const stats = await home.finalStats(job);
  if (mode === 'millrace') {
    const opened = count(stats ?? {}, /^connections_opened$/);
    t.ok(opened >= 20, `${opened} connections were the stack's`);
  }
  await sleep(100);
  return `${job.stdout}${job.stderr}`.trimEnd().split('\n');
}

t.test('the same errors', { skip }, async (t) => {
  const home = await lab(t);
  await trouble(home);
  await home.node('kernel', app('failures-peer'), [7000], { side: home.peer });
  const kernel = await lines(t, home, 'kernel');
  t.equal(kernel.at(-1), 'end', `it runs to its end under plain Node (${kernel.length} lines)`);
  t.same(await lines(t, home, 'millrace'), kernel, 'the same under millrace');
});
