// SPDX-License-Identifier: MIT
// dgram to the letter: the same plain programs print the same under plain Node and under millrace, over a real wire; and
// the datagrams of a socket go each its own way, by destination.

import path from 'node:path';
import t, { type Test } from 'tap';
import {
  app,
  cannotRun,
  count,
  lab,
  port,
  root,
  sleep,
  summary,
  type Lab,
  type NodeJob,
  type Stats,
} from './support/context';

t.setTimeout(180_000);
const skip = cannotRun();

/** What of each program must have gone the fast way at the least: datagrams received and sent. */
const programs: Record<string, readonly [received: number, sent: number]> = {
  bind: [0, 0],
  unbound: [6, 6],
  connected: [8, 8],
  refused: [0, 4],
  sizes: [16, 16],
  forms: [8, 8],
  options: [0, 0],
  broadcast: [1, 4],
  multicast: [2, 4],
  sources: [1, 2],
  multicast6: [2, 2],
  sharing: [2, 4],
};

async function openPeer(t: Test): Promise<Lab> {
  const home = await lab(t);
  const { ipv4, ipv6, interface: device } = home.peer;
  await home.node('kernel', app('dgram-peer'), [ipv4, ipv6, device], { side: home.peer });
  return home;
}

function start(home: Lab, mode: 'kernel' | 'millrace', name: string, accelerate = ''): Promise<NodeJob> {
  const { mill, peer } = home;
  const args = [name, mill.ipv4, mill.ipv6, peer.ipv4, peer.ipv6, mill.interface];
  const options = accelerate === '' ? {} : { MILLRACE_ACCELERATE: accelerate };
  // Where the kernel has no interface but a tap of the program, its sockets have no wire before ours: one comes first.
  const early = mode === 'millrace' && accelerate !== '' && !port.xdp;
  const tcp = /^(?:!|tcp)/.test(accelerate) ? '' : 'tcp:listen,';
  return home.node(mode, app('dgram-same'), args, {
    ready: null,
    options: early ? { MILLRACE_ACCELERATE: `${tcp}${accelerate}` } : options,
    nodeArgs: early ? ['--import', path.join(root, 'tools/lab/early.mjs')] : [],
    env: { EARLY_PEER: peer.ipv4 },
  });
}

async function lines(job: NodeJob): Promise<string[]> {
  await job.finish(30_000);
  return `${job.stdout}${job.stderr}`.trimEnd().split('\n');
}

async function finalCounters(home: Lab, job: NodeJob): Promise<Stats> {
  const stats = await home.finalStats(job);
  if (stats === null) throw new Error(`no report: ${job.describe()}`);
  return stats;
}

t.test('the same program prints the same', { skip }, async (t) => {
  const home = await openPeer(t);
  for (const [name, [received, sent]] of Object.entries(programs)) {
    const kernel = await lines(await start(home, 'kernel', name));
    const job = await start(home, 'millrace', name);
    const ours = await lines(job);
    t.equal(kernel.at(-1), 'end', `${name}: it runs to its end under plain Node (${kernel.length} lines)`);
    t.same(ours, kernel, `${name}: the same under millrace`);
    const stats = await finalCounters(home, job);
    t.comment(`${name}: ${summary(stats)}`);
    t.ok(count(stats, /^udp_received$/) >= received, `${name}: ${count(stats, /^udp_received$/)} came the fast way`);
    t.ok(count(stats, /^udp_sent$/) >= sent, `${name}: ${count(stats, /^udp_sent$/)} were sent the fast way`);
  }
});

/**
 * The groups for which the kernel has sent IGMP or MLD reports while a program ran, as the peer saw them. Those of neighbour
 * discovery (RFC 4291 2.7.1) are in for the interface's own addresses, and are reported whenever it changes: not the
 * program's.
 */
async function reported(home: Lab, mode: 'kernel' | 'millrace', name: string): Promise<string[]> {
  const { interface: device } = home.peer;
  const listen = `exec tcpdump -i ${device} -nlv -Z root 'igmp or ip6 multicast' 2>&1`;
  const tcpdump = home.spawn(home.peer, 'bash', ['-c', listen]);
  await tcpdump.waitFor(/listening on/);
  const job = await start(home, mode, name);
  await job.finish(30_000);
  await sleep(300);
  await tcpdump.stop();
  // What the last program has left is still reported, in the other family.
  const groups = [...tcpdump.stdout.matchAll(/\bgaddr ([\da-f.:]+)/g)].map((match) => match[1] ?? '');
  const ofProgram = groups.filter(
    (group) => group.includes(':') === name.endsWith('6') && !group.startsWith('ff02::1:ff'),
  );
  return [...new Set(ofProgram)].sort();
}

t.test('memberships are reported to the link, by the kernel', { skip: cannotRun('tcpdump', 'bash') }, async (t) => {
  const home = await openPeer(t);
  for (const name of ['multicast', 'multicast6']) {
    const kernel = await reported(home, 'kernel', name);
    t.ok(kernel.length > 0, `${name}: ${kernel.join(' ')}`);
    t.same(await reported(home, 'millrace', name), kernel, `${name}: the same groups under millrace`);
  }
});

t.test('a socket that is ours for some destinations only', { skip }, async (t) => {
  const home = await openPeer(t);
  const kernel = await lines(await start(home, 'kernel', 'unbound'));
  // Of the four datagrams of the udp4 socket to the peer three go to this port; one of them asks for something else.
  for (const [accelerate, sent] of [
    [`udp:connect:${home.peer.ipv4}:7004`, 4],
    [`udp:connect:${home.peer.ipv4}:7005`, 1],
    [`udp:connect:[${home.peer.ipv6}]:7006`, 1],
    [`!udp:connect:${home.peer.ipv4}:7004`, 2],
    ['tcp', 0],
    ['udp:bind', 6],
  ] as const) {
    const job = await start(home, 'millrace', 'unbound', accelerate);
    t.same(await lines(job), kernel, `${accelerate}: every datagram goes, and every answer comes`);
    const stats = await home.finalStats(job);
    t.equal(stats === null ? 0 : count(stats, /^udp_sent$/), sent, `${accelerate}: ${sent} were sent the fast way`);
  }
  const connected = await lines(await start(home, 'kernel', 'connected'));
  for (const accelerate of [`udp:connect:${home.peer.ipv4}:7004`, `!udp:connect:${home.peer.ipv4}:7005`]) {
    const job = await start(home, 'millrace', 'connected', accelerate);
    t.same(await lines(job), connected, `${accelerate}: connected sockets too`);
  }
});
