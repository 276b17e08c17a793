// SPDX-License-Identifier: MIT
// In the guest: real rte_flow. DPDK's net_tap with remote= turns the rules into flower filters on a veth, so that the
// kernel and we share that interface as they would share a card. Each kind of rule is looked for in the kernel's own
// list of filters, with the packets that it counted. By tools/guest/parts.mjs; arguments name parts.
'use strict';

const { openLab } = require('../../tools/lab/lab.js');
const { sleep } = require('../../tools/lab/jobs.js');
const support = require('./support.js');

const { app, check, e2eApp, example, goesOn, kSeconds, kStartMs, until } = support;
const kBlock = 64;
const kTap = 'dtap0';

function optionsFor(side, queues = 1) {
  return {
    MILLRACE_PORT: 'dpdk',
    MILLRACE_INTERFACE: side.interface,
    MILLRACE_QUEUES: String(queues),
    MILLRACE_DPDK_ARGS: `--vdev net_tap0,iface=${kTap},remote=${side.interface}`,
  };
}

/**
 * The kernel's own list of the filters that the rules became: what they match, how many packets each has taken, and the
 * queue that it sends them to (known on the tap only).
 */
async function filters(home, device = home.mill.interface, parent = ['ingress']) {
  const list = await home.run(home.mill, 'tc', ['-j', '-s', 'filter', 'show', 'dev', device, ...parent], {});
  const found = JSON.parse(list.stdout || '[]').filter(({ options }) => options?.keys !== undefined);
  return found.map(({ options: { keys, actions } }) => ({
    ...keys,
    packets: actions[0].stats?.packets ?? 0,
    queue: actions[0].queue_mapping,
    to: actions[0].to_dev,
  }));
}

/** The one filter that has these keys and no other part of a flow. */
function find(list, wanted) {
  const parts = ['ip_proto', 'src_ip', 'src_port', 'dst_ip', 'dst_port'];
  return list.find((filter) => parts.every((part) => filter[part] === wanted[part]));
}

const local = (ip_proto, dst_ip, dst_port) => ({ ip_proto, dst_ip, dst_port });
const both = (side) => [side.ipv4, side.ipv6];

/** A rule is there, leads to us, and has taken packets. */
function checkRule(what, list, wanted) {
  const filter = find(list, wanted);
  check(`${what}: in the kernel's list`, filter?.to === kTap, list);
  check(`${what}: its counter has packets`, (filter?.packets ?? 0) > 0, filter ?? 'no rule');
}

async function pings(home, host) {
  const ping = await home.run(home.peer, 'ping', ['-c', '2', '-i', '0.2', '-W', kSeconds, host], {});
  check(`ping ${host} is answered`, ping.code === 0, ping.stdout);
}

async function kernelServes(home, host) {
  const service = home.spawn(home.mill, 'nc', ['-l', host, '2222']);
  const listening = ['-Hltn', 'sport', '=', ':2222'];
  await until(async () => (await home.must(home.mill, 'ss', listening)) !== '');
  const input = { input: 'to the kernel', timeoutMs: kStartMs };
  const other = await home.run(home.peer, 'nc', ['-N', '-w', kSeconds, host, '2222'], input);
  await service.stop();
  check(`another port of ${host} is the kernel's`, service.stdout === input.input, [other, service.stdout]);
}

/** Two sessions with a service of the kernel's that listens no more: one by each family. */
async function kernelSessions(home, port) {
  const service = await home.node('kernel', app('last-connections'), [port, 2], { readyTimeoutMs: kStartMs });
  const sessions = both(home.mill).map((host) =>
    home.spawn(home.peer, process.execPath, [app('session'), host, String(port)]),
  );
  for (const session of sessions) await session.waitFor(/echoes \d+\./, kStartMs);
  return { service, sessions };
}

const stopped = async (jobs) => {
  for (const job of jobs) await job.stop();
};

async function nothingLeft(home) {
  const list = await until(async () => ((await filters(home)).length === 0 ? [] : null));
  check('nothing is left on the interface at the end', list !== null, await filters(home));
}

