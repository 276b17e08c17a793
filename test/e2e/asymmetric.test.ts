// SPDX-License-Identifier: MIT
// Two ways between the hosts, of which one is accelerated: what comes by it, but whose answers leave by the other, is
// served all the same.

import t from 'tap';
import { cannotRun, count, example, lab, mode, stopAndReport, type Lab } from './support/context';

t.setTimeout(120_000);
const skip = cannotRun('curl');

/** An address of the peer that the mill reaches only over a second wire, while the peer uses the first. */
const kFar = '10.99.0.2';

async function addSecondWire(home: Lab): Promise<void> {
  const { mill, peer } = home;
  const run = (side: Lab['mill'], args: string): Promise<string> => home.ip(side, args.split(' '));
  await run(mill, `link add slow0 type veth peer name peer1 netns ${peer.namespace}`);
  for (const [side, device, address] of [
    [mill, 'slow0', '10.78.0.1/24'],
    [peer, 'peer1', '10.78.0.2/24'],
  ] as const) {
    await run(side, `addr add ${address} dev ${device}`);
    await run(side, `link set ${device} up`);
    await home.must(side, 'sysctl', ['-qw', 'net.ipv4.conf.all.rp_filter=0', `net.ipv4.conf.${device}.rp_filter=0`]);
  }
  await run(peer, `addr add ${kFar}/32 dev lo`);
  await run(mill, `route add ${kFar}/32 via 10.78.0.2 dev slow0`);
}

t.test(`answers that leave by another interface (${mode})`, { skip }, async (t) => {
  const home = await lab(t);
  await addSecondWire(home);
  const server = await home.node(mode, example('http-server'), [8080, '0.0.0.0']);
  const ask = (from: string) =>
    home.run(home.peer, 'curl', ['-sS', '-m', '8', '--interface', from, `http://${home.mill.ipv4}:8080/`]);
  for (const from of [home.peer.ipv4, kFar, kFar, home.peer.ipv4]) {
    const { stdout, stderr } = await ask(from);
    t.equal(stdout, 'Hello, world\n', `from ${from}: served ${stderr}`);
  }
  const stats = await stopAndReport(t, home, server);
  if (stats) {
    t.equal(count(stats, /^tcp_no_route_back$/), 2, 'both connections were left to the kernel');
    t.equal(count(stats, /^connections_accepted$/), 2, 'the others were ours');
  }
});
