// SPDX-License-Identifier: MIT
// In the guest: drivers of DPDK's own on emulated cards (e1000e, virtio-net), bound through vfio behind an IOMMU. They
// cannot share a card with the kernel, which gets what is not ours by a tap and answers by it. The peer is another card
// of the kernel's on the same wire. By tools/guest/parts.mjs; arguments name parts.
'use strict';

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { Job, run } = require('../../tools/lab/jobs.js');
const support = require('./support.js');

const { check, example, fetches, finish, goesOn, kSeconds, kStartMs, root, sendsDatagrams, talk, until } = support;
const kMill4 = '10.77.0.1';
const kMill6 = 'fd77::1';
const kPeer4 = '10.77.0.2';
const kPeer6 = 'fd77::2';
const kPeerSpace = 'peer';
const kTap = 'kernel0';
/** As short as udhcpc takes it; renewed at half the time. */
const kLeaseSeconds = 30;

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'cards-'));
const register = path.join(root, 'dist/compat/register.js');
const jobs = new Set();

function start(command, args, options = {}) {
  const job = new Job(command, args, options);
  jobs.add(job);
  return job;
}
const inPeer = (command, args) => ['ip', ['netns', 'exec', kPeerSpace, command, ...args]];
const startAtPeer = (command, args) => start(...inPeer(command, args));
const runAtPeer = (command, args, options = {}) => run(...inPeer(command, args), { timeoutMs: kStartMs, ...options });
/** What the shared checks know as a lab: everything is asked from the peer. */
const home = { run: (_side, command, args, options) => runAtPeer(command, args, options) };

async function startKernelService() {
  const service = start(talk(), ['serve', '2222']);
  await service.waitFor(/listening on/, kStartMs);
  return service;
}

// --- the cards

const kDevices = '/sys/bus/pci/devices';

/** PCI addresses by vendor and device, in their order. */
function cards(vendor, device) {
  const read = (address, name) => fs.readFileSync(path.join(kDevices, address, name), 'utf8').trim();
  const all = fs.readdirSync(kDevices).sort();
  return all.filter((address) => read(address, 'vendor') === vendor && read(address, 'device') === device);
}

function bindToVfio(address) {
  const base = path.join(kDevices, address);
  if (fs.existsSync(`${base}/driver`)) fs.writeFileSync(`${base}/driver/unbind`, address);
  fs.writeFileSync(`${base}/driver_override`, 'vfio-pci');
  fs.writeFileSync('/sys/bus/pci/drivers_probe', address);
}

function openPeer(address) {
  const [name] = fs.readdirSync(path.join(kDevices, address, 'net'));
  execFileSync('ip', ['netns', 'add', kPeerSpace]);
  execFileSync('ip', ['link', 'set', name, 'netns', kPeerSpace]);
  for (const args of [
    ['link', 'set', 'lo', 'up'],
    ['addr', 'add', `${kPeer4}/16`, 'dev', name],
    ['-6', 'addr', 'add', `${kPeer6}/64`, 'dev', name, 'nodad'],
    ['link', 'set', name, 'up'],
  ]) {
    execFileSync('ip', ['-n', kPeerSpace, ...args]);
  }
  return name;
}

// --- what runs on them

/** A server of HTTP and one of datagrams on the same port, in one program that has the card. */
async function startServers(card, more) {
  const report = path.join(folder, `report-${card.name}.json`);
  fs.rmSync(report, { force: true });
  const env = {
    ...process.env,
    MILLRACE_PORT: 'dpdk',
    MILLRACE_DPDK_ARGS: `-a ${card.address}`,
    MILLRACE_DPDK_TAP: kTap,
    MILLRACE_REQUIRE: '1',
    MILLRACE_REPORT: report,
    MILLRACE_DEBUG: process.env['DEBUG'] ?? '',
    ...more,
  };
  const args = ['--require', register, '--require', example('udp-echo'), example('http-server'), '8080'];
  const servers = start(process.execPath, args, { env });
  await servers.waitFor(/http listening on/, kStartMs);
  await servers.waitFor(/udp echo listening on/, kStartMs);
  // Another card had these addresses before.
  execFileSync('ip', ['-n', kPeerSpace, 'neigh', 'flush', 'all']);
  servers.report = report;
  return servers;
}

/** Ends it, as it is asked to, and gives what it counted. */
async function endServers(servers) {
  await servers.stop('SIGTERM', 20000);
  check('it ends as it is asked to', servers.signal === null, servers.describe());
  return JSON.parse(fs.readFileSync(servers.report, 'utf8'));
}

const kPing = ['-c', '2', '-i', '0.2', '-W', kSeconds];

async function pings(host) {
  const ping = await runAtPeer('ping', [...kPing, host]);
  check(`ping ${host} is answered by the kernel`, ping.code === 0, ping.stdout);
}

// --- the parts

/** Everything at once: ours over both families, the kernel's over the tap. */
async function exceptionPath(card) {
  const servers = await startServers(card, { MILLRACE_DPDK_ADDRESS: `${kMill4}/16,${kMill6}/64` });
  const kernel = await startKernelService();
  for (const host of [kMill4, kMill6]) {
    await fetches(home, null, host, 8080, servers);
    await sendsDatagrams(home, null, host, 8080, servers);
    await pings(host);
    const bytes = 'like ssh '.repeat(10_000);
    const echoed = await runAtPeer('nc', ['-N', '-w', kSeconds, host, '2222'], { input: bytes });
    const words = `${echoed.stdout.length} bytes ${echoed.stderr}`;
    check(`a service of the kernel's at ${host} goes on`, echoed.stdout === bytes, words);
  }
  for (const host of [kPeer4, kPeer6]) {
    const out = await run('ping', [...kPing, host], { timeoutMs: kStartMs });
    check(`ping ${host} from here`, out.code === 0, out.stdout);
  }
  await kernel.stop();
  if (card.name === 'e1000e') await unplug(card, servers);
  const stats = await endServers(servers);
  console.log(`# ${stats.ports[0].mode}`);
  const { tcp, udp } = stats.counters;
  check('two connections were ours', tcp.tcp_passive_opens === 2, stats.counters);
  check('and the datagrams', udp.udp_received > 20, udp);
}

