// SPDX-License-Identifier: MIT
// In the guest: a network card whose queues are chosen by a hash that can be asked for (QEMU's virtio-net with RSS: a
// device that computes it, and a driver that tells table and key). Worker threads open connections over port af_xdp;
// each takes local ports whose answers come by its own queue, under whatever key and table. Then one stack that has both
// queues, over port af_xdp and over DPDK's driver for AF_XDP. The peer is a program at the wire's other end. By
// tools/guest/parts.mjs.
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { Job, must, sleep } = require('../../tools/lab/jobs.js');
const { app, check, finish, kStartMs, root } = require('./support.js');

const kMill = ['10.77.0.1/16', 'fd77::1/64'];
const kPeer = ['10.77.0.2', 'fd77::2'];
const kPort = '7000';
const kWorkers = 2;
/** Of each worker to each host in a round: by chance all would be right once in 2^64 times. */
const kConnections = 16;
const kMessages = 5;
/** The device's settings are asked for anew after a second. */
const kAskedAnewMs = 1500;

/** The interface of a driver. */
function interfaceOf(driver) {
  const base = '/sys/class/net';
  const at = (name) => path.join(base, name, 'device/driver');
  const driverOf = (name) => fs.existsSync(at(name)) && path.basename(fs.realpathSync(at(name)));
  return fs.readdirSync(base).find((name) => driverOf(name) === driver);
}

async function setUp(name) {
  for (const setting of ['accept_dad=0', 'dad_transmits=0', 'router_solicitations=0'])
    await must('sysctl', ['-qw', `net.ipv6.conf.${name}.${setting}`]);
  await must('ethtool', ['-L', name, 'combined', String(kWorkers)]);
  for (const address of kMill) await must('ip', ['addr', 'add', address, 'dev', name]);
  await must('ip', ['link', 'set', name, 'up']);
}

const sum = (seen, pick) => seen.reduce((total, { stats }) => total + pick(stats.counters), 0);
const passedOn = (seen) => sum(seen, ({ steering }) => steering.strays_passed_on);
const opened = (seen) => sum(seen, ({ tcp }) => tcp.tcp_active_opens);

/** Under settings of the device: a round, and how many packets came by the wrong queue in it. */
async function round(program, name, settings) {
  await must('ethtool', ['-X', name, ...settings]);
  await sleep(kAskedAnewMs);
  const before = (await program.ask('round 0')).workers;
  const seen = (await program.ask(`round ${kConnections}`, kStartMs)).workers;
  const what = settings.join(' ').slice(0, 40);
  for (const { errors, answers, stats } of seen) {
    const { tcp, steering } = stats.counters;
    check(`${what}: no connection fails`, errors.length === 0, { errors, tcp, steering });
    check(`${what}: every answer came`, answers === kConnections * kPeer.length * kMessages, String(answers));
  }
  const ours = opened(seen) - opened(before);
  check(`${what}: all of them were ours`, ours === kWorkers * kConnections * kPeer.length, String(ours));
  return passedOn(seen) - passedOn(before);
}

const kPorts = {
  af_xdp: () => ({ MILLRACE_PORT: 'af_xdp' }),
  dpdk: (name) => ({
    MILLRACE_PORT: 'dpdk',
    MILLRACE_DPDK_ARGS: `--vdev=net_af_xdp0,iface=${name},start_queue=0,queue_count=${kWorkers},busy_budget=0`,
  }),
};

function start(args, name, port, more = {}) {
  const env = { ...process.env, MILLRACE_INTERFACE: name, MILLRACE_REQUIRE: '1', ...kPorts[port](name), ...more };
  env.NODE_OPTIONS = `--require ${path.join(root, 'dist/compat/register.js')}`;
  env.LAB_LIBRARY = path.join(root, 'dist/lib/index.js');
  return new Job(process.execPath, args.map(String), { stdin: 'pipe', env });
}

const key = (first) =>
  Array.from({ length: 40 }, (_, i) => ((first + i * 37) & 255).toString(16).padStart(2, '0')).join(':');

/** Two threads, a queue each. */
async function threads(name, allSettings) {
  const program = start([app('from-workers'), kWorkers, ...kPeer, kPort], name, 'af_xdp');
  try {
    await program.waitFor(/^running/m, kStartMs);
    await program.ask('round 1', kStartMs); // the first one opens the stacks
    for (const settings of allSettings) {
      const wrong = await round(program, name, settings);
      check(`${settings[0]}: every packet came by the queue of its worker`, wrong === 0, `${wrong} did not`);
    }
    // The other way round: nobody can be right when all come by one queue. They find their way.
    const wrong = await round(program, name, ['equal', '1']);
    check('all by one queue: those of the other worker are passed on', wrong > kConnections, String(wrong));
    check('nothing on stderr', program.stderr === '', program.stderr);
  } finally {
    await program.stop();
  }
}

/** What the driver counted: packets that its XDP program sent to a socket, by queue. */
async function redirected(name) {
  const text = await must('ethtool', ['-S', name]);
  return Array.from({ length: kWorkers }, (_, queue) =>
    Number(new RegExp(`rx_queue_${queue}_xdp_redirects: (\\d+)`).exec(text)?.[1]),
  );
}

/** One stack that reads both: it opens connections, and whichever queue the hash says, the answers come. */
async function oneStack(name, port) {
  console.log(`# one stack over ${port}`);
  await must('ethtool', ['-X', name, 'equal', String(kWorkers)]);
  const report = '/tmp/one-stack.json';
  const script = path.join(root, 'test/guest/apps/from-one.js');
  const more = { MILLRACE_QUEUES: String(kWorkers), MILLRACE_REPORT: report };
  const before = await redirected(name);
  const program = start([script, ...kPeer, kPort, 2 * kConnections], name, port, more);
  await program.finish(kStartMs);
  const seen = JSON.parse(program.stdout || '{}');
  check('no connection fails', seen.errors?.length === 0, program.describe());
  check('every answer came', seen.answers === 2 * kConnections * kPeer.length * kMessages, program.describe());
  const after = await redirected(name);
  const moved = after.map((count, queue) => count - before[queue]);
  check(
    'by both queues',
    moved.every((count) => count > kConnections),
    moved,
  );
  const { counters, ports } = JSON.parse(fs.readFileSync(report, 'utf8'));
  check('all of it was ours', counters.tcp.tcp_active_opens === 2 * kConnections * kPeer.length, counters.tcp);
  check('nothing on stderr', program.stderr === '', program.stderr);
  console.log(`# ${ports[0].mode}`);
}

async function main() {
  const name = interfaceOf('virtio_net');
  check('there is the device', name !== undefined, fs.readdirSync('/sys/class/net'));
  await setUp(name);
  const told = await must('ethtool', ['-x', name]);
  check('it tells a table for two queues, and a Toeplitz key', /with 2 RX ring[\s\S]*toeplitz: on/.test(told), told);
  await threads(name, [
    ['equal', '2'],
    ['hkey', key(0x6d)],
    ['weight', '1', '3'],
    ['hkey', key(0x1f)],
  ]);
  await oneStack(name, 'af_xdp');
  await oneStack(name, 'dpdk');
}

finish(main);
