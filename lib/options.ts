/**
 * The one registry of options. Everything that reads, prints or documents options goes through it: variables, flags of
 * `millrace run`, millrace.config.json, `millrace options` and docs/options.md. How the sources are read and which one
 * wins is config.ts.
 */
import { CONGESTIONS } from './congestion';
import {
  choice,
  faults,
  file,
  integer,
  integerOrAuto,
  interfaces,
  isNeighbor,
  isPrefix,
  items,
  type Kind,
  text,
  toggle,
  ValueError,
} from './option-kinds';
import { compilePolicy, PolicyError, RULE_FORM } from './policy';

/** One option. Its name is its key in millrace.config.json and in {@link Options}. */
export interface OptionSpec<T> {
  readonly kind: Kind<T>;
  readonly default: T;
  /** The unit of a number, or ''. */
  readonly unit: string;
  /** One line. */
  readonly meaning: string;
}

function option<T>(kind: Kind<T>, standard: T, unit: string, meaning: string): OptionSpec<T> {
  return { kind, default: standard, unit, meaning };
}

function checkText(value: string): void {
  if (value.includes('\0')) throw new ValueError('holds a NUL');
}

function checkTap(value: string): void {
  if (!/^[\w.-]{0,15}$/.test(value)) throw new ValueError('no name of an interface');
}

function checkPolicy(value: string): void {
  try {
    compilePolicy(value);
  } catch (error) {
    if (error instanceof PolicyError) throw new ValueError(error.message, error.allowed);
    throw error;
  }
}

const BUFFER = { min: 4096, max: 67_108_864 };

