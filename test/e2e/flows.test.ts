// SPDX-License-Identifier: MIT
// `millrace flows`: the rules of running programs, over XDP and over port dpdk with the exception path, with counters that
// move as packets come; programs that are busy or have been killed. Rules in software (LAB_PORT=memif) are on no queue, and
// count each by itself.

import path from 'node:path';
import t from 'tap';
import type { FlowRule, SteeredInterface, SteeredProgram } from '../../lib/cli/flows';
import { app, cannotRun, type Lab, lab, mode, type NodeJob, port, root, sleep } from './support/context';
import { cannotRunDpdk, device, overXdp } from './support/dpdk';

const skip = mode === 'kernel' ? 'there are no rules under plain Node' : cannotRun('nc');
const skipDpdk = skip === false ? cannotRunDpdk('nc') : skip;
t.setTimeout(120_000);

const steered = (home: Lab, how: 'kernel' | 'millrace', options: Parameters<Lab['node']>[3] = {}): Promise<NodeJob> =>
  home.node(how, app('steered'), [], { stdin: 'pipe', readyTimeoutMs: 30_000, idle: true, ...options });

async function tell(job: NodeJob, line: string): Promise<void> {
  job.child.stdin?.write(`${line}\n`);
  await job.waitFor(new RegExp(`^done ${line}$`, 'm'), 15_000);
}

async function flowsOf(home: Lab, job: NodeJob): Promise<SteeredProgram[]> {
  const args = [path.join(root, 'dist/lib/cli/main.js'), 'flows', '--json', String(job.child.pid)];
  const { stdout } = await home.run(home.mill, process.execPath, args, { timeoutMs: 20_000 });
  return (JSON.parse(stdout) as { programs: SteeredProgram[] }).programs;
}

async function interfaceOf(home: Lab, job: NodeJob): Promise<SteeredInterface> {
  const [program] = await flowsOf(home, job);
  if (program?.interfaces[0] === undefined) throw new Error(`no interface: ${JSON.stringify(program)}`);
  return program.interfaces[0];
}

const ruled = (one: SteeredInterface, kind: FlowRule['kind']): FlowRule[] =>
  one.rules.filter((rule) => rule.kind === kind);
const wordsOf = (one: SteeredInterface, kind: FlowRule['kind']): string[] =>
  ruled(one, kind)
    .map(({ words }) => words)
    .sort();

async function echoes(home: Lab, host: string, port: number, udp = false): Promise<boolean> {
  const args = [...(udp ? ['-u', '-w', '1'] : ['-N', '-w', '5']), host, String(port)];
  const { stdout } = await home.run(home.peer, 'nc', args, { input: 'are you there?', timeoutMs: 20_000 });
  return stdout === 'are you there?';
}

/** One of each kind. The kernel has a connection on the port before the program under test listens there. */
async function everyKind(home: Lab, options: Parameters<Lab['node']>[3]): Promise<{ job: NodeJob; old: string }> {
  const { mill, peer } = home;
  const before = await steered(home, 'kernel');
  await tell(before, `listen 8080 ${mill.ipv4}`);
  const far = await steered(home, 'kernel', { side: peer });
  await tell(far, `connect 8080 ${mill.ipv4}`);
  await tell(far, `listen 7000 ${peer.ipv4}`);
  await tell(before, 'unlisten 8080');
  const [old = ''] = await home.kernelConnections(mill, ['sport', '=', ':8080']);
  const job = await steered(home, 'millrace', options);
  await tell(job, `listen 8080 ${mill.ipv4}`);
  await tell(job, 'listen 8081 ::');
  await tell(job, `bind 9001 ${mill.ipv6}`);
  await tell(job, `connect 7000 ${peer.ipv4}`);
  return { job, old: /:8080\s+\S+:(\d+)/.exec(old)?.[1] ?? '' };
}

