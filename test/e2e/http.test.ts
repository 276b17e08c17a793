// SPDX-License-Identifier: MIT
// An unmodified http server under millrace, with curl and wrk of the kernel's side as its clients.

import t from 'tap';
import {
  app,
  cannotRun,
  count,
  example,
  lab,
  mode,
  port,
  stopAndReport,
  transferBytes,
  type Lab,
  patternHash,
} from './support/context';

t.setTimeout(180_000);
const skip = cannotRun('curl', 'wrk', 'bash', 'sha256sum');

const shell = (command: string): [string, string[]] => ['bash', ['-o', 'pipefail', '-c', command]];
const urls = (home: Lab, port: number): [string, string][] => [
  ['IPv4', `http://${home.mill.ipv4}:${port}`],
  ['IPv6', `http://[${home.mill.ipv6}]:${port}`],
];
const kFormat = "-w '%{stderr}%{http_code} %{speed_download} %{speed_upload}'";
const rate = (text: string): string => `${(Number(text) / 1e6).toFixed(0)} MB/s`;

t.test(`curl fetches and sends ${transferBytes / 1e6} MB (${mode})`, { skip }, async (t) => {
  const home = await lab(t);
  const server = await home.node(mode, app('files'), [8080, '::']);
  const expected = patternHash(transferBytes, 'down');
  for (const [family, url] of urls(home, 8080)) {
    const down = await home.run(
      home.peer,
      ...shell(`curl -sS ${kFormat} '${url}/file?bytes=${transferBytes}&seed=down' | sha256sum`),
      {
        timeoutMs: 60000,
      },
    );
    const [status, speed] = down.stderr.split(' ');
    t.equal(status, '200', `${family}: fetched ${down.code === 0 ? '' : down.stderr}`);
    t.equal(down.stdout.split(' ')[0], expected, `${family}: what was fetched has the right SHA-256`);
    t.comment(`${family} down: ${rate(speed ?? '0')}`);
  }
  const file = home.file('up');
  await home.must(home.peer, process.execPath, [
    '-e',
    `const {pattern}=require(${JSON.stringify(app('pattern'))}); pattern(${transferBytes}, 'up').pipe(require('fs').createWriteStream('${file}'))`,
  ]);
  const sent = patternHash(transferBytes, 'up');
  for (const [family, url] of urls(home, 8080)) {
    const up = await home.run(home.peer, ...shell(`curl -sS ${kFormat} -T '${file}' '${url}/up'`), {
      timeoutMs: 60000,
    });
    t.equal(up.code, 0, `${family}: sent ${up.stderr}`);
    t.same(
      JSON.parse(up.stdout || '{}'),
      { bytes: transferBytes, sha256: sent },
      `${family}: the server got every byte`,
    );
    t.comment(`${family} up: ${rate(up.stderr.split(' ')[2] ?? '0')}`);
  }
  await stopAndReport(t, home, server);
});

t.test(`wrk, 10 s, 64 connections (${mode})`, { skip }, async (t) => {
  const home = await lab(t);
  const server = await home.node(mode, example('http-server'), [8080, '::']);
  for (const [family, url] of urls(home, 8080)) {
    const seconds = family === 'IPv4' ? 10 : 3;
    const client = home.spawn(home.peer, 'wrk', ['-t', '1', '-c', '64', '-d', `${seconds}s`, '--latency', `${url}/`]);
    await new Promise((resolve) => setTimeout(resolve, 1500));
    const theirs = await home.kernelConnections(home.peer, ['dport', '=', ':8080']);
    const ours = await home.kernelConnections(home.mill, ['sport', '=', ':8080']);
    t.ok(theirs.length >= 64, `${family}: the peer's kernel has ${theirs.length} connections`);
    if (mode === 'millrace') {
      t.equal(ours.length, 0, `${family}: ss shows none of them on the server's side`);
      const live = await home.liveStats(server);
      t.ok(count(live, /^tcp_(segments_)?received$/) > 64, `${family}: millrace's own counters move meanwhile`);
    } else {
      t.ok(ours.length >= 64, `${family}: plain Node's are the kernel's`);
    }
    await client.finish(30000);
    t.equal(client.code, 0, client.stderr);
    t.notMatch(client.stdout, /Socket errors|Non-2xx/, `${family}: no socket error`);
    t.match(client.stdout, /Requests\/sec/, `${family}: wrk has a result`);
    t.comment(
      `${family}: ${/Requests\/sec.*/.exec(client.stdout)?.[0] ?? ''} ${/^\s+99%.*/m.exec(client.stdout)?.[0] ?? ''}`,
    );
  }
  await stopAndReport(t, home, server);
});

t.test(`a veth pair as containers have it, with offload on (${mode})`, { skip }, async (t) => {
  // Frames come with unfinished checksums and, while no XDP program is there, as 64 KiB segments.
  const home = await lab(t, { offload: true });
  const server = await home.node(mode, app('files'), [8080, '::']);
  const bytes = 20e6;
  const file = home.file('up');
  await home.must(home.peer, process.execPath, [
    '-e',
    `const {pattern}=require(${JSON.stringify(app('pattern'))}); pattern(${bytes}, 'up').pipe(require('fs').createWriteStream('${file}'))`,
  ]);
  for (const [family, url] of urls(home, 8080)) {
    const down = await home.run(
      home.peer,
      ...shell(`curl -sS -m 20 '${url}/file?bytes=${bytes}&seed=down' | sha256sum`),
    );
    t.equal(
      down.stdout.split(' ')[0],
      patternHash(bytes, 'down'),
      `${family}: what was fetched is whole ${down.stderr}`,
    );
    const up = await home.run(home.peer, 'curl', ['-sS', '-m', '20', '-T', file, `${url}/up`]);
    t.match(
      up.stdout,
      `"bytes":${bytes},"sha256":"${patternHash(bytes, 'up')}"`,
      `${family}: and what was sent ${up.stderr}`,
    );
  }
  const stats = await stopAndReport(t, home, server);
  if (!stats) return;
  const joined = count(stats, /^ip_sent_joined$/);
  if (port.longPackets) t.ok(joined > 10_000, 'long packets were left to the kernel to cut');
  else t.equal(joined, 0, 'a device that cuts nothing got segments');
});
