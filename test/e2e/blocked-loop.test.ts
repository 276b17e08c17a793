// SPDX-License-Identifier: MIT
// The server blocks its event loop for 3 s in the middle of transfers. As under the kernel, what arrives meanwhile is
// acknowledged, nobody is reset, new connections are taken, and nothing is lost.

import t from 'tap';
import { app, cannotRun, lab, mode, sleep, stopAndReport, patternHash } from './support/context';

t.setTimeout(90_000);
const skip = cannotRun('curl', 'tcpdump', 'bash', 'sha256sum', 'nc');
const kBytes = 100e6;
const kBlockMs = 3000;

interface Segment {
  readonly atMs: number;
  readonly from: string;
  readonly to: string;
  readonly flags: string;
  readonly ack: number | null;
}

/** Lines of `tcpdump -tt -n -S` as segments. */
function parse(text: string): Segment[] {
  const pattern = /^(\d+\.\d+) IP (\S+) > (\S+): Flags \[([^\]]*)\](?:, seq [\d:]+)?(?:, cksum [^,]*)?(?:, ack (\d+))?/;
  const segments: Segment[] = [];
  for (const line of text.split('\n')) {
    const match = pattern.exec(line);
    if (!match) continue;
    const [, time, from, to, flags, ack] = match;
    segments.push({
      atMs: Number(time) * 1000,
      from: from ?? '',
      to: to ?? '',
      flags: flags ?? '',
      ack: ack === undefined ? null : Number(ack),
    });
  }
  return segments;
}

t.test(`a loop blocked for ${kBlockMs} ms (${mode})`, { skip }, async (t) => {
  const home = await lab(t);
  const server = await home.node(mode, app('files'), [8080, '0.0.0.0']);
  const url = `http://${home.mill.ipv4}:8080`;
  const capture = home.file('capture.pcap');
  // Only what the server sends and every RST: the rest would be 100 MB of headers.
  const filter = 'tcp and port 8080 and (src port 8080 or tcp[tcpflags] & tcp-rst != 0)';
  const tcpdump = home.spawn(home.peer, 'bash', [
    '-c',
    `exec tcpdump -i ${home.peer.interface} -s 96 -B 16384 -U -Z root -w '${capture}' '${filter}' 2>&1`,
  ]);
  await tcpdump.waitFor(/listening on/);

  const file = home.file('up');
  await home.must(home.peer, process.execPath, [
    '-e',
    `const {pattern}=require(${JSON.stringify(app('pattern'))}); pattern(${kBytes}, 'up').pipe(require('fs').createWriteStream('${file}'))`,
  ]);
  const limit = ['--limit-rate', '30M', '-sS'];
  const paced = home.spawn(
    home.peer,
    process.execPath,
    [app('paced-upload'), home.mill.ipv4, '8080', '300', '512', '20'],
    { name: 'paced' },
  );
  const pacedPort = (await paced.waitFor(/^port (\d+)/m))[1] ?? '';
  const upload = home.spawn(home.peer, 'curl', [...limit, '-T', file, `${url}/up`], { name: 'upload' });
  const download = home.spawn(home.peer, 'bash', [
    '-o',
    'pipefail',
    '-c',
    `curl ${limit.join(' ')} '${url}/file?bytes=${kBytes}&seed=down' | sha256sum`,
  ]);
  await sleep(1000);
  await home.must(home.peer, 'curl', ['-sS', `${url}/block?ms=${kBlockMs}`]);
  const blockedMs = Number((await server.waitFor(/^blocked (\d+)/m))[1]);
  await sleep(500);
  const connectStart = performance.now();
  await home.must(home.peer, 'nc', ['-z', '-w', '2', home.mill.ipv4, '8080'], { timeoutMs: 5000 });
  const connectMs = performance.now() - connectStart;
  t.ok(connectMs < 1000, `a new connection is taken meanwhile, in ${connectMs.toFixed(0)} ms`);
  const unblockedMs = Number((await server.waitFor(/^unblocked (\d+)/m, 10000))[1]);
  t.ok(unblockedMs - blockedMs >= kBlockMs, 'the loop was blocked');

  for (const job of [paced, upload, download]) {
    await job.finish(30000);
    t.equal(job.code, 0, job.code === 0 ? `${job.name} ends well` : job.describe());
  }
  t.match(paced.stdout, '"equal":true', 'the paced upload is whole');
  t.match(upload.stdout, `"bytes":${kBytes},"sha256":"${patternHash(kBytes, 'up')}"`, 'the big upload is whole');
  t.equal(download.stdout.split(' ')[0], patternHash(kBytes, 'down'), 'the big download is whole');

  await tcpdump.stop('SIGINT');
  const text = await home.must(home.peer, 'tcpdump', [
    '-r',
    capture,
    '-tt',
    '-n',
    '-S',
    `port ${pacedPort} or tcp[tcpflags] & tcp-rst != 0`,
  ]);
  const segments = parse(text);
  t.same(
    segments.filter((segment) => segment.flags.includes('R')),
    [],
    'nobody was reset',
  );
  // New acknowledgements on the paced connection while the loop stood still.
  const times: number[] = [];
  let last = -1;
  for (const { atMs, to, ack } of segments) {
    if (!to.endsWith(`.${pacedPort}`) || ack === null || ack === last) continue;
    last = ack;
    if (atMs > blockedMs && atMs < unblockedMs) times.push(atMs);
  }
  let gapMs = 0;
  for (let i = 0; i <= times.length; ++i)
    gapMs = Math.max(gapMs, (times[i] ?? unblockedMs) - (times[i - 1] ?? blockedMs));
  t.comment(`${times.length} new ACKs in the ${unblockedMs - blockedMs} ms, longest gap ${gapMs.toFixed(0)} ms`);
  t.ok(times.length >= 20, 'ACKs go on while the loop is blocked');
  t.ok(gapMs < 500, 'with no long gap');
  await stopAndReport(t, home, server);
});
