// SPDX-License-Identifier: MIT
// `npm run bench:paths`, as root: bulk transfer over paths with delay, loss, reordering and a line rate, millrace beside
// the kernel's CUBIC, alternating; then both at once on one line.
//   --guest      in the guest (tools/guest) by netem and in virtual time; otherwise here, by a user-space bridge
//   --seconds N  of one transfer (5); in the guest by the number of packets and losses
//   --rounds N (3)   --rtt MS,..  --loss P,..  --rate MBIT,..   --no-share   --only-share
//   --short      a few paths of each kind
//   --minutes N  after which the guest is ended (90)
//   --check      ends with 1 when a path gives less than 0.8 of the kernel's rate, or sharing is outside 0.7 to 1.4

import { parseArgs } from 'node:util';
import tools from '../tools/lab/native-tools.js';
import { runGuest } from '../tools/guest/guest.mjs';
import { setUp } from '../tools/setup.mjs';
import { kModes, kWays, Place } from './paths-place.mjs';
import { median, number, table } from './statistics.mjs';

const { values: flags } = parseArgs({
  options: {
    seconds: { type: 'string', default: '5' },
    rounds: { type: 'string', default: '3' },
    rtt: { type: 'string', default: '0.1,10,100' },
    loss: { type: 'string', default: '0,0.1,1,5' },
    rate: { type: 'string', default: '10,100' },
    minutes: { type: 'string', default: '90' },
    'no-share': { type: 'boolean', default: false },
    'only-share': { type: 'boolean', default: false },
    short: { type: 'boolean', default: false },
    check: { type: 'boolean', default: false },
    guest: { type: 'boolean', default: false },
    netem: { type: 'boolean', default: false },
  },
});
const list = (text) => text.split(',').map(Number);
const seconds = Number(flags.seconds);
const rounds = Number(flags.rounds);
const kLeast = 0.8;
const kFair = [0.7, 1.4];
const kPacketBits = 12000;
const kReorderRounds = 3;
/** Of one transfer in virtual time, which costs by packets and little by seconds: at most so many packets, so many losses
 * within that bound, and at least so many round trips. */
const kPackets = 20000;
const kLosses = 100;
const kRoundTrips = 40;
const kSecondsMax = 120;

function length({ rtt, loss, rate }) {
  if (!flags.netem) return seconds;
  const roundTripS = Math.max(rtt, 1) / 1000;
  const lineRate = (rate * 1e6) / kPacketBits;
  if (loss === 0) return Math.max(Math.min(seconds, kPackets / lineRate), kRoundTrips * roundTripS);
  // By the square root formula.
  const packetRate = Math.min(lineRate, 1.2 / Math.sqrt(loss / 100) / roundTripS);
  const packets = Math.min(kPackets, kLosses / (loss / 100));
  return Math.min(kSecondsMax, Math.max(2, packets / packetRate, kRoundTrips * roundTripS));
}

function places() {
  if (flags.short) {
    return [
      { rtt: 10, loss: 0, rate: 10 },
      { rtt: 10, loss: 1, rate: 10 },
      { rtt: 100, loss: 0.1, rate: 10 },
      { rtt: 10, loss: 0, rate: 10, reorder: 1 },
      { rtt: 10, loss: 0, rate: 100 },
    ];
  }
  return list(flags.rate).flatMap((rate) =>
    list(flags.rtt).flatMap((rtt) => [
      ...list(flags.loss).map((loss) => ({ rtt, loss, rate })),
      { rtt, loss: 0, rate, reorder: 1 },
    ]),
  );
}

function nameOf(where) {
  return `${where.rate} Mbit/s, ${where.rtt} ms, ${where.reorder ? 'reordering 1 %' : `loss ${where.loss} %`}`;
}

/**
 * Both stacks in turn over one path: medians in Mbit/s. Under reordering it is luck how much of the window the first
 * packets cost: the kernel's own transfers differ by ten times and more. So there are more of them, and the kernel is
 * measured by those of both directions, between which the path makes no difference.
 */
