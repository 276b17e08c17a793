/**
 * The engine of this environment: opened when the first socket wants it, never otherwise, so that a program without
 * accelerated sockets pays nothing. When it cannot be opened, everything stays with the kernel and one line says why.
 */
import type { NativeConfig } from './binding';
import { loadOptions } from './config';
import { DPDK_OBJECT } from './dpdk-object';
import type { Engine } from './engine';
import { UnavailableError } from './errors';
import { checkInterfaces } from './interfaces';
import { lifecycle } from './lifecycle';
import { formatValue, type Options } from './options';
import { packetMemoryOf } from './packet-memory';
import { compilePolicy, type Operation, type Policy, type Protocol } from './policy';
import type { StackEngine } from './stack';

const SEND_BUFFER_BYTES = 262_144;
const RECEIVE_BUFFER_BYTES = 262_144;
const UDP_RECEIVE_BUFFER_BYTES = 2_097_152;
const NO_CLUSTER =
  'port dpdk serves one process, and this is a cluster worker; allowed: worker_threads, each on a queue of the device ' +
  '(MILLRACE_QUEUES=<how many>); or port af_xdp: MILLRACE_PORT=af_xdp MILLRACE_INTERFACE=<name>';
/** How long the end of the process waits for peers to acknowledge what was written. */
const LINGER_MS = 5000;

interface Settings {
  readonly options: Options;
  readonly policy: Policy;
}

let settings: Settings | undefined;
let engine: StackEngine | null | undefined;

/** Reads and checks the options once. @throws OptionError, UnknownOptionError, InterfaceError */
export function configure(): Settings {
  if (settings === undefined) {
    const options = loadOptions();
    if (options.enabled) checkInterfaces(options.interface);
    settings = { options, policy: compilePolicy(options.accelerate) };
  }
  return settings;
}

/** True when options and policy want such a socket; opens nothing. */
export function wants(protocol: Protocol, operation: Operation, address: string, port: number): boolean {
  const { options, policy } = configure();
  if (!options.enabled || options.port === 'none' || engine === null) return false;
  const wanted = policy.wants(protocol, operation, address, port);
  if (!wanted) leave(protocol, operation, address, port, 'MILLRACE_ACCELERATE does not ask for it');
  return wanted;
}

/** Such a socket is left to the kernel; why is told to whoever asked by MILLRACE_DEBUG. */
export function leave(protocol: Protocol, operation: Operation, address: string, port: number, why: string): void {
  if (!configure().options.debug) return;
  const { tell } = require('./decisions') as typeof import('./decisions');
  tell(protocol, operation, address, port, `the kernel's: ${why}`);
}

/** Could {@link wants} say yes for some address and port? */
export function mayWant(protocol: Protocol, operation: Operation): boolean {
  const { options, policy } = configure();
  return options.enabled && options.port !== 'none' && engine !== null && policy.mayWant(protocol, operation);
}

/**
 * The engine, opened if it is not open yet. null: the sockets are the kernel's, and why has been said.
 * @throws UnavailableError when `require` is on and nothing can be accelerated
 */
export function acquireEngine(): Engine | null {
  if (engine !== undefined) return engine;
  const { options, policy } = configure();
  if (!options.enabled || options.port === 'none') return null;
  engine = null;
  try {
    // Loaded here: the preload reaches many processes that never get as far.
    const { StackEngine } = require('./stack') as typeof import('./stack');
    const { loadBinding } = require('./binding') as typeof import('./binding');
    if (options.port === 'dpdk' && isClusterWorker()) throw new Error(NO_CLUSTER);
    engine = new StackEngine(loadBinding(), nativeConfig(options), policy);
  } catch (error) {
    fallBack(options, error instanceof Error ? error.message : String(error));
    return null;
  }
  if (options.report !== '') {
    const { writeReportAtExit } = require('./stats') as typeof import('./stats');
    writeReportAtExit(engine, options.report);
  }
  lifecycle.emit('open', engine.ports());
  return engine;
}

/** The engine if it is open. */
export function currentEngine(): StackEngine | null {
  return engine ?? null;
}

function fallBack(options: Options, reason: string): void {
  if (options.require) throw new UnavailableError(`millrace cannot accelerate anything here: ${reason}`, [reason]);
  process.stderr.write(`millrace: sockets stay with the kernel: ${reason.replaceAll(/\s*\n\s*/g, ' ').trim()}\n`);
  lifecycle.emit('fallback', reason);
}

/**
 * One for each of several that share the interfaces; 0, all of them, for a program that is alone. The queues of a DPDK
 * device are counted for all threads together: 0 leaves it to the first.
 */
function automaticQueues(port: Options['port']): number {
  if (isWorkerThread()) return port === 'dpdk' ? 0 : 1;
  const cluster = require('node:cluster') as import('node:cluster').Cluster;
  return cluster.isWorker || Object.keys(cluster.workers ?? {}).length > 0 ? 1 : 0;
}

function isWorkerThread(): boolean {
  return !(require('node:worker_threads') as typeof import('node:worker_threads')).isMainThread;
}

function isClusterWorker(): boolean {
  return (require('node:cluster') as import('node:cluster').Cluster).isWorker;
}

function nativeConfig(options: Options): NativeConfig {
  const auto = (value: number | 'auto', standard: number): number => (value === 'auto' ? standard : value);
  return {
    port: options.port,
    interfaces: options.interface,
    dpdkArgs: options.dpdkArgs,
    dpdkDevice: options.dpdkDevice,
    dpdkAddress: options.dpdkAddress,
    dpdkNeighbors: options.dpdkNeighbors,
    dpdkTap: options.dpdkTap,
    dpdkShared: isWorkerThread(),
    dpdkObject: DPDK_OBJECT,
    debug: options.debug,
    queues: options.queues === 'auto' ? automaticQueues(options.port) : options.queues,
    xdpMode: options.xdpMode,
    fault: options.fault === null ? '' : formatValue('fault', options.fault),
    pcapFile: options.pcap.replaceAll('%p', String(process.pid)),
    ...packetMemoryOf(options),
    socketsMax: options.connectionsMax + options.listenersMax + options.udpSocketsMax,
    connectionsMax: options.connectionsMax,
    listenersMax: options.listenersMax,
    udpSocketsMax: options.udpSocketsMax,
    udpReceiveBufferBytes: UDP_RECEIVE_BUFFER_BYTES,
    sendBufferBytes: auto(options.sendBuffer, SEND_BUFFER_BYTES),
    receiveBufferBytes: auto(options.receiveBuffer, RECEIVE_BUFFER_BYTES),
    congestion: options.congestion,
    ecn: options.ecn,
    mtuProbing: options.mtuProbing,
    pathMtuMinBytes: options.pathMtuMin,
    keepalive: options.keepalive,
    keepaliveIdleSeconds: options.keepaliveIdleS,
    guardianMs: options.guardianMs,
    lingerMs: LINGER_MS,
    spinUs: options.spinUs,
  };
}