/** The registry, in the order in which it is printed. */
export const REGISTRY = {
  enabled: option(toggle(), true, '', 'off: the program runs as under plain Node, whatever the other options say'),
  port: option(
    choice(['none', 'loopback', 'af_xdp', 'dpdk']),
    'none',
    '',
    'where accelerated packets go: loopback (sockets of this process among themselves, needs no privilege), af_xdp (the named interfaces), dpdk (a device of DPDK, see dpdkArgs), none (nothing is accelerated)',
  ),
  interface: option(
    interfaces(),
    [],
    '',
    'the interfaces to use, by name; naming one implies port af_xdp unless port is dpdk, and no other interface is ever touched; with dpdk: the interface that shares the device with the kernel',
  ),
  dpdkArgs: option(
    text('arguments', 'arguments of DPDK, separated by spaces: --vdev=... or -a <PCI address>, and more', checkText),
    '',
    '',
    'port dpdk: what DPDK is started with; --in-memory, --no-telemetry and (without a PCI address) --no-pci are added, and --no-huge where there are no huge pages',
  ),
  dpdkDevice: option(
    text('name', 'the name that DPDK has for the device', checkText),
    '',
    '',
    'port dpdk: which device, when the arguments name several',
  ),
  dpdkAddress: option(
    items('addresses', 'addresses with their prefix lengths, separated by commas: 10.0.0.1/24', isPrefix),
    '',
    '',
    'port dpdk: our addresses on a device that the kernel has no interface for; with dpdkTap they are given to that',
  ),
  dpdkNeighbors: option(
    items(
      'neighbours',
      'addresses with their link addresses, separated by commas: 10.0.0.2=02:00:00:00:00:02',
      isNeighbor,
    ),
    '',
    '',
    'port dpdk: the neighbours on the link of such a device, which nobody resolves',
  ),
  dpdkTap: option(
    text('name', 'the name of a tap interface, new or made before', checkTap),
    '',
    '',
    "port dpdk: the kernel's interface on a device that it does not have; it gets dpdkAddress, and what is not ours goes to it and comes from it",
  ),
  accelerate: option(
    text('rules', RULE_FORM, checkPolicy),
    '',
    '',
    'which sockets are accelerated; the last matching rule decides, ! excludes, empty means all that the port can reach',
  ),
  require: option(
    toggle(),
    false,
    '',
    'on: where nothing can be accelerated millrace run does not start the program, and in one that preloads millrace the first socket that would be accelerated throws ERR_MILLRACE_UNAVAILABLE, instead of running on the kernel with one line on stderr',
  ),
  spinUs: option(
    integer({ min: 0, max: 1000 }),
    0,
    'us',
    'how long the event loop spins for more packets before it sleeps; costs CPU, lowers latency',
  ),
  guardianMs: option(
    integer({ min: 0, max: 1000 }),
    4,
    'ms',
    'how long JavaScript may be busy before a second thread keeps acknowledgements, retransmissions and handshakes going; 0: never',
  ),
  congestion: option(
    choice(CONGESTIONS),
    'cubic',
    '',
    'congestion control of TCP; bbr is version 1, as in Linux, and paces what it sends; setCongestion() chooses for one socket or one server',
  ),
  ecn: option(
    choice(['passive', 'on', 'off']),
    'passive',
    '',
    'explicit congestion notification of TCP: for peers that ask (as Linux), for all, for none',
  ),
  mtuProbing: option(
    choice(['off', 'black-hole', 'always']),
    'off',
    '',
    'TCP looks for the path MTU by sending (RFC 4821): never, once repeated timeouts look as if ICMP were filtered, always',
  ),
  pathMtuMin: option(
    integer({ min: 68, max: 1280 }),
    552,
    'bytes',
    'no ICMP error makes IPv4 packets shorter than this; 552 as Linux, 68 by RFC 1191',
  ),
  keepalive: option(toggle(), true, '', 'TCP keep-alive on accelerated connections for which the program says nothing'),
  keepaliveIdleS: option(
    integer({ min: 1, max: 32_767 }),
    7200,
    's',
    'silence after which the first keep-alive probe is sent',
  ),
  sendBuffer: option(
    integerOrAuto(BUFFER),
    'auto',
    'bytes',
    'send buffer of a connection; auto grows with the connection',
  ),
  receiveBuffer: option(
    integerOrAuto(BUFFER),
    'auto',
    'bytes',
    'receive buffer of a connection; auto grows with the connection',
  ),
  frames: option(
    integerOrAuto({ min: 1024, max: 4_194_304 }),
    'auto',
    'frames',
    'packet memory of the stack, reserved at start, with frameBytes at most 4 GiB; auto: 8192 for loopback, else 32768',
  ),
  frameBytes: option(
    integerOrAuto({ min: 2048, max: 65_536, powerOfTwo: true }),
    'auto',
    'bytes',
    'size of one frame; auto: 16384 for loopback, else 2048; over AF_XDP 2048 (packets of 1774 bytes at most, whatever the MTU) or 4096 (3822)',
  ),
  connectionsMax: option(
    integer({ min: 16, max: 1_048_576 }),
    65_536,
    '',
    'accelerated TCP connections at a time, in any state; past it connect fails with ENOBUFS and an incoming SYN is dropped',
  ),
  listenersMax: option(
    integer({ min: 1, max: 65_536 }),
    1024,
    '',
    "accelerated TCP listeners at a time; past it a listener is the kernel's alone",
  ),
  udpSocketsMax: option(
    integer({ min: 1, max: 65_536 }),
    4096,
    '',
    "accelerated UDP sockets at a time; past it a socket is the kernel's alone",
  ),
  queues: option(
    integerOrAuto({ min: 1, max: 64 }),
    'auto',
    '',
    'receive queues to take on each interface, of those that no other stack has; auto: one in a cluster worker or a worker thread, else all',
  ),
  xdpMode: option(
    choice(['auto', 'zero-copy', 'copy', 'generic']),
    'auto',
    '',
    'how AF_XDP reaches the driver; auto tries zero-copy, then copy, then generic, and reports what it got',
  ),
  report: option(
    file(),
    '',
    '',
    'file that receives all counters as JSON when the program ends; %p in its name is the process id',
  ),
  pcap: option(
    file(),
    '',
    '',
    'file that receives every accelerated packet, as pcap; %p in its name is the process id',
  ),
  fault: option(
    faults(),
    '',
    '',
    'faults put on accelerated frames, at a rate or once, to see what a program does on a bad network; the same seed treats the same frames the same way; what is delayed keeps its order, what is reordered is overtaken',
  ),
  debug: option(toggle(), false, '', "on: one line on stderr for each decision (socket ours or the kernel's, and why)"),
} as const satisfies Record<string, OptionSpec<never> | OptionSpec<unknown>>;

type Registry = typeof REGISTRY;
export type OptionName = keyof Registry;
type ValueOf<S> = S extends OptionSpec<infer T> ? T : never;

/** All options with a value each. */
export type Options = { readonly [Name in OptionName]: ValueOf<Registry[Name]> };

export const OPTION_NAMES = Object.keys(REGISTRY) as readonly OptionName[];

/** The variable that names the configuration file; not an option itself, since it says where options are. */
export const CONFIG_VARIABLE = 'MILLRACE_CONFIG';
export const CONFIG_FILE = 'millrace.config.json';

/** `spinUs` -> `MILLRACE_SPIN_US`; `enabled` -> `MILLRACE`. */
export function variableOf(name: OptionName): string {
  return name === 'enabled' ? 'MILLRACE' : `MILLRACE_${kebab(name).replaceAll('-', '_').toUpperCase()}`;
}

/** `spinUs` -> `--spin-us`. */
export function flagOf(name: OptionName): string {
  return `--${kebab(name)}`;
}

function kebab(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** The value of an option as text, as a variable would carry it. */
export function formatValue<Name extends OptionName>(name: Name, value: Options[Name]): string {
  const kind = REGISTRY[name].kind as Kind<unknown>;
  return kind.format(value);
}
