// SPDX-License-Identifier: MIT
// `npm run demo`: an unmodified http server under millrace, over AF_XDP, between two network namespaces; what is the
// kernel's stays the kernel's; then the same load against plain Node. Without root: both ends in one process, over the
// loopback port. Sets up what it needs, and takes everything down again, also after Ctrl-C.
//   --seconds N (6)   how long each load runs

import { existsSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import jobs from './lab/jobs.js';
import lab from './lab/lab.js';
import { demoOverLoopback } from './demo-loopback.mjs';
import { ensureBuilt, heading, headline, liveLine, numberOf, say, sideBySide } from './demo-support.mjs';
import { setUp } from './setup.mjs';

const { values: flags } = parseArgs({ options: { seconds: { type: 'string', default: '6' } } });
const seconds = Math.max(2, Number(flags.seconds));
const kServer = path.join(lab.root, 'examples/http-server.js');
const kProbe = path.join(lab.root, 'tools/lab/stats-probe.js');
const kCli = path.join(lab.root, 'dist/lib/cli/main.js');

/** Starts examples/http-server.js in the server's namespace: under `millrace run`, or plain. */
async function startServer(home, how, port) {
  const live = home.file('stats.json');
  const node = [process.execPath, kServer, String(port), '0.0.0.0'];
  const accelerated = [
    process.execPath,
    kCli,
    'run',
    '--port',
    'af_xdp',
    '--interface',
    home.mill.interface,
    '--',
    process.execPath,
    '--require',
    kProbe,
    kServer,
    String(port),
    '0.0.0.0',
  ];
  const [command, ...args] = how === 'millrace' ? accelerated : node;
  const env = how === 'millrace' ? { LAB_STATS_FILE: live, LAB_STATS_EVERY_MS: '200' } : {};
  const job = home.spawn(home.mill, command, args, { env, name: how });
  await job.waitFor(/listening on/, 20000);
  return Object.assign(job, { live });
}

/** Loads the server from the other namespace and says every second who holds the connections. */
async function load(home, server, how, port) {
  const url = `http://${home.mill.ipv4}:${port}/`;
  const client = home.spawn(home.peer, 'wrk', ['-t', '1', '-c', '64', '-d', `${seconds}s`, '--latency', url]);
  const start = performance.now();
  while (client.running) {
    await Promise.race([client.exit, jobs.sleep(1000)]);
    if (!client.running) break;
    const [theirs, ours] = await Promise.all([
      home.kernelConnections(home.peer, ['dport', '=', `:${port}`]),
      home.kernelConnections(home.mill, ['sport', '=', `:${port}`]),
    ]);
    liveLine((performance.now() - start) / 1000, how, server.live, ours.length, theirs.length);
  }
  if (client.code !== 0) throw new Error(client.describe());
  return {
    rate: Number(/Requests\/sec:\s+([\d.]+)/.exec(client.stdout)[1]),
    p50: /^\s+50%\s+(\S+)/m.exec(client.stdout)[1],
    p99: /^\s+99%\s+(\S+)/m.exec(client.stdout)[1],
    errors: /Socket errors.*/.exec(client.stdout)?.[0].trim() ?? 'none',
  };
}

/** Ping and a port that nobody accelerates. */
async function kernelStillAnswers(home) {
  heading('What is not steered stays with the kernel');
  const ping = await home.run(home.peer, 'ping', ['-c', '3', '-i', '0.2', '-W', '1', home.mill.ipv4]);
  const times = /= [\d.]+\/([\d.]+)\//.exec(ping.stdout)?.[1];
  say(
    `ping ${home.mill.ipv4}`,
    ping.code === 0 ? `3 of 3 answered, ${times} ms: by the kernel` : `FAILED ${ping.stdout}`,
  );
  const other = await startServer(home, 'plain', 8081);
  const answer = await home.run(home.peer, 'curl', ['-sS', '-m', '5', `http://${home.mill.ipv4}:8081/`]);
  say(
    'a second server, port 8081, plain Node',
    answer.code === 0 ? `"${answer.stdout.trim()}": by the kernel` : `FAILED ${answer.stderr}`,
  );
  const near = await home.run(home.mill, 'curl', ['-sS', '-m', '5', 'http://127.0.0.1:8080/']);
  say(
    'the accelerated server, over 127.0.0.1',
    near.code === 0 ? `"${near.stdout.trim()}": by the kernel, same listener` : `FAILED ${near.stderr}`,
  );
  await other.stop();
  return ping.code === 0 && answer.code === 0 && near.code === 0;
}

async function demoOverNetwork() {
  headline('millrace: an unmodified Node server on a network stack of its own');
  heading('Two hosts on this machine');
  const home = await lab.openLab();
  try {
    say(`server  ${home.mill.ipv4}`, `namespace ${home.mill.namespace}, interface ${home.mill.interface}`);
    say(
      `client  ${home.peer.ipv4}`,
      `namespace ${home.peer.namespace}, interface ${home.peer.interface}, joined by a veth pair`,
    );

    heading('examples/http-server.js under `millrace run`');
    say('', `millrace run --port af_xdp --interface ${home.mill.interface} -- node examples/http-server.js 8080`);
    const server = await startServer(home, 'millrace', 8080);
    const fine = await kernelStillAnswers(home);
    heading(`wrk, 64 connections, ${seconds} s: who holds the connections?`);
    const fast = await load(home, server, 'millrace', 8080);
    await server.stop();
    if (server.stderr) process.stdout.write(server.stderr);

    heading('The same server, the same load, plain Node');
    const plainServer = await startServer(home, 'plain', 8080);
    const plain = await load(home, plainServer, 'plain', 8080);
    await plainServer.stop();

    sideBySide(
      [
        ['', 'plain Node', 'millrace'],
        ['requests per second', numberOf(plain.rate), numberOf(fast.rate)],
        ['half of them within', plain.p50, fast.p50],
        ['99 % of them within', plain.p99, fast.p99],
        ['socket errors', plain.errors, fast.errors],
      ],
      fast.rate / plain.rate,
    );
    return fine && fast.errors === 'none' ? 0 : 1;
  } finally {
    await home.close();
    say('', 'namespaces, interfaces and programs are gone again');
  }
}

async function main() {
  await ensureBuilt();
  if (process.getuid() === 0) {
    const missing = await setUp(['demo']);
    if (missing.length === 0) return demoOverNetwork();
    say('', `without ${missing.map((need) => need.package).join(', ')} the demo stays in one process`);
  } else {
    say(
      '',
      'not root: no namespaces and no AF_XDP, so the demo stays in one process (sudo npm run demo shows the whole)',
    );
  }
  return demoOverLoopback(seconds);
}

if (!existsSync(kServer)) throw new Error(`${kServer} is missing`);
main().then(
  (code) => process.exit(code),
  (error) => {
    console.error(error.message);
    process.exit(1);
  },
);
