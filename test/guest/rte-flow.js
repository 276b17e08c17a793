// SPDX-License-Identifier: MIT
// In the guest: real rte_flow. DPDK's net_tap with remote= turns the rules into flower filters on a veth, so that the
// kernel and we share that interface as they would share a card. One line per check; ends with 1 if one failed.
// By tools/guest/dpdk.mjs.
'use strict';

const path = require('node:path');
const { openLab } = require('../../tools/lab/lab.js');
const { sleep } = require('../../tools/lab/jobs.js');

const root = path.resolve(__dirname, '../..');
const app = (name) => path.join(root, 'test/e2e/apps', `${name}.js`);
const example = (name) => path.join(root, 'examples', `${name}.js`);
const kStart = 60000;

let failed = 0;
function check(what, good, detail = '') {
  if (!good) failed++;
  const words = good || detail === '' ? '' : `\n  ${String(detail).replaceAll('\n', '\n  ')}`;
  console.log(`${good ? 'ok' : 'not ok'} ${what}${words}`);
}

function optionsFor(side, queues = 1) {
  return {
    MILLRACE_PORT: 'dpdk',
    MILLRACE_INTERFACE: side.interface,
    MILLRACE_QUEUES: String(queues),
    MILLRACE_DPDK_ARGS: `--vdev net_tap0,iface=dtap0,remote=${side.interface}`,
  };
}

/** The kernel's own list of the filters that the rules became, one text each. */
async function filters(home) {
  const list = await home.run(home.mill, 'tc', ['filter', 'show', 'dev', home.mill.interface, 'ingress'], {});
  return list.stdout.split(/(?=^filter )/m).filter((text) => text.includes('handle 0x'));
}

const has = (list, ...lines) => list.some((text) => lines.every((line) => text.includes(`${line}\n`)));

/** A connection that the kernel has: its listener is gone before millrace comes. */
const kKernelsOwn = `
  const server = require('node:net').createServer((socket) => {
    server.close();
    socket.pipe(socket);
    console.log('accepted');
  });
  server.listen(7000, '0.0.0.0', () => console.log('listening on 7000'));`;
const kPersistent = `
  const socket = require('node:net').connect(7000, process.argv[1]);
  let echoes = 0;
  setInterval(() => socket.write('x'), 100);
  socket.on('data', (data) => { echoes += data.length; console.log('echoes ' + echoes + '.'); });
  socket.on('error', (error) => console.log('broken ' + error.code));`;

async function serve(home) {
  const { mill, peer } = home;
  const old = home.spawn(mill, process.execPath, ['-e', kKernelsOwn]);
  await old.waitFor(/listening on/, kStart);
  const client = home.spawn(peer, process.execPath, ['-e', kPersistent, mill.ipv4]);
  await old.waitFor(/accepted/, kStart);
  await client.waitFor(/echoes \d+\./, kStart);

  const options = optionsFor(mill);
  const tcp = await home.node('millrace', example('tcp-echo'), [7000], { options, readyTimeoutMs: kStart });
  const list = await filters(home);
  check('isolated: only the rules of the port are on the interface', list.length === 2, list.join(''));
  check('a rule by address and port, IPv4', has(list, '  ip_proto tcp', `  dst_ip ${mill.ipv4}`, '  dst_port 7000'));
  check('a rule by address and port, IPv6', has(list, '  ip_proto tcp', `  dst_ip ${mill.ipv6}`, '  dst_port 7000'));
  for (const host of [mill.ipv4, mill.ipv6]) {
    const echoed = await home.run(peer, 'nc', ['-N', '-w', '5', host, '7000'], {
      input: 'through the card',
      timeoutMs: 20000,
    });
    check(
      `tcp echo over ${host}`,
      echoed.stdout === 'through the card',
      `${echoed.stdout} ${echoed.stderr} ${tcp.describe()}`,
    );
  }
  const before = Number(/echoes (\d+)\.\s*$/.exec(client.stdout)?.[1]);
  await sleep(1500);
  const after = Number(/echoes (\d+)\.\s*$/.exec(client.stdout)?.[1]);
  check(
    'a connection that the kernel had before goes on',
    after > before && !client.stdout.includes('broken'),
    client.stdout,
  );
  const ping = await home.run(peer, 'ping', ['-c', '2', '-W', '2', mill.ipv4], { timeoutMs: 20000 });
  check('ping is answered', ping.code === 0, ping.stdout);
  const kernel = home.spawn(mill, 'nc', ['-l', '-p', '2222']);
  await sleep(500);
  const other = await home.run(peer, 'nc', ['-N', '-w', '5', mill.ipv4, '2222'], {
    input: 'to the kernel',
    timeoutMs: 20000,
  });
  await kernel.stop();
  check("another port is the kernel's", other.code === 0 && kernel.stdout === 'to the kernel', kernel.stdout);
  await client.stop();
  await old.stop();
  const stats = await home.finalStats(tcp);
  const { steering, port, tcp: counters } = stats.counters;
  check('both connections were ours', counters.tcp_passive_opens === 2, JSON.stringify(counters));
  check("the kernel's flow was passed on", steering.kernel_flow > 0, JSON.stringify(steering));
  check('ping never came to us', steering.kernel_other === 0, JSON.stringify(steering));
  console.log(`# ${stats.ports[0].mode}; ${port.rx_frames} frames in, ${port.tx_frames} out`);
  await sleep(1000);
  check('nothing is left on the interface at the end', (await filters(home)).length === 0, await filters(home));
}

