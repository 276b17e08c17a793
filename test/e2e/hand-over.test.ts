// SPDX-License-Identifier: MIT
// Connections leave for the kernel in mid-stream, under load in both directions: to another process, or staying where
// they are. Every byte is checked against a pattern, and no reset is on the wire.

import t, { type Test } from 'tap';
import { app, cannotRun, count, lab, mode, sleep, type Lab, type NodeJob } from './support/context';

t.setTimeout(120_000);
const skip = cannotRun('tcpdump', 'bash', 'ss');
const kPort = 7000;

interface Peer {
  readonly whole: number;
  readonly errors: string[];
  readonly slowestMs: number;
  readonly handedOver: number;
}

interface Outcome {
  readonly error: string | null;
  readonly left?: boolean;
  readonly fd?: number;
  readonly remote?: string;
}

/** What tcpdump -S says of a segment of ours or of the peer's. */
interface Seen {
  readonly line: string;
  readonly from: string;
  readonly to: string;
  readonly flags: string;
  /** The number behind the segment and its FIN. */
  readonly next: number;
}

function seenIn(line: string): Seen | null {
  const parts = / IP6? (\S+) > (\S+): Flags \[([^\]]+)\](?:, seq (\d+)(?::(\d+))?)?/.exec(line);
  if (!parts) return null;
  const [, from = '', to = '', flags = '', first = '0', last = first] = parts;
  return { line, from, to, flags, next: (Number(last) + (flags.includes('F') ? 1 : 0)) % 2 ** 32 };
}

/**
 * A reset behind the ends of both directions, which has the number behind our FIN: the peer had acknowledged all of it.
 * The kernel is in LAST-ACK when its FIN's first acknowledgement takes longer than a tail loss probe waits (RFC 8985 7.2,
 * two round trips); with it the connection is over, and the kernel resets the second one, the probe's. So it does on every
 * path whose delay changes by as much, to its own connections too.
 */
function isBehindEnd(reset: Seen, seen: readonly Seen[]): boolean {
  const before = seen.slice(0, seen.indexOf(reset));
  const ends = before.filter(({ flags }) => flags.includes('F'));
  return (
    ends.some(({ from, to, next }) => from === reset.from && to === reset.to && next === reset.next) &&
    ends.some(({ from, to }) => from === reset.to && to === reset.from)
  );
}

/** Captures every FIN and RST of the wire; gives the resets that end something. */
async function watchResets(t: Test, home: Lab): Promise<() => Promise<string[]>> {
  const filter = `tcp[tcpflags] & (tcp-rst | tcp-fin) != 0 or (ip6 and ip6[6] == 6 and ip6[53] & 5 != 0)`;
  const tcpdump = home.spawn(home.peer, 'bash', [
    '-c',
    `exec tcpdump -i ${home.peer.interface} -nSl -Z root '${filter}' 2>&1`,
  ]);
  await tcpdump.waitFor(/listening on/);
  return async () => {
    await sleep(200);
    const seen = tcpdump.stdout.split('\n').flatMap((line) => seenIn(line) ?? []);
    const resets = seen.filter(({ flags }) => flags.includes('R'));
    const behind = resets.filter((reset) => isBehindEnd(reset, seen));
    if (behind.length > 0) t.comment(`${behind.length} resets of connections that were over`);
    return resets.filter((reset) => !behind.includes(reset)).map(({ line }) => line);
  };
}

function serve(home: Lab, how: string, bytes: number): Promise<NodeJob> {
  return home.node(mode, app('hand-over'), [kPort, '::', bytes, how], { stdin: 'pipe' });
}

async function drive(home: Lab, host: string, bytes: number, ...args: (number | string)[]): Promise<Peer> {
  const outcome = await home.run(
    home.peer,
    process.execPath,
    [app('hand-over-peer'), host, String(kPort), String(bytes), ...args.map(String)],
    { timeoutMs: 60_000 },
  );
  if (outcome.code !== 0) throw new Error(`${outcome.stdout}${outcome.stderr}`);
  return JSON.parse(outcome.stdout) as Peer;
}

async function outcomesOf(server: NodeJob, number: number): Promise<Outcome[]> {
  const lines = (): Outcome[] =>
    server.stdout
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line) as Outcome);
  for (let i = 0; i < 100 && lines().length < number; ++i) await sleep(50);
  return lines();
}

async function stop(server: NodeJob): Promise<void> {
  if (!server.running) return;
  server.child.stdin?.write('stop\n');
  await server.finish(5000);
}

interface Case {
  readonly how: string;
  readonly host: 'ipv4' | 'ipv6';
  readonly connections: number;
  readonly bytes: number;
  readonly readAfterMs?: number;
}