async function compare(place, where) {
  await place.go(where);
  const rates = {};
  for (const way of Object.keys(kWays)) rates[way] = { kernel: [], millrace: [] };
  for (let round = 0; round < (where.reorder ? kReorderRounds * rounds : rounds); round++) {
    for (const mode of kModes)
      for (const way of Object.keys(kWays)) rates[way][mode].push(await place.transfer(mode, way, length(where)));
  }
  const ways = Object.values(rates);
  const kernels = (way) => (where.reorder ? ways.flatMap(({ kernel }) => kernel) : way.kernel);
  return ways.map((way) => ({ kernel: median(kernels(way)), millrace: median(way.millrace) }));
}

/** One transfer of each stack at the same time through one line: millrace's share beside the kernel's. */
async function share(place, where) {
  await place.go(where);
  const ratios = [];
  const time = flags.netem ? Math.max(10, where.rtt / 4) : Math.max(20, seconds * 4);
  // Every server is up before the first pair.
  for (const mode of kModes) await place.transfer(mode, 'down', 1);
  for (let round = 0; round < rounds; round++) {
    // As much again before it is measured: who leaves slow start with how much is luck, and stays so for some epochs.
    const both = kModes.map((mode) => place.transfer(mode, 'down', time, time));
    const [kernel, ours] = await Promise.all(both);
    ratios.push(ours / kernel);
  }
  return median(ratios);
}

async function measureAll(place) {
  let missed = 0;
  const rows = [['path', 'kernel down', 'millrace', 'ratio', 'kernel up', 'millrace', 'ratio', '']];
  for (const where of places()) {
    const row = [nameOf(where)];
    let least = Number.POSITIVE_INFINITY;
    for (const { kernel, millrace } of await compare(place, where)) {
      least = Math.min(least, millrace / kernel);
      row.push(number(kernel), number(millrace), (millrace / kernel).toFixed(2));
    }
    // Not the other way round: a rate that is no number is a miss.
    if (!(least >= kLeast)) missed++;
    row.push(least >= kLeast ? '' : `MISSED ${kLeast}`);
    rows.push(row);
    process.stderr.write(`${row.join('  ')}\n`);
  }
  console.log(
    `Mbit/s, medians of ${rounds} transfers; a queue of one bandwidth-delay product; CUBIC on both sides; ` +
      `${flags.netem ? 'netem, in virtual time' : 'a user-space bridge'}`,
  );
  for (const line of table(rows)) console.log(line);
  return missed;
}

async function shareAll(place) {
  let missed = 0;
  const all = list(flags.rate).flatMap((rate) => list(flags.rtt).map((rtt) => ({ rtt, loss: 0, rate })));
  for (const where of flags.short ? [{ rtt: 10, loss: 0, rate: 10 }] : all) {
    const ratio = await share(place, where);
    const fair = ratio >= kFair[0] && ratio <= kFair[1];
    if (!fair) missed++;
    const verdict = fair ? '' : ` MISSED ${kFair.join(' to ')}`;
    console.log(
      `shared ${where.rate} Mbit/s, ${where.rtt} ms: millrace gets ${ratio.toFixed(2)} of the kernel's${verdict}`,
    );
  }
  return missed;
}

/** The same command inside; everything is compiled out here, where it is quick. */
async function inGuest() {
  tools.nativeTool('load');
  const own = process.argv.slice(2).filter((word) => word !== '--guest');
  const { code } = await runGuest([process.execPath, import.meta.filename, '--netem', ...own], {
    virtualTime: true,
    modules: ['sch_netem', 'veth', 'bridge'],
    timeoutSeconds: Number(flags.minutes) * 60,
    onOut: (text) => process.stdout.write(text),
    onErr: (text) => process.stderr.write(text),
  });
  return code;
}

async function here() {
  const place = new Place({ netem: flags.netem });
  let missed = 0;
  try {
    if (!flags['only-share']) missed += await measureAll(place);
    if (!flags['no-share']) missed += await shareAll(place);
  } finally {
    await place.close();
  }
  return flags.check && missed > 0 ? 1 : 0;
}

if ((await setUp(['bench'])).length > 0) process.exit(1);
process.exitCode = flags.guest ? await inGuest() : await here();
