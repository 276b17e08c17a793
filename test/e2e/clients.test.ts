// SPDX-License-Identifier: MIT
// Unmodified Node clients under millrace, with redis-server and nginx on the kernel's side.

import { writeFileSync, mkdirSync } from 'node:fs';
import { createHash, randomBytes } from 'node:crypto';
import path from 'node:path';
import t from 'tap';
import { app, cannotRun, lab, mode, type Lab, type Job } from './support/context';

t.setTimeout(180_000);
const skip = cannotRun('redis-server', 'nginx');

t.test(`a Redis client on plain net (${mode})`, { skip }, async (t) => {
  const home = await lab(t);
  const addresses = [home.peer.ipv4, home.peer.ipv6];
  const redis = home.spawn(home.peer, 'redis-server', [
    '--port',
    '6379',
    '--bind',
    ...addresses,
    '--protected-mode',
    'no',
    '--save',
    '',
    '--appendonly',
    'no',
    '--dir',
    home.folder,
  ]);
  await redis.waitFor(/[Rr]eady to accept connections/);
  for (const address of addresses) {
    const client = await home.node(mode, app('redis-client'), [address, 6379, 'hold'], {
      ready: /holding/,
      stdin: 'pipe',
      readyTimeoutMs: 60000,
    });
    const connections = await home.kernelConnections(home.mill, ['dport', '=', ':6379']);
    t.equal(connections.length, mode === 'millrace' ? 0 : 1, `${address}: connections that the client's kernel has`);
    const theirs = await home.kernelConnections(home.peer, ['sport', '=', ':6379']);
    t.equal(theirs.length, 1, `${address}: connections that the server's kernel has`);
    client.child.stdin?.end('go on\n');
    await client.finish(20000);
    t.equal(client.code, 0, client.code === 0 ? `${address}: it ends by itself` : client.describe());
    const line = client.stdout.split('\n').at(-2) ?? '{}';
    const result = JSON.parse(line) as Record<string, unknown>;
    t.match(
      result,
      { ping: 'PONG', pingAgain: 'PONG', ordered: true, bigEqual: true, missing: null, wrong: 0 },
      `${address}: every answer is right`,
    );
    t.equal(client.stderr, '', 'nothing on stderr');
    t.comment(`${address}: ${String(result['perSecond'])} requests/s one at a time`);
    await home.must(home.peer, 'redis-cli', ['-h', address, 'flushall']);
  }
});

async function startNginx(home: Lab, file: Buffer): Promise<Job> {
  const folder = path.join(home.folder, 'nginx');
  mkdirSync(folder);
  writeFileSync(path.join(folder, 'file.bin'), file, { mode: 0o644 });
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((name) => `${name}_temp_path ${folder}/${name};`)
    .join(' ');
  writeFileSync(
    path.join(folder, 'nginx.conf'),
    `
    daemon off; user root; worker_processes 1; pid ${folder}/pid; error_log stderr;
    events { worker_connections 512; }
    http { access_log off; ${temporary} sendfile on; keepalive_requests 100000;
      server { listen 8080; listen [::]:8080; root ${folder}; } }`,
  );
  const nginx = home.spawn(home.peer, 'nginx', ['-p', folder, '-c', path.join(folder, 'nginx.conf')]);
  for (let attempt = 0; attempt < 100; ++attempt) {
    const probe = await home.run(home.peer, 'curl', [
      '-s',
      '-o',
      '/dev/null',
      `http://${home.peer.ipv4}:8080/file.bin`,
    ]);
    if (probe.code === 0) return nginx;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`nginx does not answer: ${nginx.describe()}`);
}

t.test(`an http client and nginx (${mode})`, { skip }, async (t) => {
  const home = await lab(t);
  const file = randomBytes(5 << 20);
  const sha256 = createHash('sha256').update(file).digest('hex');
  await startNginx(home, file);
  for (const host of [home.peer.ipv4, `[${home.peer.ipv6}]`]) {
    const client = await home.node(mode, app('http-client'), [`http://${host}:8080/file.bin`, 40, 4], { ready: null });
    await client.finish(60000);
    t.equal(client.code, 0, client.code === 0 ? `${host}: it ends by itself` : client.describe());
    const result = JSON.parse(client.stdout || '{}') as { count: number; distinct: unknown[]; elapsedMs: number };
    t.equal(result.count, 40, `${host}: every request was answered`);
    t.match(result.distinct, [{ status: 200, bytes: file.length, sha256 }], `${host}: and every file whole`);
    t.equal(result.distinct?.length, 1);
    t.equal(client.stderr, '', 'nothing on stderr');
    t.comment(`${host}: ${((40 * file.length) / result.elapsedMs / 1e3).toFixed(0)} MB/s`);
  }
});
