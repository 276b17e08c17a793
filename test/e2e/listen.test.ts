// SPDX-License-Identifier: MIT
// One wildcard listener serves the fast path and the kernel's at once, and holds its port against everyone.

import t from 'tap';
import { cannotRun, count, example, lab, load, mode, stopAndReport, type Lab } from './support/context';

t.setTimeout(60_000);
const skip = cannotRun('curl');

async function hold(home: Lab, from: 'mill' | 'peer', host: string): Promise<{ end: () => Promise<void> }> {
  const client = home.spawn(home[from], load(), ['idle', '--host', host, '--port', '7000', '--connections', '3'], {
    stdin: 'pipe',
  });
  await client.waitFor(/"open":3/);
  return {
    end: async () => {
      client.child.stdin?.write('\n');
      await client.waitFor(/"messages":3/);
      client.child.stdin?.end('\n');
      await client.finish();
    },
  };
}

t.test(`listen on 0.0.0.0: both ways at once (${mode})`, { skip }, async (t) => {
  const home = await lab(t);
  const server = await home.node(mode, example('tcp-echo'), [7000, '0.0.0.0']);
  const listeners = await home.must(home.mill, 'ss', ['-Htln', 'sport', '=', ':7000']);
  t.match(listeners, '0.0.0.0:7000', 'the kernel has the listener too');
  const far = await hold(home, 'peer', home.mill.ipv4);
  const near = await hold(home, 'mill', '127.0.0.1');
  const self = await hold(home, 'mill', home.mill.ipv4);
  const established = await home.kernelConnections(home.mill, ['sport', '=', ':7000']);
  t.comment(established.join('\n'));
  t.equal(
    established.filter((line) => line.includes('127.0.0.1:7000')).length,
    3,
    "what comes over loopback is the kernel's",
  );
  const own = established.filter((line) => new RegExp(`${home.mill.ipv4}:7000 +${home.mill.ipv4}:`).test(line));
  t.equal(own.length, 3, 'so is what the machine sends to itself');
  const others = established.length - 6;
  t.equal(others, mode === 'millrace' ? 0 : 3, 'connections of the peer that the kernel has');
  if (mode === 'millrace') {
    const live = await home.liveStats(server);
    t.ok(count(live, /^tcp_(segments_)?received$/) >= 6, 'millrace has had their segments');
  }
  for (const client of [far, near, self]) await client.end();
  t.pass('every connection was answered');
  await stopAndReport(t, home, server);
});

t.test(`the port is taken (${mode})`, { skip }, async (t) => {
  const home = await lab(t);
  const server = await home.node(mode, example('http-server'), [8080, '0.0.0.0']);
  const second = await home.node('kernel', example('http-server'), [8080, '0.0.0.0'], { ready: null });
  await second.finish(10000);
  t.not(second.code, 0, 'a second process fails');
  t.match(second.stderr, /EADDRINUSE/, 'with EADDRINUSE, plain');
  const third = await home.node(mode, example('http-server'), [8080, '0.0.0.0'], {
    ready: null,
    options: { MILLRACE_REQUIRE: '0' },
  });
  await third.finish(10000);
  t.not(third.code, 0, 'a third fails');
  t.match(third.stderr, /EADDRINUSE/, `with EADDRINUSE, in mode ${mode}`);
  t.match(
    await home.must(home.peer, 'curl', ['-sS', '-m', '5', `http://${home.mill.ipv4}:8080/`]),
    'Hello',
    'the first goes on over the interface',
  );
  t.match(
    await home.must(home.mill, 'curl', ['-sS', '-m', '5', 'http://127.0.0.1:8080/']),
    'Hello',
    'and over loopback',
  );
  await stopAndReport(t, home, server);
});

t.test(`a wildcard UDP socket: both ways at once (${mode})`, { skip }, async (t) => {
  const home = await lab(t);
  const server = await home.node(mode, example('udp-echo'), [7000, '0.0.0.0']);
  const args = (host: string): string[] => [
    'udp-echo',
    '--host',
    host,
    '--port',
    '7000',
    '--inflight',
    '4',
    '--seconds',
    '1',
    '--warmup',
    '0',
  ];
  const outcomes = await Promise.all([
    home.run(home.peer, load(), args(home.mill.ipv4)),
    home.run(home.mill, load(), args('127.0.0.1')),
  ]);
  for (const outcome of outcomes) {
    t.equal(outcome.code, 0, outcome.stderr);
    t.match(JSON.parse(outcome.stdout || '{}'), { lost: 0, wrong: 0 }, outcome.stdout.trim());
  }
  await stopAndReport(t, home, server);
});

t.test(`what is not steered is the kernel's (${mode})`, { skip }, async (t) => {
  const home = await lab(t);
  const server = await home.node(mode, example('http-server'), [8080, '0.0.0.0'], {
    options: { MILLRACE_ACCELERATE: 'tcp:listen:*:8080' },
  });
  await home.node('kernel', example('http-server'), [8081, '0.0.0.0']);
  for (const address of [home.mill.ipv4, home.mill.ipv6]) {
    await home.must(home.peer, 'ping', ['-c', '3', '-i', '0.1', '-W', '1', address]);
  }
  t.pass('ping is answered over IPv4 and IPv6');
  t.match(
    await home.must(home.peer, 'curl', ['-sS', '-m', '5', `http://${home.mill.ipv4}:8081/`]),
    'Hello',
    'another port, another process',
  );
  t.match(
    await home.must(home.peer, 'curl', ['-sS', '-m', '5', `http://${home.mill.ipv4}:8080/`]),
    'Hello',
    'the accelerated one',
  );
  const closed = await home.run(home.peer, 'curl', ['-sS', '-m', '5', `http://${home.mill.ipv4}:8082/`]);
  t.match(closed.stderr, /refused|Couldn't connect/i, 'a closed port refuses at once');
  await stopAndReport(t, home, server);
});

t.test(`a program under a profiler, which sends it signals (${mode})`, { skip }, async (t) => {
  const home = await lab(t);
  const profile = ['--cpu-prof', `--cpu-prof-dir=${home.folder}`, '--cpu-prof-interval', '500'];
  for (let start = 0; start < 3; ++start) {
    const server = await home.node(mode, example('http-server'), [8080, '0.0.0.0'], { nodeArgs: profile });
    const answer = await home.must(home.peer, 'curl', ['-sS', '-m', '5', `http://${home.mill.ipv4}:8080/`]);
    t.match(answer, 'Hello', 'starts and answers');
    await stopAndReport(t, home, server);
  }
});
