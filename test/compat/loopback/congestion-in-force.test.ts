/**
 * That the algorithm with the name is at work: over a path of some milliseconds that loses a frame now and then, how far
 * the first loss cuts the window is told from what TCP says of itself, before and after.
 */
process.env['MILLRACE_FAULT'] = 'delay_us=4000,tx.drop=0.004,seed=5';
import { once } from 'node:events';
import * as net from 'node:net';
import type { AddressInfo } from 'node:net';
import t from 'tap';
import './real';
import { connectionInfo, setCongestion } from '../../../lib/index';
import type { Congestion, ConnectionInfo } from '../../../lib/engine';
import { installEngine } from '../harness';

installEngine();

interface Cut {
  /** Slow start's threshold after the first loss, as a share of the window before it; null: the loss set none. */
  readonly share: number | null;
  readonly paced: boolean;
  readonly retransmitted: number;
}

/** Sends until there was a loss, and a while longer. */
async function firstCut(name: Congestion): Promise<Cut> {
  const server = net.createServer((socket) => socket.resume());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = net.connect((server.address() as AddressInfo).port, '127.0.0.1');
  setCongestion(client, name);
  await once(client, 'connect');
  const block = Buffer.alloc(1_000_000);
  let window = 0;
  let share: number | null = null;
  let info: ConnectionInfo | null = null;
  let paced = false;
  for (let after = 0; after < 100; ) {
    if (client.writableLength < block.length) client.write(block);
    await new Promise((resolve) => setImmediate(resolve));
    info = connectionInfo(client);
    if (info === null) throw new Error('the connection is not there');
    paced ||= info.pacingBytesPerS !== null;
    if (info.segmentsRetransmitted > 0) after++;
    else window = info.congestionWindowBytes;
    if (share === null && info.segmentsRetransmitted > 0 && info.slowStartThresholdBytes !== null) {
      share = info.slowStartThresholdBytes / window;
    }
  }
  client.destroy();
  server.close();
  return { share, paced, retransmitted: info?.segmentsRetransmitted ?? 0 };
}

t.test('CUBIC cuts to 0.7, NewReno to a half at most, BBR not at all and paces', async (t) => {
  const cuts = { cubic: await firstCut('cubic'), newreno: await firstCut('newreno'), bbr: await firstCut('bbr') };
  t.comment(JSON.stringify(cuts));
  for (const { retransmitted } of Object.values(cuts)) t.ok(retransmitted > 0, 'there was a loss');
  const between = (value: number | null, low: number, high: number) => value !== null && value > low && value < high;
  t.ok(between(cuts.cubic.share, 0.65, 0.75), `cubic: ${cuts.cubic.share} of the window`);
  // Of what is in flight, which is less than the window when the path could take more than is written.
  t.ok(between(cuts.newreno.share, 0, 0.51), `newreno: ${cuts.newreno.share}`);
  t.same([cuts.cubic.paced, cuts.newreno.paced, cuts.bbr.paced], [false, false, true], 'who paces');
});
