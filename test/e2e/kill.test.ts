// SPDX-License-Identifier: MIT
// kill -9: nothing stays attached, the kernel serves the next connection, and a restart serves on the same port.

import t from 'tap';
import { cannotRun, example, lab, load, mode, port, sleep, type Lab } from './support/context';

t.setTimeout(60_000);
const skip = cannotRun('curl', 'bpftool');

interface Attached {
  readonly programs: number[];
  readonly maps: number[];
}

/** XDP programs on the accelerated interface and their maps. */
async function attached(home: Lab): Promise<Attached> {
  const link = await home.ip(home.mill, ['-d', 'link', 'show', 'dev', home.mill.interface]);
  const programs = [...link.matchAll(/\bid (\d+)/g)].map((match) => Number(match[1]));
  const maps: number[] = [];
  for (const id of programs) {
    const shown = JSON.parse(await home.must(home.mill, 'bpftool', ['-j', 'prog', 'show', 'id', String(id)])) as {
      map_ids?: number[];
    };
    maps.push(...(shown.map_ids ?? []));
  }
  return { programs, maps };
}

async function remaining(home: Lab, { programs, maps }: Attached): Promise<string[]> {
  const left: string[] = [];
  for (const id of programs)
    if ((await home.run(home.mill, 'bpftool', ['prog', 'show', 'id', String(id)])).code === 0)
      left.push(`program ${id}`);
  for (const id of maps)
    if ((await home.run(home.mill, 'bpftool', ['map', 'show', 'id', String(id)])).code === 0) left.push(`map ${id}`);
  return left;
}

t.test(`kill -9 and restart (${mode})`, { skip }, async (t) => {
  const home = await lab(t);
  // A tap's carrier is the program that has it: not what this is about.
  const routesNow = async (): Promise<string> =>
    (await home.ip(home.mill, ['route', 'show', 'table', 'all'])).replaceAll(/ linkdown\b/g, '');
  await home.memory?.pass(false); // it has had a link once
  const routes = await routesNow();
  const server = await home.node(mode, example('tcp-echo'), [7000, '0.0.0.0']);
  const client = home.spawn(home.peer, load(), [
    'tcp-echo',
    '--host',
    home.mill.ipv4,
    '--port',
    '7000',
    '--connections',
    '8',
    '--seconds',
    '20',
  ]);
  await sleep(500);
  const before = await attached(home);
  t.comment(`attached: ${JSON.stringify(before)}`);
  if (mode === 'millrace' && !port.xdp) t.same(before, { programs: [], maps: [] }, 'no program steers');
  if (mode === 'millrace' && port.xdp) {
    t.equal(before.programs.length, 1, 'one program is attached while it runs');
    t.ok(before.maps.length > 0, 'it has maps');
  }
  server.kill('SIGKILL');
  await server.exit;
  const killedMs = performance.now();
  await sleep(100); // the kernel frees programs and maps a grace period later
  for (let i = 0; i < 20 && (await remaining(home, before)).length > 0; ++i) await sleep(50);
  t.same(await remaining(home, before), [], 'no program and no map is left');
  t.same((await attached(home)).programs, [], 'nothing is attached to the interface');
  t.equal(await routesNow(), routes, 'routes are what they were');
  await client.stop('SIGKILL');

  const restartedMs = performance.now();
  const again = await home.node(mode, example('tcp-echo'), [7000, '0.0.0.0']);
  const probe = await home.run(home.peer, load(), [
    'tcp-echo',
    '--host',
    home.mill.ipv4,
    '--port',
    '7000',
    '--connections',
    '8',
    '--seconds',
    '0.1',
    '--warmup',
    '0',
  ]);
  const servedMs = performance.now();
  t.equal(probe.code, 0, `the restarted server answers ${probe.stderr}`);
  t.ok(
    servedMs - restartedMs < 2000,
    `within 2 s: ${(servedMs - restartedMs).toFixed(0)} ms after the restart, ${(servedMs - killedMs).toFixed(0)} ms after the kill`,
  );
  again.kill('SIGKILL');
  await again.exit;

  const plain = await home.node('kernel', example('tcp-echo'), [7000, '0.0.0.0']);
  const kernel = await home.run(home.peer, load(), [
    'tcp-echo',
    '--host',
    home.mill.ipv4,
    '--port',
    '7000',
    '--seconds',
    '0.1',
    '--warmup',
    '0',
  ]);
  t.equal(kernel.code, 0, 'after another kill the kernel serves the next connection');
  await plain.stop();
});
