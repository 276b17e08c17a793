// SPDX-License-Identifier: MIT
// Kernel peers of every kind: congestion control (CUBIC, BBR, Reno) x SACK x timestamps x window scaling x ECN, IPv4 and
// IPv6, through a bridge that loses, duplicates and reorders a little. Both directions must arrive byte for byte.
// By default each pair of settings meets at least once, 2 MB each way; E2E_INTEROP=all (`npm run interop`) is every
// combination and 10 MB.

import t, { type Test } from 'tap';
import { app, cannotRun, flatten, lab, mode, patternHash, type Lab } from './support/context';

t.setTimeout(900_000);
const skip = cannotRun('curl', 'bash', 'sha256sum');
const everything = process.env['E2E_INTEROP'] === 'all';
const bytes = everything ? 10e6 : 2e6;

interface Peer {
  readonly congestion: string;
  readonly sack: number;
  readonly timestamps: number;
  readonly scaling: number;
  readonly ecn: number;
  readonly ipv6: boolean;
}

const switches = ['sack', 'timestamps', 'scaling', 'ecn'] as const;

function* allPeers(): Generator<Peer> {
  for (const congestion of ['cubic', 'bbr', 'reno'])
    for (let bits = 0; bits < 32; ++bits)
      yield {
        congestion,
        sack: bits & 1,
        timestamps: (bits >> 1) & 1,
        scaling: (bits >> 2) & 1,
        ecn: (bits >> 3) & 1,
        ipv6: (bits & 16) !== 0,
      };
}

/** Few peers in which every value of one setting meets every value of each other one. */
function pairwise(peers: readonly Peer[]): Peer[] {
  const pairsOf = (peer: Peer): string[] => {
    const values = Object.entries(peer).map(([name, value]) => `${name}=${value}`);
    return values.flatMap((a, i) => values.slice(i + 1).map((b) => `${a} ${b}`));
  };
  const open = new Set(peers.flatMap(pairsOf));
  const chosen: Peer[] = [];
  while (open.size > 0) {
    const worth = (peer: Peer): number => pairsOf(peer).filter((pair) => open.has(pair)).length;
    const best = peers.reduce((a, b) => (worth(b) > worth(a) ? b : a));
    for (const pair of pairsOf(best)) open.delete(pair);
    chosen.push(best);
  }
  return chosen;
}

function describe(peer: Peer): string {
  const off = switches.filter((name) => !peer[name]);
  return `${peer.congestion}, IPv${peer.ipv6 ? 6 : 4}${off.length ? `, without ${off.join(', ')}` : ''}`;
}

async function become(home: Lab, peer: Peer): Promise<void> {
  const settings = [
    `net.ipv4.tcp_sack=${peer.sack}`,
    `net.ipv4.tcp_timestamps=${peer.timestamps}`,
    `net.ipv4.tcp_window_scaling=${peer.scaling}`,
    // 2: only when asked, which nobody does; 1: asks and agrees
    `net.ipv4.tcp_ecn=${peer.ecn ? 1 : 0}`,
  ];
  await home.must(home.peer, 'sysctl', ['-qw', ...settings]);
  await home.setCongestionControl(home.peer, peer.congestion);
}

async function exchange(t: Test, home: Lab, peer: Peer, file: string): Promise<void> {
  const patience = { timeoutMs: 60_000 };
  const url = peer.ipv6 ? `http://[${home.mill.ipv6}]:8080` : `http://${home.mill.ipv4}:8080`;
  const fetch = `curl -sS -g '${url}/file?bytes=${bytes}&seed=down' | sha256sum`;
  const down = await home.run(home.peer, 'bash', ['-o', 'pipefail', '-c', fetch], patience);
  const hash = down.stdout.split(' ')[0];
  t.equal(hash, patternHash(bytes, 'down'), `${describe(peer)}: down ${down.code === 0 ? '' : down.stderr}`);
  const up = await home.run(home.peer, 'curl', ['-sS', '-g', '-T', file, `${url}/up`], patience);
  const expected = `"bytes":${bytes},"sha256":"${patternHash(bytes, 'up')}"`;
  t.match(up.stdout, expected, `${describe(peer)}: up ${up.code === 0 ? '' : up.stderr}`);
}

t.test(`kernel peers of every kind (${mode})`, { skip }, async (t) => {
  const home = await lab(t, { bridge: { seed: 7, loss: 0.2, dup: 0.2, reorder: 0.5 } });
  const file = home.file('up');
  await home.must(home.peer, process.execPath, [
    '-e',
    `const {pattern}=require(${JSON.stringify(app('pattern'))}); pattern(${bytes}, 'up').pipe(require('fs').createWriteStream('${file}'))`,
  ]);
  const server = await home.node(mode, app('files'), [8080, '::']);
  const all = [...allPeers()];
  const peers = everything ? all : pairwise(all);
  for (const peer of peers) {
    await become(home, peer);
    await exchange(t, home, peer, file);
  }
  const stats = await home.finalStats(server);
  if (stats) {
    const counters = flatten(stats);
    const count = (name: string): number => counters.get(`counters.tcp.${name}`) ?? 0;
    t.equal(count('tcp_passive_opens'), 2 * peers.length, 'every connection was ours');
    t.ok(count('tcp_retransmits') > 0, 'the wire lost something of ours');
  }
  t.equal(server.stderr, '', 'nothing on stderr');
});
