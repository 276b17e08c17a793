// SPDX-License-Identifier: MIT
// A program that ends by process.exit() while a peer has not taken what was written to it: for that peer the stack waits,
// but nobody else gets through to a server that is gone. As under plain Node: refused at once, so that it can be tried
// elsewhere, and never accepted and reset.

import t from 'tap';
import { app, cannotRun, lab, mode, sleep } from './support/context';

t.setTimeout(60_000);
const skip = cannotRun();

/** A peer that reads nothing; and at each line of its stdin one that says how its connecting ends. */
const kPeer = `
  const net = require('node:net');
  const [host, port] = process.argv.slice(1);
  const slow = net.connect({ host, port, highWaterMark: 1000 }, () => console.log('connected'));
  slow.pause();
  slow.on('error', () => {});
  process.stdin.on('data', () => {
    const probe = net.connect({ host, port });
    const say = (outcome) => console.log(JSON.stringify({ outcome }));
    probe.on('connect', () => say('connected'));
    probe.on('error', ({ code }) => say(code));
  });
`;

t.test(`the server's port while its process ends (${mode})`, { skip }, async (t) => {
  const home = await lab(t);
  const server = await home.node(mode, app('leaver'), [7000, '0.0.0.0']);
  const args = ['-e', kPeer, home.mill.ipv4, '7000'];
  const peer = home.spawn(home.peer, process.execPath, args, { stdin: 'pipe', name: 'peer' });
  await peer.waitFor(/connected/);
  t.same(await peer.ask('probe'), { outcome: 'connected' }, 'while it runs the next one gets through');
  await sleep(300); // until the windows are full
  const beganMs = performance.now();
  server.kill('SIGTERM');
  await sleep(300);
  t.equal(server.running, mode === 'millrace', 'it waits for the peer that has not read');
  t.same(await peer.ask('probe'), { outcome: 'ECONNREFUSED' }, 'the next one is refused');
  await server.finish(10000);
  t.equal(server.code, 0);
  t.comment(`it ended after ${(performance.now() - beganMs).toFixed(0)} ms`);
  t.same(await peer.ask('probe'), { outcome: 'ECONNREFUSED' }, 'and so is the one after it');
  await peer.stop();
});
