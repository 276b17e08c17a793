/**
 * The hooks on Node's UDP handle. A socket that can never be ours keeps its handle as it is: only bind() and connect()
 * ask one question of policy, nothing is in the way of send() and of what is received.
 *
 * Node copies bind6 into an own property of every udp6 handle when it makes it, so the hooks must be there before.
 */
import { mayHaveFrames, noteMaking } from '../async-scope';
import type { Gate } from '../gate';
import { type AddressOut, type Internals, ownerSymbolOf, type UdpHandle } from '../internals';
import { replaceMethod } from '../replace';
import { isUsable } from '../self-test';

/** UV_UDP_IPV6ONLY. */
const IPV6_ONLY = 1;

/** Node's own methods, by the family of the socket. */
export interface KernelMethods {
  bind(this: UdpHandle, address: string, port: number, flags?: number): number;
  connect(this: UdpHandle, address: string, port: number): number;
}

/** A handle that the kernel has bound. */
export interface BoundHandle {
  readonly handle: UdpHandle;
  readonly local: AddressOut;
  /** The flags of its bind(). */
  readonly flags: number;
  readonly kernel: KernelMethods;
  /** Policy wants it whatever it sends to; otherwise it is asked for each destination. */
  readonly whole: boolean;
}

/** Offers a socket that cluster's primary has bound and its workers share. */
export type OfferShared = (handle: UdpHandle, address: string, flags: number) => void;

export function hookUdp(internals: Internals, gate: Gate): OfferShared {
  const four = hookFamily(internals, gate, 'bind', 'connect');
  const six = hookFamily(internals, gate, 'bind6', 'connect6');
  if (mayHaveFrames()) hookMaking(internals, gate);
  return (handle, address, flags) => {
    const wide = localOf(internals, handle)?.family === 'IPv6';
    offerBound(internals, gate, handle, wide ? six : four, address, flags);
  };
}

/** dgram gives each handle that it makes a `lookup` of its own, at once. */
function hookMaking({ UDP }: Internals, gate: Gate): void {
  Object.defineProperty(UDP.prototype, 'lookup', {
    configurable: true,
    set(this: UdpHandle, value: unknown) {
      Object.defineProperty(this, 'lookup', { value, configurable: true, enumerable: true, writable: true });
      if (gate.mayWant('udp', 'bind') || gate.mayWant('udp', 'connect')) noteMaking(this);
    },
  });
}

function hookFamily(
  internals: Internals,
  gate: Gate,
  bind: 'bind' | 'bind6',
  connect: 'connect' | 'connect6',
): KernelMethods {
  const { prototype } = internals.UDP;
  const kernel = { bind: prototype[bind], connect: prototype[connect] } as KernelMethods;
  const hooks = {
    [bind](this: UdpHandle, ...args: [string, number, number?]) {
      const errno = Reflect.apply(kernel.bind, this, args) as number;
      if (errno === 0) offerBound(internals, gate, this, kernel, args[0], args[2] ?? 0);
      return errno;
    },
    [connect](this: UdpHandle, ...args: [string, number]) {
      const errno = Reflect.apply(kernel.connect, this, args) as number;
      if (errno === 0) offerConnected(internals, gate, this, kernel, ...args);
      return errno;
    },
  };
  for (const name of [bind, connect]) replaceMethod(prototype, name, () => hooks[name] as () => unknown);
  return kernel;
}

/** Where the kernel has bound a socket of this program; null: it is none of ours to take. */
function localOf(internals: Internals, handle: UdpHandle): AddressOut | null {
  // A handle without an owner is made by cluster's primary for its workers.
  const symbol = ownerSymbolOf(internals.UDP);
  if (symbol === undefined || !handle[symbol]) return null;
  const local: AddressOut = {};
  return handle.getsockname(local) === 0 && local.port ? local : null;
}

/**
 * A socket that shares its port (reuseAddr, reusePort) is the kernel's: which of the sockets of this machine gets a
 * datagram, or that each of them gets a copy, only the kernel can say.
 */
function offerBound(
  internals: Internals,
  gate: Gate,
  handle: UdpHandle,
  kernel: KernelMethods,
  address: string,
  flags: number,
): import('./twin').Twin | null {
  const shares = (flags & ~IPV6_ONLY) !== 0;
  if (shares && !gate.mayWant('udp', 'bind') && !gate.mayWant('udp', 'connect')) return null;
  const local = localOf(internals, handle);
  if (local === null) return null;
  if (shares) {
    gate.leave('udp', 'bind', address, local.port as number, 'it may share its port (reuseAddr, reusePort)');
    return null;
  }
  const whole = gate.wants('udp', 'bind', address, local.port as number);
  if ((!whole && !gate.mayWant('udp', 'connect')) || !isUsable(internals)) return null;
  const { attach } = require('./twin') as typeof import('./twin');
  return attach(gate, { handle, local, flags, kernel, whole });
}

/** Sockets that were not bound by bind(), but opened with a descriptor. */
function offerConnected(
  internals: Internals,
  gate: Gate,
  handle: UdpHandle,
  kernel: KernelMethods,
  address: string,
  port: number,
): void {
  if (!gate.wants('udp', 'connect', address, port) || !isUsable(internals)) return;
  const local = localOf(internals, handle);
  if (local === null) return;
  const { attach } = require('./twin') as typeof import('./twin');
  attach(gate, { handle, local, flags: 0, kernel, whole: false })?.connect(address, port);
}
