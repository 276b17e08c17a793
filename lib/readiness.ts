/**
 * What the facts of machine.ts mean for each port: usable or not, why, and the command that mends each gap. Pure.
 */
import type { InterfaceFacts, MachineFacts } from './machine';

export interface Gap {
  /** error: the port cannot be used; warning: it can, with the consequence that is named. */
  readonly level: 'error' | 'warning';
  readonly what: string;
  /** What is missing, in a word: a capability by name, `interface`, `addon`, `platform`, `kernel`, `memlock`. */
  readonly missing: string;
  /** A command, or what to do where no command does it. */
  readonly mend: string;
}

export interface PortReadiness {
  readonly port: 'loopback' | 'af_xdp' | 'dpdk';
  readonly usable: boolean;
  /** One line. */
  readonly why: string;
  readonly gaps: readonly Gap[];
}

/** XDP programs on a bpf_link, which this package relies on to leave nothing behind. */
const KERNEL_MIN = [5, 9] as const;
/** What a veth or a driver with one page per frame takes under XDP. */
const MTU_MAX_BYTES = 3498;
/** The packet memory of one stack on an interface, with the defaults of `frames` and `frameBytes`. */
const MEMLOCK_MIN_BYTES = 64 * 1024 * 1024;

const NEEDED: readonly (readonly [string, string])[] = [
  ['CAP_NET_RAW', 'to open an AF_XDP socket'],
  ['CAP_NET_ADMIN', 'to attach the XDP program'],
  ['CAP_BPF', 'to load the XDP program'],
  ['CAP_PERFMON', 'because the XDP program reads packets by pointer'],
];

/** What CAP_SYS_ADMIN has in it, from the time before they were of their own. */
const WITHIN_SYS_ADMIN = new Set(['CAP_BPF', 'CAP_PERFMON']);

const GRANT = '+net_raw,+net_admin,+bpf,+perfmon,+ipc_lock';

/** Starts a command with the capabilities and without the rest of root. File capabilities on node would not do: then Node ignores NODE_OPTIONS. */
export const GRANT_COMMAND = `sudo setpriv --reuid "$(id -u)" --regid "$(id -g)" --init-groups --inh-caps ${GRANT} --ambient-caps ${GRANT} -- npx millrace run ...`;

/** The readiness of each port. `named`: the interfaces that were named, none if none were. */
export function readiness(machine: MachineFacts, named: readonly string[]): PortReadiness[] {
  const common = commonGaps(machine);
  return [
    conclude('loopback', common, 'sockets of one process reach each other'),
    conclude('af_xdp', [...common, ...xdpGaps(machine, named)], describeNamed(machine, named)),
    conclude('dpdk', [...common, ...dpdkGaps(machine)], 'a device of DPDK that is named'),
  ];
}

function conclude(port: PortReadiness['port'], gaps: readonly Gap[], good: string): PortReadiness {
  const errors = gaps.filter((gap) => gap.level === 'error');
  const why = errors.length === 0 ? good : errors.map((gap) => gap.what).join('; ');
  return { port, usable: errors.length === 0, why, gaps };
}

function describeNamed(machine: MachineFacts, named: readonly string[]): string {
  const used = machine.interfaces.filter((one) => named.includes(one.name));
  return used.map((one) => `${one.name} (${one.driver || 'unknown driver'}, ${one.rxQueues} queues)`).join(', ');
}

function commonGaps(machine: MachineFacts): Gap[] {
  if (machine.platform !== 'linux') {
    const what = `this is ${machine.platform}, not Linux`;
    return [
      { level: 'error', what, missing: 'platform', mend: 'run the program on Linux; elsewhere it runs on the kernel' },
    ];
  }
  if (machine.addon.problem === null) return [];
  const what = `the addon does not load: ${machine.addon.problem}`;
  return [{ level: 'error', what, missing: 'addon', mend: 'npm rebuild millrace' }];
}

function xdpGaps(machine: MachineFacts, named: readonly string[]): Gap[] {
  if (machine.platform !== 'linux') return [];
  const gaps: Gap[] = [];
  const [major = 0, minor = 0] = machine.kernel.split('.').map((part) => Number.parseInt(part, 10));
  if (major < KERNEL_MIN[0] || (major === KERNEL_MIN[0] && minor < KERNEL_MIN[1])) {
    const what = `kernel ${machine.kernel} is older than ${KERNEL_MIN.join('.')}`;
    gaps.push({ level: 'error', what, missing: 'kernel', mend: 'run a newer kernel' });
  }
  gaps.push(...capabilityGaps(machine), ...interfaceGaps(machine, named));
  return gaps;
}

