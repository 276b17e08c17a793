/**
 * The hooks on Node's UDP handle. A socket that is not ours keeps its handle as it is: only bind() and connect() ask one
 * question of policy, nothing is in the way of send() and of what is received.
 *
 * Node copies bind6 into an own property of every udp6 handle when it makes it, so the hooks must be there before.
 */
import type { Gate } from '../gate';
import { type AddressOut, type Internals, ownerSymbolOf, type UdpHandle } from '../internals';
import { replaceMethod } from '../replace';
import { isUsable } from '../self-test';

/** UV_UDP_IPV6ONLY; any other flag lets several sockets share a port. */
const IPV6_ONLY = 1;

/** Node's own connect() and connect6(), by the family of the socket. */
export type KernelConnect = (this: UdpHandle, address: string, port: number) => number;

/** What is asked of the gate, and what the engine is told. */
interface Wish {
  readonly operation: 'bind' | 'connect';
  readonly address: string;
  readonly port: number;
  readonly flags: number;
  readonly kernelConnect: KernelConnect;
}

export function hookUdp(internals: Internals, gate: Gate): void {
  hookFamily(internals, gate, 'bind', 'connect');
  hookFamily(internals, gate, 'bind6', 'connect6');
}

function hookFamily(internals: Internals, gate: Gate, bind: 'bind' | 'bind6', connect: 'connect' | 'connect6'): void {
  const { prototype } = internals.UDP;
  const kernelConnect = prototype[connect] as KernelConnect;
  const kernelBind = prototype[bind];
  const hooks = {
    [bind](this: UdpHandle, ...args: [string, number, number?]) {
      const errno = Reflect.apply(kernelBind, this, args) as number;
      if (errno !== 0) return errno;
      const [address, port, flags = 0] = args;
      return offer(internals, gate, this, { operation: 'bind', address, port, flags, kernelConnect });
    },
    [connect](this: UdpHandle, ...args: [string, number]) {
      const errno = Reflect.apply(kernelConnect, this, args) as number;
      if (errno !== 0) return errno;
      const [address, port] = args;
      return offer(internals, gate, this, { operation: 'connect', address, port, flags: 0, kernelConnect });
    },
  };
  for (const name of [bind, connect]) replaceMethod(prototype, name, () => hooks[name] as () => unknown);
}

/** Offers a socket that the kernel has bound or connected. What bind() or connect() returns. */
function offer(internals: Internals, gate: Gate, handle: UdpHandle, wish: Wish): number {
  // A handle without an owner is made by cluster's primary for its workers.
  const symbol = ownerSymbolOf(internals.UDP);
  if (symbol === undefined || !handle[symbol]) return 0;
  const local: AddressOut = {};
  if (handle.getsockname(local) !== 0 || !local.port) return 0;
  const port = wish.operation === 'bind' ? local.port : wish.port;
  if (!gate.wants('udp', wish.operation, wish.address, port) || !isUsable(internals)) return 0;
  const engine = gate.acquire();
  if (engine === null) return 0;
  const { attach } = require('./twin') as typeof import('./twin');
  const dualStack = local.family === 'IPv6' && (wish.flags & IPV6_ONLY) === 0;
  const twin = attach(engine, handle, local, dualStack, wish.kernelConnect);
  if (twin === null) return 0;
  if (typeof twin === 'number') return (wish.flags & ~IPV6_ONLY) === 0 ? twin : 0;
  return wish.operation === 'connect' ? twin.connect(wish.address, wish.port) : 0;
}
