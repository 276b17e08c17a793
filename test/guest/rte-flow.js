// SPDX-License-Identifier: MIT
// In the guest: real rte_flow. DPDK's net_tap with remote= turns the rules into flower filters on a veth, so that the
// kernel and we share that interface as they would share a card. One program that needs a rule of each kind runs under
// millrace, on two queues; each rule is looked for in the kernel's own list of filters, with the packets that it
// counted. By tools/guest/parts.mjs.
'use strict';

const { openLab } = require('../../tools/lab/lab.js');
const support = require('./support.js');

const { app, check, example, fetches, goesOn, kSeconds, kStartMs, sendsDatagrams, talk, until } = support;
const kBlock = 64;
const kTap = 'dtap0';
const kQueues = 2;

function optionsFor(side) {
  return {
    MILLRACE_PORT: 'dpdk',
    MILLRACE_INTERFACE: side.interface,
    MILLRACE_QUEUES: String(kQueues),
    MILLRACE_DPDK_ARGS: `--vdev net_tap0,iface=${kTap},remote=${side.interface}`,
  };
}

const both = (side) => [side.ipv4, side.ipv6];

// --- the kernel's own list

/** The filters that the rules became: what they match, where it leads, how many packets each has taken. */
async function filters(home, device = home.mill.interface, parent = ['ingress']) {
  const list = await home.must(home.mill, 'tc', ['-j', '-s', 'filter', 'show', 'dev', device, ...parent]);
  const found = JSON.parse(list || '[]').filter(({ options }) => options?.keys !== undefined);
  return found.map(({ options: { keys, actions } }) => ({
    ...keys,
    packets: actions[0].stats?.packets ?? 0,
    queue: actions[0].queue_mapping,
    to: actions[0].to_dev,
  }));
}

const kKeys = ['ip_proto', 'src_ip', 'src_port', 'dst_ip', 'dst_port'];

/** The filter that matches just this. */
const find = (list, wanted) => list.find((filter) => kKeys.every((key) => filter[key] === wanted[key]));

const local = (ip_proto, dst_ip, dst_port) => ({ ip_proto, dst_ip, dst_port });
const flow = (src_ip, src_port, dst_ip, dst_port) => ({ ip_proto: 'tcp', src_ip, src_port, dst_ip, dst_port });

/** A rule is there, leads to us, and has taken packets. */
function checkRule(what, list, wanted) {
  const filter = find(list, wanted);
  check(`${what}: in the kernel's list, leading to us`, filter?.to === kTap, [wanted, ...list]);
  check(`${what}: it has counted packets`, (filter?.packets ?? 0) > 0, filter ?? 'no rule');
}

/** Blocks have no mask here but a rule for each port; all of a block lead to the same queue. */
function checkBlock(dst_ip, list, onTap, singles) {
  const outgoing = list.filter((one) => one.dst_ip === dst_ip && one.ip_proto === 'tcp' && one.src_port === undefined);
  const ports = outgoing.map((one) => one.dst_port).filter((port) => port !== undefined && !singles.includes(port));
  const first = Math.min(...ports);
  const whole = ports.length > 0 && ports.length % kBlock === 0 && first % kBlock === 0;
  check(`a rule for each port of a block, ${dst_ip}`, whole, ports);
  const counted = outgoing.filter((one) => ports.includes(one.dst_port) && one.packets > 0);
  check(`a port of the block, ${dst_ip}: it has counted packets`, counted.length > 0);
  const aimed = find(onTap, local('tcp', dst_ip, first));
  check('the block leads to its queue', aimed?.queue === Math.floor(first / kBlock) % kQueues, [first, aimed]);
}

async function nothingLeft(home, when) {
  await until(async () => (await filters(home)).length === 0);
  const left = await filters(home);
  check(`${when} leaves no rule`, left.length === 0, left);
}

// --- who answers

async function pings(home, host) {
  const ping = await home.run(home.peer, 'ping', ['-c', '2', '-i', '0.2', '-W', kSeconds, host], {});
  check(`ping ${host} is answered`, ping.code === 0, ping.stdout);
}

/** Sessions with a service of the kernel's that listens no more: one by each family. */
async function kernelSessions(home) {
  const service = home.spawn(home.mill, talk(), ['serve', '7100', '2']);
  await service.waitFor(/listening on/, kStartMs);
  const sessions = both(home.mill).map((host) => home.spawn(home.peer, talk(), ['session', host, '7100']));
  for (const session of sessions) await session.waitFor(/echoes \d+\./, kStartMs);
  return sessions;
}

async function main() {
  const home = await openLab();
  try {
    const kernels = await kernelSessions(home);
    await share(home, kernels);
    await killed(home);
  } finally {
    await home.close();
  }
}

