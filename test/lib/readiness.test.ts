import t from 'tap';
import type { InterfaceFacts, MachineFacts } from '../../lib/machine';
import { GRANT_COMMAND, readiness } from '../../lib/readiness';

const eth1: InterfaceFacts = {
  name: 'eth1',
  driver: 'ixgbe',
  up: true,
  mtuBytes: 1500,
  rxQueues: 4,
  txQueues: 4,
  xdpProgram: null,
  txChecksumOffload: true,
};

const good: MachineFacts = {
  platform: 'linux',
  arch: 'x64',
  kernel: '6.1.0-18-amd64',
  node: 'v20.0.0',
  addon: { file: '/x.node', origin: 'compiled', problem: null },
  capabilities: ['CAP_NET_ADMIN', 'CAP_NET_RAW', 'CAP_BPF', 'CAP_PERFMON'],
  memlockBytes: Number.POSITIVE_INFINITY,
  seccomp: false,
  interfaces: [{ ...eth1, name: 'lo', driver: '', mtuBytes: 65536 }, eth1],
  dpdkBuilt: true,
  hugePages: { total: 0, free: 0, sizeKib: 2048 },
};

function xdp(changes: Partial<MachineFacts>, named = ['eth1']) {
  return readiness({ ...good, ...changes }, named).find((port) => port.port === 'af_xdp')!;
}

function withInterface(changes: Partial<InterfaceFacts>) {
  return xdp({ interfaces: [{ ...eth1, ...changes }] });
}

t.test('a machine on which all is well', async (t) => {
  t.match(readiness(good, ['eth1']), [
    { port: 'loopback', usable: true, gaps: [] },
    { port: 'af_xdp', usable: true, gaps: [], why: 'eth1 (ixgbe, 4 queues)' },
    { port: 'dpdk', usable: true, gaps: [] },
  ]);
});

t.test('port dpdk is not built', async (t) => {
  t.match(readiness({ ...good, dpdkBuilt: false }, []).at(-1), {
    port: 'dpdk',
    usable: false,
    gaps: [{ missing: 'dpdk', mend: /apt-get install libdpdk-dev .*npm rebuild millrace/ }],
  });
});

t.test('each missing capability is named, with the command that grants it', async (t) => {
  const state = xdp({ capabilities: [] });
  t.equal(state.usable, false);
  t.same(
    state.gaps.map((gap) => gap.missing),
    ['CAP_NET_RAW', 'CAP_NET_ADMIN', 'CAP_BPF', 'CAP_PERFMON'],
  );
  t.match(state.why, /CAP_NET_RAW is missing.*CAP_NET_ADMIN is missing.*CAP_BPF is missing.*CAP_PERFMON is missing/);
  for (const gap of state.gaps) t.equal(gap.mend, GRANT_COMMAND);
  t.equal(
    xdp({ capabilities: ['CAP_NET_ADMIN', 'CAP_NET_RAW', 'CAP_SYS_ADMIN'] }).usable,
    true,
    'CAP_SYS_ADMIN has CAP_BPF and CAP_PERFMON in it',
  );
  t.equal(readiness({ ...good, capabilities: [] }, [])[0]?.usable, true, 'loopback needs none');
});

t.test('locked memory', async (t) => {
  t.match(xdp({ memlockBytes: 65536 }), { usable: false, gaps: [{ missing: 'CAP_IPC_LOCK', mend: /ulimit -l/ }] });
  t.equal(xdp({ memlockBytes: 65536, capabilities: [...good.capabilities, 'CAP_IPC_LOCK'] }).usable, true);
});

t.test('addon, platform and kernel', async (t) => {
  const broken = { ...good, addon: { file: null, origin: 'none', problem: 'no such file' } } as const;
  for (const port of readiness(broken, ['eth1'])) {
    t.match(
      port,
      { usable: false, gaps: [{ missing: 'addon', what: /no such file/, mend: 'npm rebuild millrace' }] },
      port.port,
    );
  }
  for (const port of readiness({ ...good, platform: 'darwin' }, [])) {
    t.match(port, { usable: false, why: /darwin, not Linux/, gaps: [{ missing: 'platform' }] }, port.port);
  }
  t.match(xdp({ kernel: '5.4.0-100-generic' }), { usable: false, gaps: [{ missing: 'kernel' }] });
  t.equal(xdp({ kernel: '5.10.0' }).usable, true);
});

t.test('interfaces', async (t) => {
  const unknown = xdp({}, ['eth7']);
  t.match(unknown, { usable: false, why: "there is no interface 'eth7'; those that exist: lo, eth1" });
  t.match(xdp({}, []), {
    usable: false,
    why: 'no interface is named',
    gaps: [{ mend: '--interface eth1 (or MILLRACE_INTERFACE)' }],
  });
  t.match(xdp({}, ['lo']), { usable: false, why: /lo carries only/ });
  t.match(withInterface({ up: false }), { usable: false, gaps: [{ mend: 'sudo ip link set dev eth1 up' }] });
  t.match(withInterface({ xdpProgram: 42 }), {
    usable: true,
    gaps: [{ level: 'warning', what: /id 42/, mend: /xdp off/ }],
  });
  t.match(withInterface({ mtuBytes: 9000 }), {
    usable: true,
    gaps: [{ level: 'warning', mend: 'sudo ip link set dev eth1 mtu 1500' }],
  });
  t.match(withInterface({ driver: 'veth' }), {
    usable: true,
    gaps: [{ level: 'warning', missing: 'offload', mend: /ethtool -K/ }],
  });
  t.same(withInterface({ driver: 'veth', txChecksumOffload: false }).gaps, []);
});

t.test('a container', async (t) => {
  t.match(xdp({ seccomp: true }), {
    usable: true,
    gaps: [{ level: 'warning', missing: 'bpf', mend: /--cap-add=BPF/ }],
  });
});
