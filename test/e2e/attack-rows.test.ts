// SPDX-License-Identifier: MIT
// Every way in which known stacks were broken, against a plain server, by a peer that makes its frames by hand. After each
// row: the server lives and says nothing, its memory is bounded, it does not spin, and others are served within a second;
// besides, what the row itself asks for. ATTACK_SCALE=10 sends ten times as much (`npm run attack`).

import { readFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import {
  app,
  attack,
  cannotRun,
  count,
  lab,
  mode,
  port,
  sleep,
  summary,
  type Lab,
  type NodeJob,
} from './support/context';

const scale = Number(process.env['ATTACK_SCALE'] ?? 1);
t.setTimeout(300_000 * scale);
const skip = cannotRun();

/** What the attacker says of its row; numbers by name, and facts. */
type Seen = Record<string, number | boolean>;

/** Checks beyond what holds after every row. */
type Verdict = (t: Test, seen: Seen) => void;

const kGrowthMaxBytes = (64 + port.memoryMb) << 20;
const kTicksPerSecond = 100;
const ours = mode === 'millrace';

const every =
  (...facts: string[]): Verdict =>
  (t, seen) => {
    for (const fact of facts) t.equal(seen[fact], true, fact);
  };
const none =
  (...names: string[]): Verdict =>
  (t, seen) => {
    for (const name of names) t.equal(seen[name], 0, `no ${name}`);
  };
const most =
  (name: string, limit: number): Verdict =>
  (t, seen) => {
    t.ok(Number(seen[name]) <= limit, `${name}: ${seen[name]}, at most ${limit}`);
  };
const least =
  (name: string, limit: number): Verdict =>
  (t, seen) => {
    t.ok(Number(seen[name]) >= limit, `${name}: ${seen[name]}, at least ${limit}`);
  };

const all200: Verdict = (t, { opened, alive }) => t.same([opened, alive], [200, 200], 'all of them are kept');

/** In the order in which they run. */
const rows: Record<string, readonly Verdict[]> = {
  // The kernel takes urgent bytes out of the stream.
  urgent: ours ? [every('exact'), none('resets')] : [none('resets')],
  options: [every('exact'), none('resets')],
  'syn-options': [(t, { syns, answered, echoed }) => t.same([answered, echoed], [syns, syns], 'each SYN is answered')],
  mss: [
    (t, { connections, complete }) => t.equal(complete, connections, 'each gets its bytes'),
    least('smallest_segment', 36),
    most('most_segments', 20_000 / 36 + 50),
    most('segment_without_mss', 536),
  ],
  'sack-nonsense': [every('exact'), none('resets')],
  paws: [every('opened', 'survives'), none('resets')],
  window: [
    every('opened', 'complete'),
    (t, { rounds, segments }) => t.ok(Number(segments) <= Number(rounds), 'no storm'),
  ],
  isn: [
    (t, { syns, distinct }) => t.ok(Number(distinct) > Number(syns) * 0.98, `${distinct} different numbers`),
    most('worst_bit_per_mille', 80),
    (t, { syns, timestamps_alike }) => t.ok(Number(timestamps_alike) < Number(syns) / 20, 'timestamps differ'),
  ],
  blind: [every('alive', 'exact', 'exact_reset_works'), most('answers', 20)],
  challenge: [
    every('opened', 'alive'),
    (t, { victim }) => t.equal(victim, 1, "the victim's own"),
    most('most_of_others', 6),
  ],
  'ack-storm': [
    every('opened', 'alive'),
    (t, { answers, in_seconds }) => t.ok(Number(answers) <= 2 * Number(in_seconds) + 2, `${answers} answers`),
  ],
  // Linux lets a reset end TIME-WAIT (tcp_rfc1337 is 0).
  'time-wait': [ours ? every('closed', 'still_there', 'opens_again') : every('closed', 'opens_again'), none('resets')],
  'forged-icmp': [every('same_size', 'alive'), least('segment_after', 500)],
  optimistic: [
    every('opened'),
    none('resets'),
    most('burst', 11 * 1460),
    (t, { burst, after_optimistic }) => t.equal(after_optimistic, burst, 'ACKs of what was not sent release nothing'),
    (t, { burst, after_division }) =>
      t.ok(Number(after_division) <= Number(burst) + 3 * 1460, `a hundred pieces release ${after_division}`),
    (t, { after_division, after_duplicates }) =>
      t.ok(
        Number(after_duplicates) <= Number(after_division) + 3 * 1460,
        `a thousand duplicates without a SACK block release ${after_duplicates}`,
      ),
  ],
  'segment-smack': [every('opened', 'exact'), none('resets')],
  'sack-storm': [every('opened', 'goes_on'), none('resets')],
  'sack-panic': [every('opened', 'goes_on'), none('resets')],
  sockstress: [all200],
  islands: [all200, every('new_one_echoes', 'filled')],
  'hoard-bytes': [all200],
  'hoard-segments': [all200],
  fragments: [],
  neighbours: [],
  'syn-flood': [],
  'ack-flood': [],
  'fin-flood': [],
  // Linux sends a record of the route back, and answers addresses of class E.
  land: ours ? [none('answers')] : [],
  'ip-options': ours ? [none('options_sent_back')] : [],
  'ip-headers': [most('answers', 60)],
  ethernet: [
    none('vlan_answers', 'group_tcp_answers'),
    (t, seen) => t.equal(seen['priority_answers'], 1, 'priority tag'),
  ],
  'ipv6-headers': [least('good_answers', 1)],
  etherleak: [least('dirty', 400), least('padded', 500), none('leaking')],
  'icmp-budget': [least('errors', 1), most('errors', 60 * (7 + 2 * scale))],
};

interface Resources {
  residentBytes: number;
  cpuTicks: number;
}

function resourcesOf(job: NodeJob): Resources {
  const status = readFileSync(`/proc/${job.pid}/status`, 'utf8');
  const stat = readFileSync(`/proc/${job.pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return {
    residentBytes: Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) * 1024,
    cpuTicks: Number(fields[11]) + Number(fields[12]),
  };
}

interface Field {
  home: Lab;
  server: NodeJob;
  prober: NodeJob;
  attacker: readonly string[];
}

/** Server, honest clients, and addresses for the attacker that no kernel answers for. */
async function openField(t: Test): Promise<Field> {
  const home = await lab(t);
  const mac = async (side: Lab['mill']): Promise<string> =>
    (JSON.parse(await home.ip(side, ['-j', 'link', 'show', 'dev', side.interface])) as { address: string }[])[0]!
      .address;
  const peerMac = await mac(home.peer);
  const own4 = Array.from({ length: 64 }, (_, index) => `10.77.1.${index + 1}`);
  for (const address of [...own4, 'fd77::1:1']) {
    const entry = ['neigh', 'replace', address, 'lladdr', peerMac, 'dev', home.mill.interface, 'nud', 'permanent'];
    await home.ip(home.mill, entry);
  }
  const server = await home.node(mode, app('attacked'), [home.peer.ipv4]);
  const prober = await home.node('kernel', app('prober'), [home.mill.ipv4], { side: home.peer, stdin: 'pipe' });
  const { interface: device } = home.peer;
  const attacker = [device, await mac(home.mill), own4[0]!, home.mill.ipv4, 'fd77::1:1', home.mill.ipv6];
  return { home, server, prober, attacker };
}

async function checkHonest(t: Test, { prober }: Field, when: string): Promise<void> {
  const answers = (await prober.ask('probe', 15_000)) as Record<string, number | string>;
  const late = Object.entries(answers).filter(([, took]) => typeof took === 'string' || took >= 1000);
  t.same(late, [], `${when}: a new connection, an old one and a datagram echo within 1 s`);
}

async function runRow(
  t: Test,
  field: Field,
  row: string,
  verdicts: readonly Verdict[],
  first: Resources,
): Promise<void> {
  const { home, server, attacker } = field;
  const before = resourcesOf(server);
  const job = home.spawn(home.peer, attack(), [row, ...attacker, String(scale), '1']);
  await job.finish(110_000);
  t.equal(job.code, 0, job.code === 0 ? `${row}: it ran` : job.describe());
  const during = resourcesOf(server);
  const seen = JSON.parse(job.stdout || '{}') as Seen;
  t.comment(`${row}: ${job.stdout.trim()}, ${(during.cpuTicks - before.cpuTicks) / kTicksPerSecond} s of CPU`);
  await checkHonest(t, field, row);
  await sleep(100);
  const quiet = resourcesOf(server);
  await sleep(200);
  const after = resourcesOf(server);
  t.ok(server.running, `${row}: the server lives`);
  t.equal(server.stderr, '', `${row}: and has nothing to say`);
  const grown = after.residentBytes - first.residentBytes;
  t.ok(grown < kGrowthMaxBytes, `${row}: memory has grown by ${(grown / (1 << 20)).toFixed(1)} MB since the start`);
  t.ok(after.cpuTicks - quiet.cpuTicks <= 10, `${row}: it does not spin (${after.cpuTicks - quiet.cpuTicks} ticks)`);
  for (const verdict of verdicts) verdict(t, seen);
}

t.test(`known attacks (${mode})`, { skip }, async (t) => {
  const field = await openField(t);
  await checkHonest(t, field, 'before');
  const first = resourcesOf(field.server);
  // Under Linux what waits for neighbours fills the UDP socket's send buffer, and it is deaf for half a minute.
  const all = Object.keys(rows).filter((row) => ours || row !== 'neighbours');
  const wanted = process.env['ATTACK_ROWS']?.split(',') ?? all;
  for (const row of wanted) await t.test(row, (t) => runRow(t, field, row, rows[row] ?? [], first));
  if (ours) {
    const live = await field.home.liveStats(field.server);
    t.comment(summary(live));
    if (wanted.length === Object.keys(rows).length) {
      t.ok(count(live, /^(?:tcp|udp)_received$/) > 10_000, 'the attacks came the fast way');
    }
  }
});
