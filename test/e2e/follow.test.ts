// SPDX-License-Identifier: MIT
// What the kernel knows and the stack follows while it runs: the link's MTU and state, neighbours, addresses, routes. One
// connection lasts through all of it; new ones go the way that the kernel says at that moment.

import t, { type Test } from 'tap';
import {
  app,
  cannotRun,
  example,
  lab,
  mode,
  sleep,
  stopAndReport,
  type Lab,
  type NodeJob,
  type Side,
} from './support/context';
import { ask } from './support/follow-client';

t.setTimeout(60_000);
const skip = cannotRun('tcpdump', 'bash', 'ss');
const kPort = 7000;
/** A host behind the peer. */
const kBehind = '10.99.0.1';

/** The kernel's connections to the port. */
async function ofKernel(home: Lab): Promise<number> {
  return (await home.kernelConnections(home.mill, ['dport', '=', `:${kPort}`])).length;
}

async function lasts(t: Test, client: NodeJob, what: string, bytes = 10): Promise<void> {
  const { ok, ms, error } = await ask(client, `echo ${bytes}`);
  t.ok(ok, `${what}: the connection that lasts echoes, after ${ms ?? error} ms`);
}

t.test(`the kernel's facts as they change (${mode})`, { skip }, async (t) => {
  const home = await lab(t);
  const { mill, peer } = home;
  const server = await home.node('kernel', example('tcp-echo'), [kPort, '0.0.0.0'], { side: peer });
  const client = await home.node(mode, app('follow'), [peer.ipv4, kPort], { ready: /connected/, stdin: 'pipe' });
  const ours = mode === 'millrace';
  await lasts(t, client, 'at first');
  t.equal(await ofKernel(home), ours ? 0 : 1, 'whose it is');

  await t.test('MTU', async (t) => {
    const watch = async (bytes: number): Promise<number> => {
      const filter = `src ${mill.ipv4} and tcp and greater 1015`;
      const tcpdump = home.spawn(peer, 'bash', [
        '-c',
        `exec tcpdump -i ${peer.interface} -nl --immediate-mode -Z root '${filter}' 2>&1`,
      ]);
      await tcpdump.waitFor(/listening on/);
      await lasts(t, client, `${bytes} bytes`, bytes);
      await sleep(100);
      await tcpdump.stop();
      return tcpdump.stdout.split('\n').filter((line) => line.includes(mill.ipv4)).length;
    };
    t.ok((await watch(200_000)) > 0, 'long packets, as the link takes them');
    const set = async (bytes: number, sides: readonly Side[]): Promise<void> => {
      for (const side of sides) await home.ip(side, ['link', 'set', side.interface, 'mtu', String(bytes)]);
    };
    // The peer first: what is longer than the mill's MTU does not get in there.
    await set(1000, [peer, mill]);
    t.equal(await watch(200_000), 0, 'none longer than the MTU is now');
    await set(1500, [mill, peer]);
    await lasts(t, client, 'as before', 200_000);
  });

  await t.test('neighbours', async (t) => {
    const moved = '02:77:00:00:00:99';
    await home.ip(peer, ['link', 'set', peer.interface, 'address', moved]);
    const replaced = ['neigh', 'replace', peer.ipv4, 'lladdr', moved, 'dev', mill.interface];
    await home.ip(mill, replaced);
    await lasts(t, client, 'another link address');
    t.ok((await ask(client, `connect ${peer.ipv4}`)).ok, 'a new connection');
    t.equal(await ofKernel(home), ours ? 0 : 2);
    await ask(client, 'drop');
  });

  await t.test('routes and addresses', async (t) => {
    await home.ip(peer, ['addr', 'add', `${kBehind}/32`, 'dev', 'lo']);
    t.equal((await ask(client, `connect ${kBehind}`)).error, 'ENETUNREACH', 'there is no way yet');
    await home.ip(mill, ['route', 'add', '10.99.0.0/16', 'via', peer.ipv4]);
    t.equal((await ask(client, `connect ${kBehind}`)).from, mill.ipv4, 'by the new route');
    await home.ip(mill, ['addr', 'add', '10.77.0.9/16', 'dev', mill.interface]);
    await home.ip(mill, ['route', 'replace', '10.99.0.0/16', 'via', peer.ipv4, 'src', '10.77.0.9']);
    t.equal((await ask(client, `connect ${kBehind}`)).from, '10.77.0.9', 'from the new address, as the route prefers');
    t.equal(await ofKernel(home), ours ? 0 : 3, 'whose they are');
    await home.ip(mill, ['route', 'del', '10.99.0.0/16']);
    t.equal((await ask(client, `connect ${kBehind}`)).error, 'ENETUNREACH', 'and there is none again');
    await ask(client, 'drop');
  });

  await t.test('link state', async (t) => {
    await home.ip(peer, ['link', 'set', peer.interface, 'down']);
    const waiting = ask(client, 'echo 10');
    await sleep(300);
    await home.ip(peer, ['link', 'set', peer.interface, 'up']);
    const { ok, ms } = await waiting;
    t.ok(ok && ms !== undefined && ms >= 250, `what was written while it was down arrives when it is up (${ms} ms)`);
    t.ok((await ask(client, `connect ${peer.ipv4}`)).ok, 'a new connection');
  });

  await stopAndReport(t, home, client);
  await server.stop();
});

t.test(`IPv6 without a link-local address (${mode})`, { skip }, async (t) => {
  const home = await lab(t);
  const { mill, peer } = home;
  await home.ip(mill, ['link', 'set', mill.interface, 'addrgenmode', 'none']);
  await home.ip(mill, ['-6', 'addr', 'flush', 'dev', mill.interface, 'scope', 'link']);
  const server = await home.node('kernel', example('tcp-echo'), [kPort, '::'], { side: peer });
  await home.ip(mill, ['-6', 'neigh', 'flush', 'all']);
  const client = await home.node(mode, app('follow'), [peer.ipv6, kPort], { ready: /connected/, stdin: 'pipe' });
  await lasts(t, client, 'the neighbour is found');
  t.equal(await ofKernel(home), mode === 'millrace' ? 0 : 1, 'whose it is');
  await client.stop();
  await server.stop();
});
