// SPDX-License-Identifier: MIT
// Datagrams: an unmodified echo server and an unmodified client under millrace, kernel programs on the other side.

import t from 'tap';
import { app, cannotRun, count, example, lab, load, mode, stopAndReport } from './support/context';

t.setTimeout(120_000);
const skip = cannotRun('nc', 'bash');

interface EchoResult {
  messages: number;
  rate: number;
  lost: number;
  stale: number;
  wrong: number;
}

t.test(`a UDP echo server (${mode})`, { skip }, async (t) => {
  const home = await lab(t);
  for (const [port, listen, host] of [
    [7004, '0.0.0.0', home.mill.ipv4],
    [7006, '::', home.mill.ipv6],
  ] as const) {
    const server = await home.node(mode, example('udp-echo'), [port, listen]);
    for (const size of ['16', '64', '1400']) {
      const client = await home.run(home.peer, load(), [
        'udp-echo',
        '--host',
        host,
        '--port',
        String(port),
        '--size',
        size,
        '--inflight',
        '32',
        '--seconds',
        '2',
        '--warmup',
        '0.2',
      ]);
      t.equal(client.code, 0, `${host}, ${size} bytes: it ran ${client.stderr}`);
      const result = JSON.parse(client.stdout || '{}') as EchoResult;
      t.equal(result.wrong, 0, `${host}, ${size} bytes: every echo equals what was sent`);
      t.equal(result.lost, 0, `${host}, ${size} bytes: none was lost`);
      t.ok(result.messages > 2000, `${host}, ${size} bytes: ${result.rate} echoes/s`);
    }
    // Longer than the MTU: goes and comes as fragments, which are the kernel's.
    const long = await home.run(home.peer, load(), [
      'udp-echo',
      '--host',
      host,
      '--port',
      String(port),
      '--size',
      '5000',
      '--inflight',
      '4',
      '--seconds',
      '1',
      '--warmup',
      '0',
    ]);
    const result = JSON.parse(long.stdout || '{}') as EchoResult;
    t.equal(long.code, 0, `${host}: datagrams of 5000 bytes ${long.stdout}${long.stderr}`);
    t.equal(result.wrong + result.lost, 0, `${host}: are echoed too, as fragments`);
    const lines = Array.from({ length: 20 }, (_, index) => `line ${index}`);
    const nc = await home.run(home.peer, 'bash', [
      '-c',
      `for i in $(seq 0 19); do echo "line $i"; sleep 0.02; done | nc -u -w 1 ${host} ${port}`,
    ]);
    t.same(nc.stdout.split('\n').filter(Boolean), lines, `${host}: nc gets back every line`);
    const stats = await stopAndReport(t, home, server);
    if (stats) t.ok(count(stats, /^udp_(datagrams_)?received$/) > 6000, 'the datagrams went the fast way');
  }
});

t.test(`a UDP client (${mode})`, { skip }, async (t) => {
  const home = await lab(t);
  const echoes = [
    [7004, '0.0.0.0', home.peer.ipv4],
    [7006, '::', home.peer.ipv6],
  ] as const;
  for (const [port, listen, host] of echoes) {
    await home.node('kernel', example('udp-echo'), [port, listen], { side: home.peer });
    for (const how of [[], ['connect']]) {
      for (const size of [64, 1200]) {
        const client = await home.node(mode, app('udp-client'), [host, port, 5000, size, ...how], { ready: null });
        await client.finish(20000);
        t.equal(client.code, 0, client.code === 0 ? 'it ends by itself' : client.describe());
        t.match(
          JSON.parse(client.stdout || '{}'),
          { sent: 5000, received: 5000, wrong: 0, duplicates: 0 },
          `${host}, ${size} bytes ${how.join()}: every datagram came back`,
        );
      }
    }
  }
  const refused = await home.node(mode, app('udp-client'), [home.peer.ipv4, 9, 1, 64, 'connect'], { ready: null });
  await refused.finish(10000);
  t.match(refused.stdout, /ECONNREFUSED/, 'a closed port is told to a connected socket');
});
