/**
 * What this machine and this user have: facts only, read from /proc, /sys and the tools ip and ethtool. What follows
 * from them is readiness.ts.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { arch, release } from 'node:os';
import { basename, join } from 'node:path';
import { DPDK_OBJECT } from './dpdk-object';
import { interfaceNames } from './interfaces';

export interface InterfaceFacts {
  readonly name: string;
  /** The kernel's driver, or the kind of a virtual interface (veth, bridge), or '' when not known. */
  readonly driver: string;
  readonly up: boolean;
  readonly mtuBytes: number;
  readonly rxQueues: number;
  readonly txQueues: number;
  /** An XDP program that somebody attached: its id, or null. */
  readonly xdpProgram: number | null;
  /** Does the sender leave checksums to the device? null when ethtool is not there to say. */
  readonly txChecksumOffload: boolean | null;
}

export interface AddonFacts {
  /** The file that would be loaded, or null. */
  readonly file: string | null;
  readonly origin: 'compiled' | 'prebuilt' | 'none';
  /** Why it does not load, or null when it does. */
  readonly problem: string | null;
}

export interface MachineFacts {
  readonly platform: string;
  readonly arch: string;
  readonly kernel: string;
  readonly node: string;
  readonly addon: AddonFacts;
  /** Effective capabilities, by name, of those in {@link CAPABILITIES}. */
  readonly capabilities: readonly string[];
  /** RLIMIT_MEMLOCK; Infinity when unlimited. */
  readonly memlockBytes: number;
  /** A seccomp filter is active (a container): system calls may be refused whatever the capabilities say. */
  readonly seccomp: boolean;
  readonly interfaces: readonly InterfaceFacts[];
  /** The shared object of port dpdk is there. */
  readonly dpdkBuilt: boolean;
  readonly hugePages: { readonly total: number; readonly free: number; readonly sizeKib: number };
}

/** The capabilities that matter here, with their bit numbers (linux/capability.h). */
export const CAPABILITIES: Readonly<Record<string, number>> = {
  CAP_NET_ADMIN: 12,
  CAP_NET_RAW: 13,
  CAP_IPC_LOCK: 14,
  CAP_SYS_ADMIN: 21,
  CAP_PERFMON: 38,
  CAP_BPF: 39,
};

/** The names in {@link CAPABILITIES} that are set in a mask as /proc/self/status prints it. */
export function capabilitiesOf(mask: string): string[] {
  if (!/^[0-9a-f]+$/i.test(mask)) return [];
  const bits = BigInt(`0x${mask}`);
  return Object.keys(CAPABILITIES).filter((name) => ((bits >> BigInt(CAPABILITIES[name] ?? 0)) & 1n) === 1n);
}

/** All facts, read now. Does not throw: what cannot be read is absent. */
export function readMachine(): MachineFacts {
  const status = readText('/proc/self/status');
  return {
    platform: process.platform,
    arch: arch(),
    kernel: release(),
    node: process.version,
    addon: readAddon(),
    capabilities: capabilitiesOf(/^CapEff:\s*(\S+)/m.exec(status)?.[1] ?? ''),
    memlockBytes: memlockOf(readText('/proc/self/limits')),
    seccomp: (/^Seccomp:\s*(\d)/m.exec(status)?.[1] ?? '0') !== '0',
    interfaces: readInterfaces(),
    dpdkBuilt: existsSync(DPDK_OBJECT),
    hugePages: hugePagesOf(readText('/proc/meminfo')),
  };
}

export function memlockOf(limits: string): number {
  const soft = /^Max locked memory\s+(\S+)/m.exec(limits)?.[1];
  return soft === undefined ? 0 : soft === 'unlimited' ? Number.POSITIVE_INFINITY : Number(soft);
}

function hugePagesOf(meminfo: string): MachineFacts['hugePages'] {
  const value = (name: string) => Number(new RegExp(`^${name}:\\s*(\\d+)`, 'm').exec(meminfo)?.[1] ?? 0);
  return { total: value('HugePages_Total'), free: value('HugePages_Free'), sizeKib: value('Hugepagesize') };
}