// A plain kernel's parent reads on while its flowing socket is on the way to the child, and drops what it reads.
const kernelToo = new Set(['paused', 'keep']);
const cases: Case[] = [
  { how: 'self', host: 'ipv4', connections: 40, bytes: 1_000_000 },
  { how: 'self', host: 'ipv6', connections: 10, bytes: 1_000_000 },
  { how: 'child', host: 'ipv4', connections: 30, bytes: 1_000_000 },
  { how: 'advanced', host: 'ipv6', connections: 10, bytes: 1_000_000 },
  { how: 'paused', host: 'ipv4', connections: 20, bytes: 1_000_000, readAfterMs: 700 },
  { how: 'keep', host: 'ipv6', connections: 10, bytes: 1_000_000, readAfterMs: 100 },
];

/** One after the other on the same wire and the same port. Returns how many have left. */
async function runCase(t: Test, home: Lab, { how, host, connections, bytes, readAfterMs }: Case): Promise<number> {
  const resets = await watchResets(t, home);
  const server = await serve(home, how, bytes);
  t.teardown(() => stop(server));
  const peer = await drive(home, home.mill[host], bytes, connections, 10, readAfterMs ?? 0);
  t.match(peer, { whole: connections, errors: [] }, 'every byte arrived at the peer');
  t.comment(`slowest: ${peer.slowestMs} ms`);
  const outcomes = await outcomesOf(server, connections);
  t.same(
    outcomes.filter(({ error }) => error !== null),
    [],
    'and from it',
  );
  t.equal(outcomes.length, connections);
  const left = outcomes.filter(({ left, fd }) => left === true || fd !== undefined);
  t.equal(left.length, connections, 'all have left');
  const inChild = outcomes.filter(({ fd }) => fd !== undefined);
  const isPeer = (address = ''): boolean => address.replace('::ffff:', '') === home.peer[host];
  t.ok(
    inChild.every(({ fd, remote }) => (fd ?? -1) >= 0 && isPeer(remote)),
    'what the child has is a socket of the kernel, and knows its peer',
  );
  t.same(await resets(), [], 'no reset');
  if (mode === 'millrace') {
    t.equal(count(await home.liveStats(server), /^tcp_handed_over$/), connections, 'as many as the stack has counted');
  }
  await stop(server);
  t.equal(server.stderr, '', 'nothing on stderr');
  return left.length;
}

t.test(`in mid-stream (${mode})`, { skip }, async (t) => {
  const home = await lab(t);
  let handedOver = 0;
  for (const one of cases.filter(({ how }) => mode === 'millrace' || kernelToo.has(how))) {
    await t.test(`${one.connections} connections, ${one.how}, ${one.host}`, async (t) => {
      handedOver += await runCase(t, home, one);
    });
  }
  if (mode === 'millrace') t.ok(handedOver >= 100, `${handedOver} hand-overs`);
});

t.test('connections opened here keep their port', { skip: skip || mode !== 'millrace' }, async (t) => {
  const home = await lab(t);
  const resets = await watchResets(t, home);
  const bytes = 500_000;
  const server = await home.node('kernel', app('hand-over'), [kPort, '::', bytes, 'here'], {
    side: home.peer,
    stdin: 'pipe',
  });
  // One block has 64 ports: the same are asked for while the kernel has them.
  const args = [home.peer.ipv4, kPort, bytes, 80, 20, 0, 'self'];
  const client = await home.node(mode, app('hand-over-peer'), args, { ready: /whole/, readyTimeoutMs: 60_000 });
  const peer = JSON.parse(client.stdout) as Peer;
  t.match(peer, { whole: 80, errors: [], handedOver: 80 });
  t.same(await resets(), [], 'no reset');
  t.equal(client.stderr, '');
  await stop(server);
});

t.test('the port and the process afterwards', { skip: skip || mode !== 'millrace' }, async (t) => {
  const home = await lab(t);
  const bytes = 500_000;
  const server = await serve(home, 'keep', bytes);
  const peer = home.spawn(
    home.peer,
    process.execPath,
    [app('hand-over-peer'), home.mill.ipv4, String(kPort), String(bytes), '1', '1', '2500'],
    {},
  );
  for (let i = 0; i < 60 && (await home.kernelConnections(home.mill, ['sport', '=', `:${kPort}`])).length === 0; ++i) {
    await sleep(50);
  }
  const [line] = await home.kernelConnections(home.mill, ['sport', '=', `:${kPort}`]);
  // Of the peer's end everything may have come.
  t.match(line, /ESTAB|CLOSE-WAIT/, 'the kernel has the connection');
  server.child.stdin?.write('close\n');
  await server.waitFor(/closed/);
  const next = await home.node('kernel', app('hand-over'), [kPort, '::', bytes, 'here'], { stdin: 'pipe' });
  t.pass('another program can listen on the port while the connection lives');
  await peer.waitFor(/"whole":1/, 10_000);
  await stop(next);
  await stop(server);
});