/** Local address and port for TCP, flows that the kernel had there before, ping and other ports of the kernel's. */
async function listen(home) {
  const { mill, peer } = home;
  const kernels = await kernelSessions(home, 7000);
  const options = { options: optionsFor(mill), readyTimeoutMs: kStartMs };
  const server = await home.node('millrace', example('tcp-echo'), [7000], options);
  for (const host of both(mill)) {
    const input = { input: 'through the card', timeoutMs: kStartMs };
    const echoed = await home.run(peer, 'nc', ['-N', '-w', kSeconds, host, '7000'], input);
    check(`tcp echo over ${host}`, echoed.stdout === input.input, `${echoed.stderr} ${server.describe()}`);
  }
  const list = await filters(home);
  for (const host of both(mill)) checkRule(`tcp to ${host} port 7000`, list, local('tcp', host, 7000));
  check('isolated: no other rule for a port is on the interface', list.filter((f) => f.dst_port).length === 2, list);
  for (const session of kernels.sessions) {
    check('a connection that the kernel had before goes on', await goesOn(session), session.describe());
  }
  for (const host of both(mill)) {
    await pings(home, host);
    await kernelServes(home, host);
  }
  const stats = await home.finalStats(server);
  const { steering, port, tcp } = stats.counters;
  check('both connections were ours', tcp.tcp_passive_opens === 2, tcp);
  check("the kernel's flows were passed on", steering.kernel_flow > 0, steering);
  console.log(`# ${stats.ports[0].mode}; ${port.rx_frames} frames in, ${port.tx_frames} out`);
  await nothingLeft(home);
  for (const session of kernels.sessions) {
    check('and goes on when millrace has gone', await goesOn(session), session.describe());
  }
  await stopped([...kernels.sessions, kernels.service]);
}

/** Exact flows: a socket that names its local port, and connections whose listener has gone. */
async function flows(home) {
  const { mill, peer } = home;
  const server = await home.node('kernel', example('tcp-echo'), [7000], { side: peer, readyTimeoutMs: kStartMs });
  for (const [index, host] of both(peer).entries()) {
    const bound = 20001 + index;
    const options = { options: optionsFor(mill), ready: /echoes [3-9]\./, readyTimeoutMs: kStartMs };
    const client = await home.node('millrace', app('session'), [host, 7000, bound], options);
    const flow = { ip_proto: 'tcp', src_ip: host, src_port: 7000, dst_ip: both(mill)[index], dst_port: bound };
    checkRule(`a connection from port ${bound} to ${host}`, await filters(home), flow);
    const stats = await home.finalStats(client);
    check('taken by its flow', stats.counters.steering.ours_flow > 0, stats.counters.steering);
  }
  await nothingLeft(home);
  await server.stop();
  const options = { options: optionsFor(mill), readyTimeoutMs: kStartMs };
  const last = await home.node('millrace', app('last-connections'), [7100, 2], options);
  const sessions = [];
  for (const host of both(mill)) {
    sessions.push(home.spawn(peer, process.execPath, [app('session'), host, '7100']));
    await sessions.at(-1).waitFor(/echoes \d+\./, kStartMs);
  }
  await last.waitFor(/no more/, kStartMs);
  for (const [index, session] of sessions.entries()) {
    check('a connection outlives its listener', await goesOn(session), session.describe());
    const [, from] = /connected from port (\d+)/.exec(session.stdout);
    const [src_ip, dst_ip] = [both(peer)[index], both(mill)[index]];
    const flow = { ip_proto: 'tcp', src_ip, src_port: Number(from), dst_ip, dst_port: 7100 };
    checkRule(`a connection of ${src_ip} without a listener`, await filters(home), flow);
    check("the listener's rule has gone", !find(await filters(home), local('tcp', dst_ip, 7100)));
  }
  const stats = await home.finalStats(last);
  check('taken by their flows', stats.counters.steering.ours_flow > 0, stats.counters.steering);
  await stopped(sessions);
  await nothingLeft(home);
}

/** Blocks of local ports of outgoing connections, over two queues. */
async function blocks(home) {
  const { mill, peer } = home;
  const server = await home.node('kernel', example('http-server'), [8080], { side: peer, readyTimeoutMs: kStartMs });
  for (const [index, host] of both(peer).entries()) {
    const url = `http://${index === 0 ? host : `[${host}]`}:8080/`;
    const options = { options: optionsFor(mill, 2), ready: null };
    const client = await home.node('millrace', e2eApp('http-client'), [url, 40, 2], options);
    let most = [];
    let onTap = [];
    while (client.running) {
      const now = await filters(home);
      const packets = (list) => list.reduce((sum, filter) => sum + filter.packets, 0);
      if (now.length > most.length || packets(now) > packets(most)) most = now;
      const queues = await filters(home, kTap, []);
      if (queues.length > onTap.length) onTap = queues;
      await sleep(20);
    }
    const got = JSON.parse(client.stdout || '{}');
    check(`http client to ${host}`, got.count === 40, client.describe());
    const dst_ip = both(mill)[index];
    const ports = most.filter((filter) => filter.dst_ip === dst_ip && filter.ip_proto === 'tcp');
    const first = Math.min(...ports.map((filter) => filter.dst_port));
    const whole = ports.length > 0 && ports.length % kBlock === 0 && first % kBlock === 0;
    check('a rule for each port of a block', whole, ports);
    const taken = ports.filter((filter) => filter.packets > 0);
    check('a counter of the block has packets', taken.length > 0, ports.slice(0, 3));
    const queue = Math.floor(first / kBlock) % 2;
    const aimed = onTap.filter((filter) => filter.dst_ip === dst_ip && filter.dst_port === first);
    check('the block leads to one queue of the two', aimed.length === 1 && aimed[0].queue === queue, aimed);
    const stats = await home.finalStats(client);
    check('taken by the block', stats.counters.steering.ours_block > 0, stats.counters.steering);
  }
  await server.stop();
  await nothingLeft(home);
}

