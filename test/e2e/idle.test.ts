// SPDX-License-Identifier: MIT
// 10,000 idle connections, then one message on each. Memory per connection is printed beside plain Node's.

import { readFileSync } from 'node:fs';
import t from 'tap';
import { cannotRun, example, lab, load, mode, sleep, type Mode, type NodeJob } from './support/context';

t.setTimeout(180_000);
const skip = cannotRun();
const connections = Number(process.env['E2E_IDLE'] ?? 10_000);

function residentBytes(job: NodeJob): number {
  const match = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${job.pid}/status`, 'latin1'));
  return Number(match?.[1] ?? NaN) * 1024;
}

function slabBytes(): number {
  return Number(/^Slab:\s+(\d+) kB/m.exec(readFileSync('/proc/meminfo', 'latin1'))?.[1] ?? NaN) * 1024;
}

for (const how of new Set<Mode>(['kernel', mode])) {
  t.test(`${connections} idle connections (${how})`, { skip }, async (t) => {
    const home = await lab(t);
    const server = await home.node(how, example('tcp-echo'), [7000, '::']);
    await home.must(home.peer, load(), [
      'tcp-echo',
      '--host',
      home.mill.ipv4,
      '--port',
      '7000',
      '--connections',
      '64',
      '--seconds',
      '1',
    ]);
    await sleep(300);
    const before = { resident: residentBytes(server), slab: slabBytes() };
    const client = home.spawn(
      home.peer,
      load(),
      ['idle', '--host', home.mill.ipv4, '--port', '7000', '--connections', String(connections), '--timeout', '60'],
      { stdin: 'pipe' },
    );
    const opened = JSON.parse((await client.waitFor(/^(\{"open".*\})$/m, 70_000))[1] ?? '{}') as {
      open: number;
      seconds: number;
    };
    t.equal(opened.open, connections, `all are open: ${JSON.stringify(opened)}`);
    await sleep(1000);
    const per = (after: number, then: number): string => ((after - then) / connections / 1024).toFixed(2);
    t.comment(
      `${how}: ${per(residentBytes(server), before.resident)} KiB of the process per connection (RSS ${(before.resident / 2 ** 20).toFixed(0)} MiB before), ` +
        `${per(slabBytes(), before.slab)} KiB of kernel slab for both ends, opened in ${opened.seconds} s`,
    );
    const kernel = await home.kernelConnections(home.mill, ['sport', '=', ':7000']);
    t.equal(kernel.length, how === 'kernel' ? connections : 0, "connections that the server's kernel has");
    client.child.stdin?.write('\n');
    const answered = JSON.parse((await client.waitFor(/^(\{"messages".*\})$/m, 70_000))[1] ?? '{}') as {
      messages: number;
      seconds: number;
    };
    t.match(answered, { messages: connections, mismatches: 0, errors: 0 }, 'every connection is answered');
    t.comment(
      `${how}: all answered in ${answered.seconds} s; ${per(residentBytes(server), before.resident)} KiB per connection afterwards`,
    );
    client.child.stdin?.end('\n');
    await client.finish();
    t.equal(client.code, 0, client.stderr);
    await server.stop();
    t.equal(server.stderr, '', 'nothing on stderr');
  });
}
