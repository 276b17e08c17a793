// SPDX-License-Identifier: MIT
// An interface that leaves while a program runs on it: deleted, or moved to another namespace and back. Its connections
// end, which is said, and what comes later is the kernel's, as if there had never been a fast path.

import t from 'tap';
import { app, cannotRun, example, lab, mode, port } from './support/context';
import { ask } from './support/follow-client';

t.setTimeout(30_000);
const skip = cannotRun();
const kPort = 7000;
const kGone = /^millrace: interface fast0 is gone: its connections have ended \(ENETDOWN\), and sockets are [^\n]*\n$/;

for (const back of ['from another namespace', 'made anew'] as const) {
  t.test(`an interface goes and is back, ${back} (${mode})`, { skip }, async (t) => {
    const home = await lab(t, { queues: 2 });
    const { mill, peer } = home;
    const options = { MILLRACE_QUEUES: '1' };
    // Where an interface is one program's, that is the client.
    const serves = port.shares ? mode : 'kernel';
    const server = await home.node(serves, example('tcp-echo'), [kPort, '0.0.0.0'], { options });
    const outside = await home.node('kernel', example('tcp-echo'), [kPort, '0.0.0.0'], { side: peer });
    const talks = { ready: /connected/, stdin: 'pipe' } as const;
    const client = await home.node('kernel', app('follow'), [mill.ipv4, kPort], { side: peer, ...talks });
    const out = await home.node(mode, app('follow'), [peer.ipv4, kPort], { options, ...talks });
    t.ok((await ask(client, 'echo 10')).ok, 'before');
    t.ok((await ask(out, 'echo 10')).ok, 'and outwards');
    if (back === 'made anew') {
      await home.ip(mill, ['link', 'del', mill.interface]);
      const pair = ['type', 'veth', 'peer', 'name', peer.interface, 'netns', peer.namespace];
      await home.ip(mill, ['link', 'add', mill.interface, ...pair]);
      await home.ip(peer, ['addr', 'add', `${peer.ipv4}/16`, 'dev', peer.interface]);
      await home.ip(peer, ['link', 'set', peer.interface, 'up']);
    } else {
      await home.ip(mill, ['link', 'set', mill.interface, 'netns', peer.namespace]);
      await home.ip(peer, ['link', 'set', mill.interface, 'netns', mill.namespace]);
    }
    await home.ip(mill, ['addr', 'add', `${mill.ipv4}/16`, 'dev', mill.interface]);
    await home.ip(mill, ['link', 'set', mill.interface, 'up']);
    if (mode === 'millrace')
      t.ok(await out.waitFor(/ended ENETDOWN\n/), 'the connection has ended, as the program hears');
    else t.ok((await ask(out, 'echo 10')).ok, 'the connection goes on');
    t.ok((await ask(client, `connect ${mill.ipv4}`)).ok, 'a new connection to the same server');
    t.ok((await ask(out, `connect ${peer.ipv4}`)).ok, 'and from the same program');
    if (mode === 'millrace') {
      t.match(out.stderr, kGone, 'one line says so');
      if (serves === mode) t.match(server.stderr, kGone);
    }
    for (const job of [client, out, server, outside]) await job.stop();
  });
}