/** Datagrams over two queues, and an end without a last word. */
async function datagrams(home) {
  const { mill, peer } = home;
  const options = { options: optionsFor(mill, 2), readyTimeoutMs: kStartMs };
  const server = await home.node('millrace', example('udp-echo'), [9001], options);
  for (const host of both(mill)) {
    const client = await home.node('kernel', e2eApp('udp-client'), [host, 9001, 100, 200], { side: peer, ready: null });
    await client.finish(kStartMs);
    const got = JSON.parse(client.stdout || '{}');
    check(`100 datagrams to ${host}`, got.received === 100 && got.wrong === 0, client.describe());
  }
  const list = await filters(home);
  for (const host of both(mill)) checkRule(`udp to ${host} port 9001`, list, local('udp', host, 9001));
  const live = await home.liveStats(server, kStartMs);
  check('the device has two queues', live.ports[0].queues === 2, live.ports);
  server.kill('SIGKILL');
  await server.exit;
  await nothingLeft(home);
  const kernel = await home.node('kernel', example('udp-echo'), [9001, '0.0.0.0'], { readyTimeoutMs: kStartMs });
  const args = [mill.ipv4, 9001, 10, 100];
  const client = await home.node('kernel', e2eApp('udp-client'), args, { side: peer, ready: null });
  await client.finish(kStartMs);
  check("and the port is the kernel's again", JSON.parse(client.stdout || '{}').received === 10, client.describe());
  await kernel.stop();
}

/**
 * ICMP errors. The driver cannot tell one ICMP message of IPv4 from another, so all come here, and what is not about us
 * goes on to the kernel; those of IPv6 it cannot have without the kernel's neighbour discovery.
 */
async function errors(home) {
  const { mill } = home;
  // The strictest filter of the kernel's: what comes in by our tap has its way back by another interface.
  await home.must(mill, 'sysctl', ['-qw', 'net.ipv4.conf.all.rp_filter=1']);
  const options = { options: optionsFor(mill), readyTimeoutMs: kStartMs };
  const [host4, host6] = both(home.peer);
  const told = await home.node('millrace', app('refused'), [host4, 9, 100], { ...options, ready: null });
  await told.finish(kStartMs);
  check('a refused datagram of IPv4 is an error', told.stdout === 'ECONNREFUSED\n', told.describe());
  const stats = await home.finalStats(told);
  check('taken because it quotes one of ours', stats.counters.steering.ours_icmp > 0, stats.counters.steering);
  const server = await home.node('millrace', example('http-server'), [8080], options);
  for (const host of both(mill)) await pings(home, host);
  checkRule(`icmp to ${mill.ipv4}`, await filters(home), { ip_proto: 'icmp', dst_ip: mill.ipv4 });
  const live = await home.liveStats(server, kStartMs);
  check('ping came here and went on to the kernel', live.counters.steering.kernel_other >= 2, live.counters.steering);
  // The kernel asks for its neighbour anew, and hears the answer.
  await home.must(mill, 'ip', ['-6', 'neigh', 'flush', 'dev', mill.interface]);
  const ping6 = await home.run(mill, 'ping', ['-c', '2', '-i', '0.2', '-W', kSeconds, host6], {});
  check('neighbour discovery is left alone', ping6.code === 0, ping6.stdout);
  await home.finalStats(server);
  await nothingLeft(home);
}

const kPrograms = [
  ['nc', '-h'],
  ['tc', '-V'],
  ['ss', '-V'],
  ['ping', '-c', '1', '127.0.0.1'],
];

support.warmUp(kPrograms).then(() =>
  support.runParts({ listen, flows, blocks, datagrams, errors }, process.argv.slice(2), async (part) => {
    const home = await openLab();
    try {
      await part(home);
    } finally {
      await home.close();
    }
  }),
);