async function share(home, kernels) {
  const { mill, peer } = home;
  // The strictest filter of the kernel's: what goes on to it by our tap has its way back by another interface.
  await home.must(mill, 'sysctl', ['-qw', 'net.ipv4.conf.all.rp_filter=1']);
  await home.spawn(peer, talk(), ['serve', '7000']).waitFor(/listening on/, kStartMs);
  await home.spawn(mill, talk(), ['serve', '2222']).waitFor(/listening on/, kStartMs);
  const ours = await home.node('millrace', app('everything'), both(peer), {
    options: optionsFor(mill),
    readyTimeoutMs: kStartMs,
  });

  const sessions = [];
  for (const [index, host] of both(mill).entries()) {
    await fetches(home, peer, host, 8080, ours);
    for (const port of [8080, 8144]) await sendsDatagrams(home, peer, host, port, ours);
    sessions.push(home.spawn(peer, talk(), ['session', host, '7100', String(30001 + index)]));
    await sessions[index].waitFor(/echoes \d+\./, kStartMs);
    await pings(home, host);
    const other = home.spawn(peer, talk(), ['session', host, '2222']);
    await other.waitFor(/echoes \d+\./, kStartMs).catch(() => {});
    check(`another port of ${host} is the kernel's`, await goesOn(other), other.describe());
    await other.stop();
  }
  await ours.waitFor(/no more/, kStartMs);
  await ours.waitFor(/udp4 ECONNREFUSED/, kStartMs);
  await until(() => ours.stdout.match(/^echoes to /gm)?.length === 4);
  check('four connections from here are answered', ours.stdout.match(/^echoes to /gm)?.length === 4, ours.describe());
  for (const session of [...sessions, ...kernels]) await goesOn(session);

  const list = await filters(home);
  const onTap = await filters(home, kTap, []);
  for (const [index, host] of both(mill).entries()) {
    const from = both(peer)[index];
    checkRule(`tcp to ${host} port 8080`, list, local('tcp', host, 8080));
    for (const port of [8080, 8144]) {
      checkRule(`udp to ${host} port ${port}`, list, local('udp', host, port));
      const aimed = find(onTap, local('udp', host, port));
      check('and it leads to its queue', aimed?.queue === Math.floor(port / kBlock) % kQueues, aimed ?? onTap);
    }
    checkRule(`a flow to ${host} from a listener that has gone`, list, flow(from, 30001 + index, host, 7100));
    check('whose rule has gone as well', find(list, local('tcp', host, 7100)) === undefined);
    checkRule(`a flow from ${host} port ${20001 + index}`, list, flow(from, 7000, host, 20001 + index));
    checkBlock(host, list, onTap, [8080]);
    check('a connection outlives its listener', await goesOn(sessions[index]), sessions[index].describe());
    check('one that the kernel had on that port goes on', await goesOn(kernels[index]), kernels[index].describe());
  }
  // The driver knows nothing of ICMP's types: all of it comes here, and goes on from here unless it is about us.
  checkRule(`icmp to ${mill.ipv4}`, list, { ip_proto: 'icmp', dst_ip: mill.ipv4 });
  check('ICMPv6 is left alone', !list.some((filter) => filter.ip_proto === 'icmpv6'), list);
  check('a refused datagram of IPv4 was an error', ours.stdout.includes('udp4 ECONNREFUSED'), ours.describe());
  // The kernel asks for its neighbour anew, and hears the answer.
  await home.must(mill, 'ip', ['-6', 'neigh', 'flush', 'dev', mill.interface]);
  const ping6 = await home.run(mill, 'ping', ['-c', '2', '-i', '0.2', '-W', kSeconds, peer.ipv6], {});
  check('neighbour discovery is left alone', ping6.code === 0, ping6.stdout);

  const stats = await home.finalStats(ours);
  const { steering, port } = stats.counters;
  console.log(`# ${stats.ports[0].mode}; ${port.rx_frames} frames in, ${port.tx_frames} out`);
  for (const kind of ['ours_flow', 'ours_local', 'ours_block', 'ours_icmp', 'kernel_flow', 'kernel_other']) {
    check(`${kind} counted packets`, steering[kind] > 0, steering);
  }
  check('no rule was refused', steering.rules_failed === 0, steering);
  await nothingLeft(home, 'an end');
  for (const session of kernels) {
    check("the kernel's go on when millrace has gone", await goesOn(session), session.describe());
  }
}

/** An end without a last word. */
async function killed(home) {
  const { mill, peer } = home;
  const options = { options: optionsFor(mill), readyTimeoutMs: kStartMs };
  const server = await home.node('millrace', example('http-server'), [8081], options);
  await fetches(home, peer, mill.ipv4, 8081, server);
  checkRule(`tcp to ${mill.ipv4} port 8081`, await filters(home), local('tcp', mill.ipv4, 8081));
  server.kill('SIGKILL');
  await server.exit;
  await nothingLeft(home, 'kill -9');
  await home.spawn(mill, talk(), ['serve', '8081']).waitFor(/listening on/, kStartMs);
  const session = home.spawn(peer, talk(), ['session', mill.ipv4, '8081']);
  await session.waitFor(/echoes \d+\./, kStartMs).catch(() => {});
  check("and the port is the kernel's again", await goesOn(session), session.describe());
}

support.finish(main);