async function connect(home) {
  const { mill, peer } = home;
  const server = await home.node('kernel', example('http-server'), [8080], { side: peer, readyTimeoutMs: kStart });
  for (const host of [peer.ipv4, `[${peer.ipv6}]`]) {
    const client = await home.node('millrace', app('http-client'), [`http://${host}:8080/`, 6, 2], {
      options: optionsFor(mill),
      ready: null,
    });
    let most = [];
    while (client.running) {
      const now = await filters(home);
      if (now.length > most.length) most = now;
      await sleep(50);
    }
    const got = JSON.parse(client.stdout || '{}');
    check(`http client to ${host}`, got.count === 6, client.describe());
    check('a rule for each port of the block', most.length % 64 === 0 && most.length > 0, `${most.length} filters`);
    const stats = await home.finalStats(client);
    check(
      'taken by the block',
      (stats?.counters.steering.ours_block ?? 0) > 0,
      JSON.stringify(stats?.counters.steering),
    );
  }
  await server.stop();
}

async function datagrams(home) {
  const { mill, peer } = home;
  const options = optionsFor(mill, 2);
  const server = await home.node('millrace', example('udp-echo'), [9001], { options, readyTimeoutMs: kStart });
  const list = await filters(home);
  check(
    'a rule for datagrams, IPv4',
    has(list, '  ip_proto udp', `  dst_ip ${mill.ipv4}`, '  dst_port 9001'),
    list.join(''),
  );
  check('a rule for datagrams, IPv6', has(list, '  ip_proto udp', `  dst_ip ${mill.ipv6}`, '  dst_port 9001'));
  for (const host of [mill.ipv4, mill.ipv6]) {
    const client = await home.node('kernel', app('udp-client'), [host, 9001, 100, 200], { side: peer, ready: null });
    await client.finish(60000);
    const got = JSON.parse(client.stdout || '{}');
    check(`100 datagrams to ${host}, two queues`, got.received === 100 || got.echoes === 100, client.describe());
  }
  const live = await home.liveStats(server, 20000);
  check(
    'the device has two queues',
    live.ports === undefined || live.ports[0].queues === 2,
    JSON.stringify(live.ports),
  );
  server.kill('SIGKILL');
  await server.exit;
  for (let i = 0; i < 50 && (await filters(home)).length > 0; i++) await sleep(100);
  const left = await filters(home);
  check('kill -9 leaves no rule', left.length === 0, left.join(''));
  const kernel = await home.node('kernel', example('udp-echo'), [9001, '0.0.0.0'], { readyTimeoutMs: kStart });
  const client = await home.node('kernel', app('udp-client'), [mill.ipv4, 9001, 10, 100], { side: peer, ready: null });
  await client.finish(60000);
  check("and the port is the kernel's again", /"(?:received|echoes)":10\b/.test(client.stdout), client.describe());
  await kernel.stop();
}

async function main() {
  const parts = { serve, connect, datagrams };
  const wanted = process.argv.slice(2);
  for (const [name, part] of Object.entries(parts)) {
    if (wanted.length > 0 && !wanted.includes(name)) continue;
    console.log(`# ${name}`);
    const home = await openLab();
    try {
      await part(home);
    } catch (error) {
      check(name, false, error.stack);
    } finally {
      await home.close();
    }
  }
  console.log(failed === 0 ? '# all well' : `# ${failed} failed`);
  process.exitCode = failed === 0 ? 0 : 1;
}

void main();
