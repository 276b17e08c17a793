/**
 * The native addon: the only file that loads it, and its whole surface in types. One line of {@link NativeStack} is one
 * method of native/addon/stack_wrap.cc. Numbers are results or negative errno numbers; addresses go through the shared
 * header (lib/rings.ts).
 */
import { join } from 'node:path';
import type { Upcall } from './engine';

/** Settings of a stack, already validated. */
export interface NativeConfig {
  readonly port: string;
  readonly interfaces: readonly string[];
  /** Receive queues to take on each interface; 0: all. */
  readonly queues: number;
  readonly xdpMode: string;
  readonly dpdkArgs: string;
  readonly dpdkDevice: string;
  readonly dpdkAddress: string;
  readonly dpdkNeighbors: string;
  readonly dpdkTap: string;
  /** Worker threads: each has one queue of the device, which the first of them opens. */
  readonly dpdkShared: boolean;
  /** The shared object that holds port dpdk. */
  readonly dpdkObject: string;
  /** The port says what it does on stderr. */
  readonly debug: boolean;
  readonly fault: string;
  readonly pcapFile: string;
  readonly frames: number;
  readonly frameBytes: number;
  readonly socketsMax: number;
  readonly connectionsMax: number;
  readonly listenersMax: number;
  readonly udpSocketsMax: number;
  readonly udpReceiveBufferBytes: number;
  readonly sendBufferBytes: number;
  readonly receiveBufferBytes: number;
  readonly congestion: string;
  readonly ecn: string;
  readonly mtuProbing: string;
  readonly pathMtuMinBytes: number;
  readonly keepalive: boolean;
  readonly keepaliveIdleSeconds: number;
  readonly guardianMs: number;
  readonly lingerMs: number;
  readonly spinUs: number;
}

/** Where things lie in the shared memory, in 32-bit words, and how many there are. */
export interface Layout {
  readonly commandsWord: number;
  readonly eventsWord: number;
  readonly framesWord: number;
  readonly socketsWord: number;
  readonly commands: number;
  readonly events: number;
  readonly frames: number;
  readonly sockets: number;
  readonly frameBytes: number;
  readonly frameHeadroom: number;
}

/** One end of a connection that leaves the stack. */
export interface Leaving {
  readonly slot: number;
  /** Bytes that were taken out of the stack and nobody has read. */
  readonly unread: readonly Uint8Array[];
  /** The program knows the addresses as IPv6. */
  readonly wide: boolean;
}

/** tcp::Info of native/tcp/tcp.h. */
export interface NativeTcpInfo {
  /** RFC 9293's state by Linux's number. */
  readonly state: number;
  /** As TCP_CONGESTION names it. */
  readonly congestion: string;
  readonly mssBytes: number;
  readonly congestionWindowBytes: number;
  /** 2^32 - 1: none yet. */
  readonly slowStartThresholdBytes: number;
  readonly pacingBytesPerS: number;
  readonly rttUs: number;
  readonly rttVarianceUs: number;
  readonly rttMinUs: number;
  readonly rtoUs: number;
  readonly sendWindowBytes: number;
  readonly receiveWindowBytes: number;
  readonly bytesSent: number;
  readonly bytesAcknowledged: number;
  readonly bytesReceived: number;
  readonly bytesRetransmitted: number;
  readonly segmentsSent: number;
  readonly segmentsReceived: number;
  readonly segmentsRetransmitted: number;
}

/** What a port turned out to be. */
export interface PortReport {
  readonly name: string;
  readonly mode: string;
  readonly queues: number;
  readonly mtuBytes: number;
}

export interface NativeStack {
  sharedMemory(): ArrayBuffer;
  frameMemory(): ArrayBuffer;
  layout(): Layout;
  addSlab(slab: ArrayBuffer, id: number): void;
  flush(): void;
  hold(on: boolean): void;
  atRoundEnd(closing: () => void, after: () => void): void;
  close(): void;
  /** What an exception has left behind of nextTick runs, unless a callback is running. */
  settle(): void;
  /** Does nothing; what a callback below C++ has thrown comes out of it, as of any call of a native function. */
  probe(): void;
  /** An exception that nobody has caught: tells the process, which ends unless somebody listens. */
  report(error: unknown): void;
  createContext(resource: object, type: string): number;
  freeContext(context: number): void;
  tcpReaches(remotePort: number): boolean;
  tcpConnect(remotePort: number, localPort: number): number;
  tcpListen(port: number, dualStack: boolean, backlog: number): number;
  /** What the listener accepts from now on begins with it. */
  tcpListenerCongestion(slot: number, congestion: number): void;
  closeAtExit(descriptor: number): void;
  keepAtExit(descriptor: number): void;
  /** The slot of the other end of a connection inside this process; -1: there is none. */
  tcpPeer(slot: number): number;
  /** Makes the kernel go on with connections: their sockets, in the same order, or a negative errno. */
  tcpHandOver(ends: readonly Leaving[]): number | { fd: number; unsent: Uint8Array }[];
  /** null: there is no such connection. */
  tcpInfo(slot: number): NativeTcpInfo | null;
  /** The bytes that a bulk event stands for, in memory of their own; undefined: there are none any more. */
  tcpTake(slot: number, generation: number): Uint8Array | undefined;
  /** Copies the first `bytes` of the pieces, or as many as there is memory for, and returns their number. */
  tcpWrite(slot: number, generation: number, pieces: readonly Uint8Array[], bytes: number): number;
  udpBind(port: number, dualStack: boolean): number;
  udpConnect(slot: number, remotePort: number): number;
  udpDisconnect(slot: number): void;
  /** Group, interface address and source are in the scratch words; `zone` names the interface instead. */
  udpMembership(slot: number, join: boolean, zone: string): number;
  udpLimit(slot: number, remotePort: number): number;
  closeSocket(slot: number): void;
  counterNames(): [group: string, name: string, meaning: string][];
  counters(): number[];
  ports(): PortReport[];
  /** Steering rules that could not be had, with the reason, and how often; the newest of an interface last. */
  refusals(): [rule: string, times: number][];
  /** The one because of which the last connect, listen or bind failed; '' when it was something else. Told once. */
  takeRefusal(): string;
}

export interface Binding {
  readonly Stack: new (
    config: NativeConfig,
    dispatch: () => Upcall,
    nextPost: () => number,
    runPost: () => Upcall,
  ) => NativeStack;
  /** Asks the desk of a running stack, this process's or another's: the answer or a negative errno. Blocks. */
  ask(desk: string, patienceMs: number): string | number;
}

/** Loads the prebuilt or the compiled addon; throws when there is none for this platform. */
export function loadBinding(): Binding {
  const load = require('node-gyp-build') as (directory: string) => Binding;
  try {
    return load(join(__dirname, '..', '..'));
  } catch (error) {
    if (!(error instanceof Error) || !error.message.startsWith('No native build')) throw error;
    const where = `${process.platform} ${process.arch}`;
    throw new Error(`there is no addon for ${where}; "npm rebuild millrace" compiles one`, { cause: error });
  }
}
