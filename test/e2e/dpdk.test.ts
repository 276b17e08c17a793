// SPDX-License-Identifier: MIT
// Port dpdk with devices that need no card: the driver for AF_XDP behind our own XDP program, memif between two
// programs that both run millrace, the whole of an interface with the exception path, and what goes wrong.

import { rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import t from 'tap';
import {
  app,
  example,
  type Job,
  type Lab,
  lab,
  type Mode,
  makeCertificates,
  mode,
  type NodeJob,
  patternHash,
  sleep,
  stopAndReport,
  talk,
} from './support/context';
import { cannotRunDpdk, device, overXdp } from './support/dpdk';

const skip =
  mode === 'kernel'
    ? 'there is nothing of DPDK under plain Node'
    : cannotRunDpdk('bash', 'busybox', 'curl', 'nc', 'nstat', 'openssl', 'ping', 'sha256sum');
t.setTimeout(300_000);
const STARTS = { readyTimeoutMs: 30000 };
/** For an answer, on a machine that is busy with other things. */
const PATIENCE_MS = 20_000;

const programOn = async (home: Lab): Promise<boolean> =>
  (await home.must(home.mill, 'ip', ['-d', 'link', 'show', 'dev', home.mill.interface])).includes('prog/xdp');

async function fetches(home: Lab, side: Lab['mill'], url: string): Promise<string> {
  return (await home.run(side, 'curl', ['-s', '-g', '-m', '10', url], { timeoutMs: 20000 })).stdout;
}

t.test('net_af_xdp: our own program in front, the kernel beside', { skip }, async (t) => {
  const home = await lab(t);
  const server = await home.node(mode, example('http-server'), [8080], { options: device(overXdp(home)), ...STARTS });
  for (const host of [home.mill.ipv4, `[${home.mill.ipv6}]`]) {
    t.equal(await fetches(home, home.peer, `http://${host}:8080/`), 'Hello, world\n', host);
  }
  await home.must(home.peer, 'ping', ['-c', '1', '-W', '2', home.mill.ipv4]);
  t.ok(await programOn(home), 'a program is attached');
  const stats = await home.liveStats(server);
  t.match(JSON.stringify(stats), /"tcp_passive_opens":2\b/, 'both connections were ours');
  server.kill('SIGKILL');
  await server.exit;
  for (let i = 0; i < 50 && (await programOn(home)); i++) await sleep(100);
  t.notOk(await programOn(home), 'kill -9 leaves no program');
  const again = await home.node(mode, example('http-server'), [8080], { options: device(overXdp(home)), ...STARTS });
  t.equal(
    await fetches(home, home.peer, `http://${home.mill.ipv4}:8080/`),
    'Hello, world\n',
    'and the next one starts',
  );
  await stopAndReport(t, home, again);
});

t.test('net_memif: two programs, no kernel in between', { skip }, async (t) => {
  const home = await lab(t);
  const socket = path.join(home.folder, 'memif.sock');
  const end = (role: 'server' | 'client', own: number, other: number): Record<string, string> =>
    device(`--vdev=net_memif0,role=${role},socket=${socket},socket-abstract=no,mac=02:00:00:00:00:0${own}`, {
      MILLRACE_DPDK_ADDRESS: `10.88.0.${own}/24,fd88::${own}/64`,
      MILLRACE_DPDK_NEIGHBORS: [`10.88.0.${other}`, `fd88::${other}`]
        .map((address) => `${address}=02:00:00:00:00:0${other}`)
        .join(','),
    });
  /** One program after another at the client's end, to its end; what it printed. */
  const ask = async (script: string, args: (string | number)[]): Promise<object> => {
    const client = await home.node(mode, app(script), args, {
      options: end('client', 2, 1),
      side: home.peer,
      ready: null,
    });
    await client.finish(60000);
    t.equal(client.stderr, '', `${script} ${args.join(' ')}: nothing on stderr`);
    return JSON.parse(client.stdout || '{}') as object;
  };
  const { ca, key, cert } = makeCertificates(home);
  const bytes = 10e6;
  const whole = { status: 200, bytes, sha256: patternHash(bytes, 'memif') };
  for (const [scheme, more] of [
    ['http', []],
    ['https', [key, cert]],
  ] as const) {
    const server = await home.node(mode, app('files'), [8080, '::', ...more], {
      options: end('server', 1, 2),
      ...STARTS,
    });
    const trust = scheme === 'https' ? [ca, 'lab.test'] : [];
    const hosts = scheme === 'https' ? ['[fd88::1]'] : ['10.88.0.1', '[fd88::1]'];
    for (const host of hosts) {
      const url = `${scheme}://${host}:8080`;
      const small = await ask('http-client', [`${url}/`, 100, 4, ...trust]);
      t.match(small, { count: 100, distinct: [{ status: 200, bytes: 13 }] }, `${url}: small answers`);
      const big = await ask('http-client', [`${url}/file?bytes=${bytes}&seed=memif`, 4, 2, ...trust]);
      t.match(big, { count: 4, distinct: [whole] }, `${url}: ${bytes / 1e6} MB, every byte`);
    }
    const stats = await stopAndReport(t, home, server);
    const opens = new RegExp(`"tcp_passive_opens":${6 * hosts.length}\\b`);
    t.match(JSON.stringify(stats), opens, `${scheme}: every connection came by memif`);
    rmSync(socket, { force: true });
  }
  const echo = await home.node(mode, example('udp-echo'), [9001, '::'], { options: end('server', 1, 2), ...STARTS });
  for (const host of ['10.88.0.1', 'fd88::1']) {
    for (const size of [64, 1400]) {
      // Not one is lost, though the link comes up after the program, which sends nothing again.
      const answered = await ask('udp-client', [host, 9001, 1000, size, PATIENCE_MS]);
      t.match(answered, { received: 1000, wrong: 0, duplicates: 0 }, `${host}: datagrams of ${size} bytes`);
    }
  }
  await stopAndReport(t, home, echo);
  rmSync(socket, { force: true });
  // A server that starts anew is found again, which the driver does not do by itself.
  const serve = (): Promise<NodeJob> =>
    home.node(mode, example('tcp-echo'), [7000, '::'], { options: end('server', 1, 2), ...STARTS });
  const first = await serve();
  const options = { options: end('client', 2, 1), side: home.peer, ready: /open/, ...STARTS };
  const knocker = await home.node(mode, app('knocker'), ['10.88.0.1', 7000], options);
  first.kill('SIGKILL');
  await first.exit;
  await sleep(1500); // the client has looked for it in vain
  rmSync(socket, { force: true });
  const second = await serve();
  await knocker.waitFor(/open/, PATIENCE_MS, knocker.stdout.length);
  t.equal(knocker.stderr, '', 'the client goes on');
  await knocker.stop();
  await stopAndReport(t, home, second);
});

t.test('net_tap: the driver writes checksums, and the kernel takes them', { skip }, async (t) => {
  const home = await lab(t);
  const { mill } = home;
  const options = device('--vdev=net_tap0,iface=dtap0,mac=02:00:00:00:00:01', {
    MILLRACE_DPDK_ADDRESS: '10.89.0.1/24,fd89::1/64',
    MILLRACE_DPDK_NEIGHBORS: '10.89.0.2=02:00:00:00:00:02,fd89::2=02:00:00:00:00:02',
  });
  const server = await home.node(mode, app('files'), [8080, '::'], { options, ...STARTS });
  await home.must(mill, 'sysctl', ['-qw', 'net.ipv6.conf.dtap0.accept_dad=0']);
  for (const args of [
    ['link', 'set', 'dtap0', 'address', '02:00:00:00:00:02'],
    ['addr', 'add', '10.89.0.2/24', 'dev', 'dtap0'],
    ['-6', 'addr', 'add', 'fd89::2/64', 'dev', 'dtap0', 'nodad'],
    ['neigh', 'replace', '10.89.0.1', 'lladdr', '02:00:00:00:00:01', 'dev', 'dtap0'],
    ['neigh', 'replace', 'fd89::1', 'lladdr', '02:00:00:00:00:01', 'dev', 'dtap0'],
  ]) {
    await home.must(mill, 'ip', args);
  }
  const bytes = 30e6;
  const before = await home.must(mill, 'nstat', ['-asz']);
  for (const host of ['10.89.0.1', '[fd89::1]']) {
    const got = await home.run(mill, 'bash', [
      '-c',
      `curl -sS -g -m 60 'http://${host}:8080/file?bytes=${bytes}&seed=tap' | sha256sum`,
    ]);
    t.equal(got.stdout.split(' ')[0], patternHash(bytes, 'tap'), `${host}: every byte ${got.stderr}`);
  }
  const after = await home.must(mill, 'nstat', ['-asz']);
  const errors = (text: string): string[] => text.split('\n').filter((line) => /InCsumErrors|InHdrErrors/.test(line));
  t.same(errors(after), errors(before), 'the kernel found no wrong checksum');
  const stats = await stopAndReport(t, home, server);
  t.match(JSON.stringify(stats), /sent ones by device, segments by software/, 'the driver wrote them');
});

t.test("what DPDK opened is no child's", { skip }, async (t) => {
  const home = await lab(t);
  const socket = path.join(home.folder, 'memif.sock');
  /** The numbers of a child's descriptors. */
  const inherited = async (how: Mode, options: Record<string, string>): Promise<string[]> => {
    const parent = await home.node(how, app('parent'), [8080], { options, ...STARTS, ready: /^done$/m });
    await parent.stop();
    return [...parent.stdout.matchAll(/ (\d+) -> (?!\/proc)/g)].map((match) => match[1] as string).sort();
  };
  const plain = await inherited('kernel', {});
  t.ok(plain.length >= 3);
  for (const vdev of ['net_tap0,iface=dtap0', `net_memif0,role=server,socket=${socket},socket-abstract=no`]) {
    const options = device(`--vdev=${vdev}`, { MILLRACE_DPDK_ADDRESS: '10.89.0.1/24' });
    t.same(await inherited(mode, options), plain, `${vdev.split(',')[0]}: a child has what it has under plain Node`);
  }
});

t.test('a whole interface: what is not ours goes to the kernel by a tap, and back', { skip }, async (t) => {
  const home = await lab(t);
  const { mill, peer } = home;
  await home.must(mill, 'ip', ['addr', 'flush', 'dev', mill.interface]);
  const options = device(overXdp(home), {
    MILLRACE_DPDK_TAP: 'kernel0',
    MILLRACE_DPDK_ADDRESS: `${mill.ipv4}/16,${mill.ipv6}/64`,
  });
  const server = await home.node(mode, example('http-server'), [8080], { options, ...STARTS });
  for (const host of [mill.ipv4, `[${mill.ipv6}]`]) {
    t.equal(await fetches(home, peer, `http://${host}:8080/`), 'Hello, world\n', host);
  }
  for (const host of [mill.ipv4, mill.ipv6]) {
    t.equal((await home.run(peer, 'ping', ['-c', '2', '-W', '2', host], {})).code, 0, `ping ${host}`);
  }
  t.equal((await home.run(mill, 'ping', ['-c', '2', '-W', '2', peer.ipv4], {})).code, 0, 'ping from here');
  const kernel = await home.node('kernel', example('tcp-echo'), [2222]);
  const bytes = 'through the kernel '.repeat(20_000);
  const echoed = await home.run(peer, 'nc', ['-N', '-w', '10', mill.ipv4, '2222'], { input: bytes, timeoutMs: 30000 });
  t.ok(echoed.stdout === bytes, 'a service of the kernel answers while ours runs');
  await kernel.stop();
  const stats = await stopAndReport(t, home, server);
  t.match(JSON.stringify(stats), /"tcp_passive_opens":2\b/, 'ours were two');
});

/** The address goes when it is not renewed. */
const DHCP_SCRIPT = `#!/bin/sh
case $1 in
  bound|renew)
    ip addr replace "$ip/16" dev "$interface" valid_lft "$lease" preferred_lft "$lease"
    echo "$1 $ip for $lease s" ;;
  deconfig) ip -4 addr flush dev "$interface" ;;
esac
`;
/** As short as udhcpc takes it. */
const LEASE_SECONDS = 30;

/** A DHCP server at the peer, a client on the kernel's interface here. */
function startDhcp(home: Lab): Job {
  const { mill, peer } = home;
  const [leases, pid, script, settings] = ['leases', 'pid', 'script', 'udhcpd.conf'].map((name) => home.file(name));
  writeFileSync(leases as string, '');
  writeFileSync(script as string, DHCP_SCRIPT, { mode: 0o755 });
  const lines = [
    ...[`interface ${peer.interface}`, `start ${mill.ipv4}`, `end ${mill.ipv4}`, 'max_leases 1', 'min_lease 1'],
    ...['option subnet 255.255.0.0', `option lease ${LEASE_SECONDS}`, `lease_file ${leases}`, `pidfile ${pid}`],
  ];
  writeFileSync(settings as string, `${lines.join('\n')}\n`);
  home.spawn(peer, 'busybox', ['udhcpd', '-f', settings as string]);
  return home.spawn(mill, 'busybox', ['udhcpc', '-f', '-i', 'kernel0', '-s', script as string, '-t', '50', '-T', '1']);
}

t.test("the kernel's life on a whole interface: DHCP, and a session that lasts", { skip }, async (t) => {
  const home = await lab(t);
  const { mill, peer } = home;
  const echoes = (session: Job): number => Number(/echoes (\d+)\.\s*$/.exec(session.stdout)?.[1] ?? Number.NaN);
  await home.must(mill, 'ip', ['addr', 'flush', 'dev', mill.interface]);
  // A tap that stays: the kernel keeps its interface while no program has the device.
  await home.must(mill, 'ip', ['tuntap', 'add', 'dev', 'kernel0', 'mode', 'tap']);
  const options = device(overXdp(home), { MILLRACE_DPDK_TAP: 'kernel0' });
  let server = await home.node(mode, example('http-server'), [8080], { options, ...STARTS });
  const dhcp = startDhcp(home);
  await dhcp.waitFor(/^bound 10\.77\.0\.1 /m, 30000);
  t.equal(await fetches(home, peer, `http://${mill.ipv4}:8080/`), 'Hello, world\n', 'by the address that DHCP gave');
  const kernel = await home.node('kernel', example('tcp-echo'), [2222]);
  const session = home.spawn(peer, talk(), ['session', mill.ipv4, '2222']);
  await session.waitFor(/echoes \d+\./, 30000);
  const renewed = async (): Promise<void> => {
    const said = dhcp.stdout.length;
    dhcp.kill('SIGUSR1'); // it need not wait for half the time
    await dhcp.waitFor(/^renew /m, 30000, said);
  };
  await renewed();
  const goesOn = async (what: string): Promise<void> => {
    const before = echoes(session);
    for (let i = 0; i < 300 && !(echoes(session) > before + 5); i++) await sleep(100);
    t.ok(echoes(session) > before + 5, what);
  };
  await goesOn('a session of the kernel while ours serves');
  const noted = ['10.77.9.9', 'lladdr', '02:00:00:00:00:09', 'dev', 'kernel0', 'nud', 'permanent'];
  await home.ip(mill, ['neigh', 'replace', ...noted]);
  await stopAndReport(t, home, server);
  server = await home.node(mode, example('http-server'), [8080], { options, ...STARTS });
  await goesOn('and outlives the program, which starts anew');
  const neighbours = await home.ip(mill, ['neigh', 'show', 'dev', 'kernel0']);
  t.match(neighbours, /^10\.77\.9\.9 lladdr 02:00:00:00:00:09 PERMANENT/m, 'and so does a neighbour that was noted');
  await renewed();
  t.notMatch(dhcp.stderr, /lease lost/, 'the address was never given back');
  t.equal(await fetches(home, peer, `http://${mill.ipv4}:8080/`), 'Hello, world\n', 'by which it serves again');
  await home.must(peer, 'ping', ['-c', '1', '-W', '5', mill.ipv4]);
  await kernel.stop();
  await stopAndReport(t, home, server);
});

t.test('what goes wrong is said in one line, and the program runs on the kernel', { skip }, async (t) => {
  const home = await lab(t);
  const cases: [string, Record<string, string>, RegExp][] = [
    ['no such driver', device('--vdev=net_nosuch0'), /DPDK/],
    ['no device named', device('-l 0'), /no DPDK device is named: give --vdev/],
    ['an argument that DPDK does not know', device('--vdev=net_null0 --nonsense'), /DPDK does not start/],
    ['no such interface', device('--vdev=net_af_xdp0,iface=nothere'), /DPDK/],
    ['more queues than there are', device(overXdp(home), { MILLRACE_QUEUES: '4' }), /has 1 receive queues, not 4/],
    [
      'several devices',
      device('--vdev=net_null0 --vdev=net_null1', { MILLRACE_DPDK_ADDRESS: '10.88.0.1/24' }),
      /several devices \(net_null0, net_null1\): name one with MILLRACE_DPDK_DEVICE/,
    ],
    [
      'a device that is not there',
      device('--vdev=net_null0', { MILLRACE_DPDK_DEVICE: 'net_null7' }),
      /no DPDK device "net_null7"; those there are: net_null0/,
    ],
    ['no addresses for it', device('--vdev=net_null0'), /MILLRACE_DPDK_TAP, or give our addresses/],
    [
      'no memory',
      device('--vdev=net_null0 --no-huge -m 16', { MILLRACE_DPDK_ADDRESS: '10.88.0.1/24' }),
      /no memory for \d+ packet buffers/,
    ],
    ['a card without huge pages', device('-a 0000:00:1f.7'), /huge pages|none of the devices/],
  ];
  for (const [what, options, said] of cases) {
    const server = await home.node(mode, example('http-server'), [8080], {
      options: { ...options, MILLRACE_REQUIRE: '0' },
      ...STARTS,
    });
    t.match(server.stderr, /^(?:.*\n)*millrace: sockets stay with the kernel: .*\n/, `${what}: one line`);
    t.match(server.stderr, said, what);
    t.equal(await fetches(home, home.peer, `http://${home.mill.ipv4}:8080/`), 'Hello, world\n', `${what}: it serves`);
    await server.stop();
  }
});

t.test('a device that is taken away does not take the program along', { skip }, async (t) => {
  const home = await lab(t);
  const server = await home.node(mode, example('http-server'), [8080], { options: device(overXdp(home)), ...STARTS });
  t.equal(await fetches(home, home.peer, `http://${home.mill.ipv4}:8080/`), 'Hello, world\n');
  await home.must(home.mill, 'ip', ['link', 'del', home.mill.interface]);
  await sleep(500);
  t.equal(
    await fetches(home, home.mill, 'http://127.0.0.1:8080/'),
    'Hello, world\n',
    'the kernel still brings clients',
  );
  await server.stop();
  t.equal(server.signal, null, 'it ends as it is asked to');
});
