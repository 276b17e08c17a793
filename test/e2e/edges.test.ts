// SPDX-License-Identifier: MIT
// Where things run out or come at an awkward moment: no port left, a connection that was reset before the program took
// it, a loop that goes to sleep while the guardian works for it.

import { writeFileSync } from 'node:fs';
import t from 'tap';
import { app, cannotRun, count, lab, mode, sleep, stopAndReport, type Lab } from './support/context';

t.setTimeout(60_000);
const skip = cannotRun();

t.test(`no port left, and then some again (${mode})`, { skip }, async (t) => {
  const home = await lab(t);
  const range = 'net.ipv4.ip_local_port_range=40000 40127';
  await home.must(home.mill, 'sysctl', ['-qw', range]);
  const server = await home.node('kernel', app('closer'), [7000, '0.0.0.0'], { side: home.peer });
  const client = await home.node(mode, app('ports'), [home.peer.ipv4, 7000, 200], {
    ready: /again/,
    readyTimeoutMs: 30_000,
  });
  const { opened, message, fields, again } = JSON.parse(client.stdout) as {
    opened: number;
    message: string;
    fields: object;
    again: number;
  };
  t.equal(opened, 128, 'every port of the range, which is two blocks');
  t.equal(message, `connect EADDRNOTAVAIL ${home.peer.ipv4}:7000 - Local (0.0.0.0:0)`);
  t.same(fields, {
    errno: -99,
    code: 'EADDRNOTAVAIL',
    syscall: 'connect',
    address: home.peer.ipv4,
    port: 7000,
  });
  t.equal(again, 10, 'when they are free again');
  await server.stop();
  t.equal(client.stderr, '');
});

/** What a server that was busy meanwhile has seen of four clients. */
async function visitors(home: Lab, how: typeof mode): Promise<string[]> {
  const server = await home.node(how, app('late-accept'), [7000, '0.0.0.0'], { stdin: 'pipe' });
  const outcomes: string[] = [];
  for (const busy of [true, false]) {
    // Where the server is not busy, it must have read what was said before the client goes: also on a slow machine.
    const client = [app('come-and-go'), home.mill.ipv4, '7000', busy ? '50' : '500'];
    const peer = home.spawn(home.peer, process.execPath, client, { stdin: 'pipe' });
    await peer.waitFor(/ready/);
    const signal = home.file('unblock');
    if (busy) {
      server.child.stdin?.write(`block ${signal}\n`);
      await server.waitFor(/blocking/);
    }
    peer.child.stdin?.write('go\n');
    await peer.waitFor(/gone/);
    await sleep(300);
    writeFileSync(signal, '');
    if (busy) await server.waitFor(/unblocked/);
    await sleep(300);
    server.child.stdin?.write('log\n');
    const [, log = '[]'] = await server.waitFor(/^log (.*)$/m, 5000, server.stdout.lastIndexOf('log ') + 1);
    outcomes.push(...(JSON.parse(log) as string[]));
    await peer.stop();
  }
  await server.stop();
  return outcomes;
}

t.test(`connections that are gone before the program takes them (${mode})`, { skip }, async (t) => {
  const home = await lab(t);
  const plain = await visitors(home, 'kernel');
  t.equal(plain.length, 8);
  t.ok(
    plain.some((line) => line.includes('ECONNRESET')),
    'a reset is told',
  );
  t.same(await visitors(home, mode), plain, 'as under plain Node');
});

t.test(`a loop that went to sleep hears what the guardian did (${mode})`, { skip }, async (t) => {
  const home = await lab(t);
  // No timer may come to its help: no keep-alive either.
  const server = await home.node(mode, app('drowsy'), [7000, '0.0.0.0', 2500], {
    options: { MILLRACE_GUARDIAN_MS: '1', MILLRACE_KEEPALIVE: '0' },
  });
  const peer = await home.run(home.peer, process.execPath, [app('ping'), home.mill.ipv4, '7000', '4']);
  t.equal(peer.code, 0, peer.stderr);
  const { messages, longestMs } = JSON.parse(peer.stdout) as { messages: number; longestMs: number };
  t.comment(`${messages} messages, longest wait: ${longestMs} ms`);
  // The guardian acknowledges, so that the peer sends nothing again: what is left lying lies there for good.
  t.ok(longestMs < 2000, `no message waited: ${longestMs} ms at most`);
  if (mode === 'millrace') {
    const turns = count(await home.liveStats(server), /^guardian_turns$/);
    t.comment(`${turns} turns of the guardian`);
    t.ok(turns > 0, `the guardian was at work: ${turns} turns`);
  }
  await stopAndReport(t, home, server);
});

t.test(`busy in another's callback, right after a wait (${mode})`, { skip }, async (t) => {
  const home = await lab(t);
  const server = await home.node(mode, app('late-accept'), [7000, '0.0.0.0'], { stdin: 'pipe' });
  // The guardian is asleep, the loop waits, and what wakes it is not ours.
  await sleep(700);
  const signal = home.file('unblock');
  server.child.stdin?.write(`block-here ${signal}\n`);
  await server.waitFor(/blocking/);
  const start = performance.now();
  // The first one wakes the guardian, the second finds it looking.
  for (let i = 0; i < 2; ++i) {
    const connect = `require('node:net').connect(7000, '${home.mill.ipv4}', () => process.exit(0))`;
    const peer = await home.run(home.peer, process.execPath, ['-e', connect], { timeoutMs: 5000 });
    t.equal(peer.code, 0, `a handshake is answered: ${peer.stderr}`);
  }
  t.notMatch(server.stdout, /unblocked/, 'while the loop is blocked');
  t.comment(`${(performance.now() - start).toFixed(0)} ms`);
  writeFileSync(signal, '');
  await server.waitFor(/unblocked/);
  await stopAndReport(t, home, server);
});