t.test(`every kind of rule, over ${port.name}`, { skip }, async (t) => {
  const queues = Math.min(2, port.queues);
  const home = await lab(t, { queues });
  const { mill, peer } = home;
  const { job, old } = await everyKind(home, {});
  const one = await interfaceOf(home, job);
  t.equal(one.interface, mill.interface);
  const where = !port.xdp ? 'ours, by any queue' : queues === 1 ? 'queue 0' : 'queues 0, 1';
  t.same(wordsOf(one, 'local'), [
    `tcp to ${mill.ipv4} port 8080: ${where}`,
    `tcp to any IPv4 address port 8081: ${where}`,
    `tcp to any IPv6 address port 8081: ${where}`,
    `udp to ${mill.ipv6} port 9001: ${where}`,
  ]);
  t.same(wordsOf(one, 'kernel-flow'), [`tcp to ${mill.ipv4} port 8080 from ${peer.ipv4} port ${old}: the kernel's`]);
  const [block = ''] = wordsOf(one, 'port-block');
  const [, first, last] = /^tcp to any address port (\d+)-(\d+): ours, by any queue$/.exec(block) ?? [];
  t.equal(Number(last) - Number(first), 63, block);
  t.ok(
    one.rules.every(({ by, packets }) => (port.xdp ? by === 'xdp' && packets === undefined : by === 'software')),
    'who has them; in XDP no rule counts by itself',
  );
  t.ok(Number(one.kinds['ours_block']) >= 2, 'the SYN-ACK and the echo came by the block');
  for (const host of [mill.ipv4, mill.ipv6]) t.ok(await echoes(home, host, 8081), host);
  const after = await interfaceOf(home, job);
  t.ok(Number(after.kinds['ours_local']) >= Number(one.kinds['ours_local']) + 6, 'kinds are counted');
  const taken = (at: SteeredInterface): number =>
    ruled(at, 'local').reduce((sum, { packets }) => sum + (packets ?? 0), 0);
  if (!port.xdp) t.ok(taken(after) >= taken(one) + 6, 'and so is each rule');
  t.same(after.refused, []);
  const text = await home.must(mill, process.execPath, [path.join(root, 'dist/lib/cli/main.js'), 'flows']);
  const counted = port.xdp ? /local port {5}xdp {2}by kind {2}/ : /local port {5}software +\d+ packets, \d+ bytes +/;
  t.match(text, new RegExp(`${counted.source}tcp to any IPv4 address port 8081: ${where}\n`), 'as text');
});

t.test('a busy program is asked all the same; a killed one leaves nothing', { skip }, async (t) => {
  const home = await lab(t);
  const job = await steered(home, 'millrace');
  await tell(job, `listen 8081 ${home.mill.ipv4}`);
  await tell(job, 'busy 3000');
  await sleep(100);
  const busy = await interfaceOf(home, job);
  t.notMatch(job.stdout, /busy no more/, 'the guardian answered');
  t.equal(busy.rules.length, 1);
  job.kill('SIGKILL');
  await job.exit;
  t.same(await flowsOf(home, job), []);
});

t.test('over port dpdk with the exception path: each rule counts what it took', { skip: skipDpdk }, async (t) => {
  const home = await lab(t);
  const { mill } = home;
  const tap = port.xdp ? 'kernel0' : mill.interface;
  const whole = device(overXdp(home), {
    MILLRACE_DPDK_TAP: tap,
    MILLRACE_DPDK_ADDRESS: `${mill.ipv4}/16,${mill.ipv6}/64`,
  });
  if (port.xdp) await home.must(mill, 'ip', ['addr', 'flush', 'dev', mill.interface]);
  const job = await steered(home, 'millrace', port.xdp ? { options: whole } : {});
  // The tap has its addresses when the first socket has opened the device.
  await tell(job, 'listen 8082 ::');
  await tell(job, `listen 8081 ${mill.ipv4}`);
  await tell(job, `bind 9001 ${mill.ipv4}`);
  t.ok(await echoes(home, mill.ipv4, 8081));
  t.ok(await echoes(home, mill.ipv6, 8082));
  t.ok(await echoes(home, mill.ipv4, 9001, true));
  const one = await interfaceOf(home, job);
  t.equal(one.interface, tap);
  t.ok(one.rules.every(({ by }) => by === 'software'));
  const hits = Object.fromEntries(one.rules.map((rule) => [rule.words, rule.packets]));
  t.match(hits, {
    [`tcp to ${mill.ipv4} port 8081: ours, by any queue`]: Number,
    'tcp to any IPv4 address port 8082: ours, by any queue': 0,
    'tcp to any IPv6 address port 8082: ours, by any queue': Number,
    [`udp to ${mill.ipv4} port 9001: ours, by any queue`]: 1,
  });
  const tcp = one.rules.find(({ port }) => port === 8081);
  t.ok(Number(tcp?.packets) >= 4, `SYN, ACK, data, FIN: ${tcp?.packets}`);
  t.ok(Number(tcp?.bytes) >= 4 * 54 + 14, `${tcp?.bytes} bytes`);
  t.equal(
    one.rules.reduce((sum, { packets }) => sum + Number(packets), 0),
    Number(one.kinds['ours_local']),
    'rules and kinds agree',
  );
});