/** QEMU takes the card away while it serves: the kernel asks for it, and gets it. */
async function unplug(card, servers) {
  console.log('# monitor: device_del card0');
  const gone = await until(() => !fs.existsSync(path.join(kDevices, card.address)), { looks: 600 });
  check('a card that is taken away is let go', gone, servers.describe());
  const tap = await until(() => !fs.existsSync(`/sys/class/net/${kTap}`));
  check("the kernel's interface on it is gone as well", tap);
  const said = /^millrace: DPDK device .* was taken away: .*\nmillrace: interface kernel0 is gone: .*\n$/;
  check('which is said, in a line for each', await until(() => said.test(servers.stderr)), servers.stderr);
  const got = await run('curl', ['-s', '-m', kSeconds, 'http://127.0.0.1:8080/'], { timeoutMs: kStartMs });
  check('the kernel still brings clients', got.stdout === 'Hello, world\n', servers.describe());
}

const kDhcpScript = `#!/bin/sh
case $1 in
  bound|renew)
    ip addr replace "$ip/16" dev "$interface" valid_lft "$lease" preferred_lft "$lease"
    echo "$1 $ip for $lease s" ;;
  deconfig) ip -4 addr flush dev "$interface" ;;
esac
`;

/** A DHCP server at the peer, a client on the tap: the address ends when it is not renewed. */
function startDhcp(peerName) {
  const at = (name) => path.join(folder, name);
  fs.writeFileSync(at('leases'), '');
  fs.writeFileSync(at('script'), kDhcpScript, { mode: 0o755 });
  const lines = [
    ...[`interface ${peerName}`, `start ${kMill4}`, `end ${kMill4}`, 'max_leases 1', 'min_lease 1'],
    ...['option subnet 255.255.0.0', `option lease ${kLeaseSeconds}`],
    ...[`lease_file ${at('leases')}`, `pidfile ${at('udhcpd.pid')}`],
  ];
  fs.writeFileSync(at('udhcpd.conf'), `${lines.join('\n')}\n`);
  const server = startAtPeer('busybox', ['udhcpd', '-f', at('udhcpd.conf')]);
  const client = start('busybox', ['udhcpc', '-f', '-i', kTap, '-s', at('script'), '-t', '50', '-T', '1']);
  return { server, client };
}

/**
 * The kernel's life goes on while we have its card: an address by DHCP, renewed; a session with a service of the
 * kernel's, which lasts while millrace starts anew.
 */
async function kernelsLife(card, peerName) {
  // A tap that stays: the kernel keeps its interface while no program has the card.
  execFileSync('ip', ['tuntap', 'add', 'dev', kTap, 'mode', 'tap']);
  try {
    let servers = await startServers(card);
    const dhcp = startDhcp(peerName);
    await dhcp.client.waitFor(/^bound /m, kStartMs);
    await fetches(home, null, kMill4, 8080, servers);
    await startKernelService();
    const session = startAtPeer(talk(), ['session', kMill4, '2222']);
    await session.waitFor(/echoes \d+\./, kStartMs);
    await dhcp.client.waitFor(/^renew .*\n(?:.*\n)*renew /m, kStartMs);
    const leases = dhcp.client.stdout.trim().split('\n');
    check(
      `the kernel's address was renewed twice`,
      leases.filter((line) => line.startsWith('renew')).length >= 2,
      leases,
    );
    check("a session of the kernel's lasts", await goesOn(session), session.describe());
    await fetches(home, null, kMill4, 8080, servers);
    await endServers(servers);
    servers = await startServers(card);
    check("a session of the kernel's outlives the program", await goesOn(session), session.describe());
    const before = dhcp.client.stdout.length;
    await dhcp.client.waitFor(/^(?:renew|bound) /m, kStartMs, before);
    await fetches(home, null, kMill4, 8080, servers);
    await pings(kMill4);
    check('and so does the address', dhcp.client.running, dhcp.client.describe());
    await endServers(servers);
  } finally {
    for (const job of [...jobs].reverse()) await job.stop();
    execFileSync('ip', ['tuntap', 'del', 'dev', kTap, 'mode', 'tap']);
  }
}

const kParts = ['virtio', 'e1000e', 'dhcp'];

async function main() {
  const wanted = process.argv.length > 2 ? process.argv.slice(2) : kParts;
  // Those behind a port come last.
  const [other, spare, e1000e] = cards('0x8086', '0x10d3');
  const [virtio] = cards('0x1af4', '0x1041');
  for (const address of [e1000e, spare, virtio]) bindToVfio(address);
  fs.writeFileSync('/proc/sys/vm/nr_hugepages', '256');
  const free = fs.readFileSync('/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages', 'utf8').trim();
  console.log(`# cards ${e1000e}, ${virtio}; ${free} huge pages`);
  const peerName = openPeer(other);
  const parts = {
    virtio: () => exceptionPath({ name: 'virtio', address: virtio }),
    e1000e: () => exceptionPath({ name: 'e1000e', address: e1000e }),
    dhcp: () => kernelsLife({ name: 'dhcp', address: spare }, peerName),
  };
  for (const name of wanted) {
    console.log(`# ${name}`);
    try {
      await parts[name]();
    } finally {
      for (const job of [...jobs].reverse()) await job.stop();
      jobs.clear();
    }
  }
}

finish(main);