/** What a device needs is its driver's to say: it says it when it is opened. */
function dpdkGaps(machine: MachineFacts): Gap[] {
  if (machine.platform !== 'linux' || machine.dpdkBuilt) return [];
  const mend = 'sudo apt-get install libdpdk-dev pkg-config && npm rebuild millrace --build-from-source';
  return [{ level: 'error', what: 'port dpdk is not built', missing: 'dpdk', mend }];
}

function capabilityGaps(machine: MachineFacts): Gap[] {
  const isAdmin = machine.capabilities.includes('CAP_SYS_ADMIN');
  const has = (name: string) => machine.capabilities.includes(name) || (WITHIN_SYS_ADMIN.has(name) && isAdmin);
  const gaps: Gap[] = NEEDED.filter(([name]) => !has(name)).map(([name, why]) => {
    return { level: 'error', what: `${name} is missing (${why})`, missing: name, mend: GRANT_COMMAND };
  });
  if (!has('CAP_IPC_LOCK') && machine.memlockBytes < MEMLOCK_MIN_BYTES) {
    const what = `only ${machine.memlockBytes} bytes of memory may be locked and CAP_IPC_LOCK is missing`;
    const mend = `ulimit -l unlimited (as root, or LimitMEMLOCK=infinity in the unit), or ${GRANT_COMMAND}`;
    gaps.push({ level: 'error', what, missing: 'CAP_IPC_LOCK', mend });
  }
  if (machine.seccomp && gaps.length === 0) {
    const what = 'a seccomp filter is active and may refuse the bpf system call';
    const mend =
      'docker run --cap-add=NET_RAW --cap-add=NET_ADMIN --cap-add=BPF --cap-add=PERFMON --cap-add=IPC_LOCK --security-opt seccomp=unconfined ...';
    gaps.push({ level: 'warning', what, missing: 'bpf', mend });
  }
  return gaps;
}

function interfaceGaps(machine: MachineFacts, named: readonly string[]): Gap[] {
  const existing = machine.interfaces.map((one) => one.name);
  if (named.length === 0) {
    const candidates = machine.interfaces.filter((one) => one.name !== 'lo').map((one) => one.name);
    const mend =
      candidates.length === 0
        ? 'ip link'
        : `--interface ${candidates.join(' or --interface ')} (or MILLRACE_INTERFACE)`;
    return [{ level: 'error', what: 'no interface is named', missing: 'interface', mend }];
  }
  return named.flatMap((name) => {
    const facts = machine.interfaces.find((one) => one.name === name);
    if (facts !== undefined) return gapsOfOne(facts);
    const what = `there is no interface '${name}'; those that exist: ${existing.join(', ') || 'none'}`;
    return [
      { level: 'error', what, missing: 'interface', mend: `--interface with one of: ${existing.join(', ')}` } as const,
    ];
  });
}

function gapsOfOne(facts: InterfaceFacts): Gap[] {
  const gaps: Gap[] = [];
  const { name } = facts;
  if (name === 'lo') {
    const what = 'lo carries only what the kernel sends to itself';
    gaps.push({
      level: 'error',
      what,
      missing: 'interface',
      mend: '--port loopback for connections within the program',
    });
  }
  if (!facts.up)
    gaps.push({
      level: 'error',
      what: `${name} is down`,
      missing: 'interface',
      mend: `sudo ip link set dev ${name} up`,
    });
  if (facts.xdpProgram !== null) {
    // A warning only: the link of a process that was killed a moment ago is on its way out.
    const what = `${name} already has an XDP program (id ${facts.xdpProgram}); unless it is another millrace's, attaching ours will be refused`;
    const mend = `sudo ip link set dev ${name} xdp off (see first whose it is: sudo bpftool prog show id ${facts.xdpProgram})`;
    gaps.push({ level: 'warning', what, missing: 'xdp', mend });
  }
  if (facts.mtuBytes > MTU_MAX_BYTES && name !== 'lo') {
    const what = `${name} has an MTU of ${facts.mtuBytes} bytes; many drivers refuse XDP above ${MTU_MAX_BYTES}`;
    gaps.push({ level: 'warning', what, missing: 'mtu', mend: `sudo ip link set dev ${name} mtu 1500` });
  }
  if (facts.driver === 'veth' && facts.txChecksumOffload !== false) {
    const what = `${name} is a veth: its peer may send frames with unfinished checksums and 64 KiB segments`;
    const mend = `at the other end: sudo ethtool -K <peer of ${name}> tx off tso off gso off`;
    gaps.push({ level: 'warning', what, missing: 'offload', mend });
  }
  return gaps;
}
