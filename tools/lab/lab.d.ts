import type { Job, Outcome, RunOptions, SpawnOptions } from './jobs.js';

/** How a Node program runs: plain, or under millrace over AF_XDP. */
export type Mode = 'kernel' | 'millrace';

export interface Side {
  readonly namespace: string;
  readonly interface: string;
  readonly ipv4: string;
  readonly ipv6: string;
}

/** Rates in per cent; for one direction only with the suffix -ab (from the mill to the peer) or -ba. */
export type BridgeSwitches = Record<string, number>;

export interface LabOptions {
  /** Receive and transmit queues at each end of the link; 1 if not given. */
  queues?: number;
  offload?: boolean;
  mtu?: number;
  /** Congestion control of the kernel on both sides. */
  congestion?: string;
  bridge?: BridgeSwitches | false;
  /** The kernel's bridge and netem in between (needs sch_netem); then setPath(). */
  netem?: boolean;
  /** Two network devices of a guest, wired together, in place of a veth pair. */
  devices?: readonly [string, string];
  vlan?: number;
}

/** What netem does to packets, each way: ms one way, per cent, Mbit/s, kB. */
export interface Path {
  delay: number;
  loss?: number;
  reorder?: number;
  rate: number;
  queue: number;
}

export interface BridgeCounters {
  received: number;
  sent: number;
  lost: number;
  duplicated: number;
  reordered: number;
  corrupted: number;
  send_errors: number;
  overflowed: number;
}

export type NodeJob = Job & { readonly mode: Mode; readonly report: string; readonly live: string };

/** Counters by name; groups may be nested. */
export type Stats = Record<string, unknown>;

export interface NodeOptions extends SpawnOptions {
  side?: Side;
  /** What to wait for in stdout; null: nothing. */
  ready?: RegExp | null;
  readyTimeoutMs?: number;
  nodeArgs?: readonly string[];
  /** It has no socket when it is ready: over memif nobody has the wire. */
  idle?: boolean;
  /** More MILLRACE_* variables. */
  options?: Record<string, string>;
}

/** One program at each end of the wire: node() sees to it for those that it starts. */
export interface MemoryWire {
  /** The mill's end to a program, or to the kernel while no program has it. */
  pass(toProgram: boolean): Promise<void>;
  /** Before a program under millrace starts on the mill's side, and when it has ended. */
  take(): Promise<void>;
  leave(): Promise<void>;
}

export class Lab {
  readonly mill: Side;
  readonly peer: Side;
  readonly bridge?: Job;
  readonly folder: string;
  /** LAB_PORT=memif. */
  readonly memory: MemoryWire | null;
  ip(side: Side, args: readonly string[]): Promise<string>;
  setPath(path: Path): Promise<void>;
  bridgeCounters(): Promise<{ ab: BridgeCounters; ba: BridgeCounters }>;
  file(name: string): string;
  spawn(side: Side, command: string, args: readonly string[], options?: SpawnOptions): Job;
  run(side: Side, command: string, args: readonly string[], options?: RunOptions): Promise<Outcome>;
  /** The kernel's congestion control for new connections of one side: cubic, bbr, reno. */
  setCongestionControl(side: Side, congestion: string): Promise<void>;
  must(side: Side, command: string, args: readonly string[], options?: RunOptions): Promise<string>;
  node(mode: Mode, script: string, args?: readonly (string | number)[], options?: NodeOptions): Promise<NodeJob>;
  /** The environment by which a program runs under millrace that node() does not start; `threads` (true): its threads do. */
  underMillrace(options?: { threads?: boolean }): Record<string, string>;
  liveStats(job: NodeJob, timeoutMs?: number): Promise<Stats>;
  finalStats(job: NodeJob): Promise<Stats | null>;
  kernelConnections(side: Side, filter?: readonly string[]): Promise<string[]>;
  close(): Promise<void>;
  closeNow(): void;
}

/** What LAB_PORT says: its name, and what of it a test may count on (tools/lab/ports.js). */
export interface LabPort {
  readonly name: 'af_xdp' | 'dpdk' | 'memif';
  readonly memoryMb: number;
  readonly queues: number;
  readonly xdp: boolean;
  readonly longPackets: boolean;
  readonly oneAtATime: boolean;
  readonly shares: boolean;
  readonly clusters: boolean;
  readonly threads: boolean;
  readonly opens: boolean;
}

export const port: LabPort;
export function openLab(options?: LabOptions): Promise<Lab>;
export const root: string;
export const register: string;
