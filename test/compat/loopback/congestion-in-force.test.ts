/**
 * That the algorithm with the name is at work: over a path of some milliseconds that loses a frame now and then, how far
 * losses cut the window is told from what TCP says of itself, before and after. Without a guardian nothing happens
 * between two looks but one turn.
 */
process.env['MILLRACE_FAULT'] = 'delay_us=1000,tx.drop=0.02,seed=5';
process.env['MILLRACE_GUARDIAN_MS'] = '0';
import { once } from 'node:events';
import * as net from 'node:net';
import type { AddressInfo } from 'node:net';
import t from 'tap';
import './real';
import { connectionInfo, setCongestion } from '../../../lib/index';
import type { Congestion, ConnectionInfo } from '../../../lib/engine';
import { installEngine } from '../harness';

installEngine();

interface Losses {
  /** Slow start's threshold after a loss, as a share of the window before it: the median. */
  readonly cut: number;
  readonly paced: boolean;
  readonly retransmitted: number;
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] ?? -1;
}

/** Sends until losses have cut the window three times, or, where they do not, for as many losses. */
async function lose(name: Congestion): Promise<Losses> {
  const server = net.createServer((socket) => socket.resume());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = net.connect((server.address() as AddressInfo).port, '127.0.0.1');
  setCongestion(client, name);
  await once(client, 'connect');
  const block = Buffer.alloc(1_000_000);
  const cuts: number[] = [];
  let info: ConnectionInfo | null = null;
  let threshold: number | null = null;
  let window = 0;
  let paced = false;
  const enough = () => (name === 'bbr' ? (info?.segmentsRetransmitted ?? 0) >= 3 : cuts.length >= 3);
  while (!enough()) {
    if (client.writableLength < block.length) client.write(block);
    await new Promise((resolve) => setImmediate(resolve));
    info = connectionInfo(client);
    if (info === null) throw new Error('the connection is not there');
    paced ||= info.pacingBytesPerS !== null;
    // Only cuts in congestion avoidance: between two looks the window grows by little there.
    if (info.slowStartThresholdBytes !== threshold) {
      if (window > 0 && info.slowStartThresholdBytes !== null) cuts.push(info.slowStartThresholdBytes / window);
      threshold = info.slowStartThresholdBytes;
      window = 0;
    } else if (threshold !== null && info.congestionWindowBytes > threshold) window = info.congestionWindowBytes;
  }
  client.destroy();
  server.close();
  return { cut: median(cuts), paced, retransmitted: info?.segmentsRetransmitted ?? 0 };
}

t.test('CUBIC cuts to 0.7, NewReno to a half at most, and BBR paces', async (t) => {
  const losses = { cubic: await lose('cubic'), newreno: await lose('newreno'), bbr: await lose('bbr') };
  t.comment(JSON.stringify(losses));
  for (const { retransmitted } of Object.values(losses)) t.ok(retransmitted > 0, 'there were losses');
  t.ok(losses.cubic.cut > 0.63 && losses.cubic.cut < 0.77, `cubic: ${losses.cubic.cut} of the window`);
  // Of what is in flight, which is less than the window when the path could take more than is written.
  t.ok(losses.newreno.cut > 0 && losses.newreno.cut < 0.56, `newreno: ${losses.newreno.cut}`);
  t.same([losses.cubic.paced, losses.newreno.paced, losses.bbr.paced], [false, false, true], 'who paces');
});