interface IpLink {
  readonly ifname: string;
  readonly flags?: readonly string[];
  readonly mtu?: number;
  readonly num_rx_queues?: number;
  readonly num_tx_queues?: number;
  readonly linkinfo?: { readonly info_kind?: string };
  readonly xdp?: { readonly prog?: { readonly id?: number } };
}

function readInterfaces(): InterfaceFacts[] {
  const links = ipLinks();
  return interfaceNames().map((name) => {
    const link = links.get(name);
    const system = join('/sys/class/net', name);
    const flags = Number.parseInt(readText(join(system, 'flags')), 16) || 0;
    return {
      name,
      driver: link?.linkinfo?.info_kind ?? driverOf(system),
      up: link?.flags?.includes('UP') ?? (flags & 1) === 1,
      mtuBytes: link?.mtu ?? (Number(readText(join(system, 'mtu'))) || 0),
      rxQueues: link?.num_rx_queues ?? queuesOf(system, 'rx-'),
      txQueues: link?.num_tx_queues ?? queuesOf(system, 'tx-'),
      xdpProgram: link?.xdp?.prog?.id ?? null,
      txChecksumOffload: txChecksumOf(name),
    };
  });
}

function ipLinks(): Map<string, IpLink> {
  try {
    const links = JSON.parse(runTool('ip', ['-j', '-d', 'link', 'show'])) as IpLink[];
    return new Map(links.map((link) => [link.ifname, link]));
  } catch {
    return new Map();
  }
}

function txChecksumOf(name: string): boolean | null {
  try {
    const state = /^tx-checksumming:\s*(on|off)/m.exec(runTool('ethtool', ['-k', name]))?.[1];
    return state === undefined ? null : state === 'on';
  } catch {
    return null;
  }
}

function runTool(name: string, args: readonly string[]): string {
  // Not every user has the directories of system tools in PATH.
  const PATH = `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`;
  const env = { PATH, LC_ALL: 'C' };
  return execFileSync(name, args, { encoding: 'utf8', env, stdio: ['ignore', 'pipe', 'ignore'], timeout: 5000 });
}

function driverOf(system: string): string {
  try {
    return basename(readlinkSync(join(system, 'device/driver')));
  } catch {
    return '';
  }
}

function queuesOf(system: string, prefix: string): number {
  try {
    return readdirSync(join(system, 'queues')).filter((name) => name.startsWith(prefix)).length;
  } catch {
    return 0;
  }
}

/** Where the package is: this file is dist/lib/machine.js. */
const PACKAGE = join(__dirname, '..', '..');

/** Loads the addon in a process of its own: one that was built for another system may end the process. */
function readAddon(): AddonFacts {
  const compiled = firstAddon(join(PACKAGE, 'build', 'Release'));
  const prebuilt = firstAddon(join(PACKAGE, 'prebuilds', `${process.platform}-${process.arch}`));
  const file = compiled ?? prebuilt;
  const origin = compiled !== null ? 'compiled' : prebuilt !== null ? 'prebuilt' : 'none';
  const binding = join(__dirname, 'binding.js');
  if (!existsSync(binding))
    return { file, origin, problem: 'dist/lib/binding.js is missing: the package is not built' };
  const env = { ...process.env, NODE_OPTIONS: '' };
  const args = ['-e', `require(${JSON.stringify(binding)}).loadBinding()`];
  const child = spawnSync(process.execPath, args, {
    env,
    encoding: 'utf8',
    stdio: ['ignore', 'ignore', 'pipe'],
    timeout: 10_000,
  });
  if (child.status === 0) return { file, origin, problem: null };
  return { file, origin, problem: reasonOf(child.stderr ?? '', child.signal) };
}

function reasonOf(stderr: string, signal: string | null): string {
  const message = /^(?:\w*Error\b.*?|.*: error.*)$/m.exec(stderr)?.[0];
  return message ?? (signal === null ? 'it does not load' : `loading it ended with ${signal}`);
}

function firstAddon(directory: string): string | null {
  try {
    const name = readdirSync(directory).find((entry) => entry.endsWith('.node'));
    return name === undefined ? null : join(directory, name);
  } catch {
    return null;
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
