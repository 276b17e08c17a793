/**
 * A bound UDP socket with two ways: the kernel's handle, which keeps the port and takes what does not come by the fast
 * path, and the engine's socket. Both receive through the same onmessage; what is sent goes by the engine if it reaches
 * the destination and through the kernel otherwise.
 *
 * The kernel's handle stays the socket's handle. Its prototype is exchanged for one with the methods below, so sockets of
 * the kernel alone do not even pay for a test. Per message nothing is made but what Node's interface forces: a Buffer
 * and an rinfo.
 *
 * There may be no engine's socket for a while, and the kernel has everything then:
 * - until the first datagram to a destination that policy wants, if it does not want the socket as a whole;
 * - while it is connected to a peer that is not reached by the fast path: the kernel knows whom to listen to then;
 * - after disconnect(), if the kernel chose the port: Linux gives it back, and takes another one for the next datagram.
 */
import { type DatagramSink, type DatagramSocket, NOT_OURS, type Upcall } from '../../lib/engine';
import type { Engine, Membership, SocketAddress } from '../../lib/engine';
import { type AsyncScope, scopeOf } from '../async-scope';
import type { Gate } from '../gate';
import { type AddressOut, internals, type Request, type UdpHandle } from '../internals';
import type { BoundHandle, KernelMethods } from './hooks';

type Parts = readonly ArrayBufferView[];
type KernelSend = (this: UdpHandle, request: Request, list: Parts, count: number, ...rest: unknown[]) => number;

const { UDP } = internals();
const kernel = UDP.prototype;
/** UV_UDP_IPV6ONLY. */
const IPV6_ONLY = 1;

export class Twin implements DatagramSink {
  readonly kernelSend: KernelSend;
  readonly #gate: Gate;
  readonly #handle: UdpHandle;
  readonly #kernel: KernelMethods;
  readonly #bound: SocketAddress;
  readonly #flags: number;
  readonly #whole: boolean;
  #engine: Engine | null = null;
  #socket: DatagramSocket | null = null;
  /** The kernel's alone, for good: it is closed, or the engine cannot have it. */
  #given = false;
  #connected = false;
  #scope: AsyncScope | null = null;
  /** A destination that policy left to the kernel. */
  #refusedAddress = '';
  #refusedPort = 0;
  #reading = false;
  #ttl = 0;
  #receiveBytes = 0;
  #memberships: Membership[] = [];

  constructor(gate: Gate, { handle, local, flags, kernel: methods, whole }: BoundHandle) {
    this.#gate = gate;
    this.#handle = handle;
    this.#kernel = methods;
    this.#bound = local as SocketAddress;
    this.#flags = flags;
    this.#whole = whole;
    this.kernelSend = local.family === 'IPv6' ? kernel.send6 : kernel.send;
  }

  /** Opens the engine's half, if it can be had. */
  open(): DatagramSocket | null {
    const port = this.#given ? 0 : this.#kernelPort();
    const engine = port === 0 ? null : this.#gate.acquire();
    const dualStack = this.#bound.family === 'IPv6' && (this.#flags & IPV6_ONLY) === 0;
    const socket = engine?.bind({ ...this.#bound, port }, dualStack, this) ?? null;
    if (engine === null || socket === null || typeof socket === 'number') {
      this.#given = true;
      return null;
    }
    this.#engine = engine;
    this.#scope ??= scopeOf(engine, 'UDPWRAP', this.#handle);
    socket.context = this.#scope.context;
    if (this.#ttl !== 0) socket.setTtl(this.#ttl);
    if (this.#receiveBytes !== 0) socket.setReceiveBuffer(this.#receiveBytes);
    if (this.#reading) socket.setReading(true);
    if (this.#whole) for (const membership of this.#memberships) socket.setMembership(true, membership);
    this.#socket = socket;
    return socket;
  }

  /** The bytes sent, an errno, or NOT_OURS. */
  send(list: Parts, count: number, address: string, port: number): number {
    const socket = this.#socket ?? this.#openFor(address, port);
    return socket === null ? NOT_OURS : socket.send(list, count, address, port);
  }

  sendConnected(list: Parts, count: number): number {
    return this.#socket === null ? NOT_OURS : this.#socket.sendConnected(list, count);
  }

  /** Connects the engine's half to a peer that the kernel's is connected to. */
  connect(address: string, port: number): void {
    this.#connected = true;
    const wanted = this.#whole || this.#gate.wants('udp', 'connect', address, port);
    const socket = wanted ? (this.#socket ?? this.open()) : null;
    if (socket?.connect(address, port) !== 0) this.#closeSocket();
  }

  connectBoth(address: string, port: number): number {
    const errno = this.#kernel.connect.call(this.#handle, address, port);
    if (errno === 0) this.connect(address, port);
    return errno;
  }

  disconnectBoth(): number {
    const errno = kernel.disconnect.call(this.#handle);
    if (errno !== 0) return errno;
    this.#connected = false;
    const local: AddressOut = {};
    if (this.#handle.getsockname(local) !== 0 || !local.port) this.#closeSocket();
    else if (this.#socket !== null) this.#socket.disconnect();
    else if (this.#whole) this.open();
    return errno;
  }

  setReading(on: boolean): void {
    this.#reading = on;
    this.#socket?.setReading(on);
  }

  setTtl(ttl: number): void {
    this.#ttl = ttl;
    this.#socket?.setTtl(ttl);
  }

  /** `size` as it was asked for is not what the kernel made of it. */
  followReceiveBuffer(): void {
    const bytes = kernel.bufferSize.call(this.#handle, 0, true, {});
    if (bytes === undefined) return;
    this.#receiveBytes = bytes;
    this.#socket?.setReceiveBuffer(bytes);
  }

  /** A membership of the kernel's half, joined or left. */
  setMembership(join: boolean, membership: Membership): void {
    if (join) {
      this.#memberships.push(membership);
    } else {
      this.#memberships = this.#memberships.filter(
        ({ group, interfaceAddress, source }) =>
          group !== membership.group ||
          interfaceAddress !== membership.interfaceAddress ||
          source !== membership.source,
      );
    }
    if (this.#whole) this.#socket?.setMembership(join, membership);
  }

  close(): void {
    this.#given = true;
    this.#closeSocket();
    const scope = this.#scope;
    this.#scope = null;
    // Behind what may be posted for it still.
    if (scope !== null) this.#engine?.post(0, () => scope.end() as undefined);
  }

  onMessage(
    slab: ArrayBuffer,
    offset: number,
    length: number,
    address: string,
    port: number,
    family: 'IPv4' | 'IPv6',
  ): Upcall {
    const handle = this.#handle;
    const scope = this.#scope;
    if (this.#socket === null || scope === null || handle.onmessage === undefined) return undefined;
    // Node adds `size` itself; with it here the object does not change its shape.
    const sender = { address, family, port, size: length };
    // Memory of its own, as with the kernel: programs use `message.buffer`, and hand it to other threads.
    const message = Buffer.allocUnsafeSlow(length);
    message.set(new Uint8Array(slab, offset, length));
    if (scope.asyncId === undefined) return handle.onmessage.bind(handle, length, handle, message, sender);
    return scope.bindAll(handle.onmessage, handle, [length, handle, message, sender]);
  }

  onError(errno: number): Upcall {
    const handle = this.#handle;
    if (this.#socket === null) return undefined;
    return handle.onmessage && this.#scope?.bindAll(handle.onmessage, handle, [errno, handle]);
  }

  #closeSocket(): void {
    this.#socket?.close();
    this.#socket = null;
  }

  /** The engine's half for a first datagram to there. */
  #openFor(address: string, port: number): DatagramSocket | null {
    if (this.#given || this.#connected) return null;
    if (!this.#whole) {
      if (this.#refusedAddress === address && this.#refusedPort === port) return null;
      if (!this.#gate.wants('udp', 'connect', address, port)) {
        this.#refusedAddress = address;
        this.#refusedPort = port;
        return null;
      }
    }
    return this.open();
  }

  /** The kernel's port, chosen anew where it has none; 0 when it cannot be had. */
  #kernelPort(): number {
    const handle = this.#handle;
    const local: AddressOut = {};
    if (handle.getsockname(local) !== 0) return 0;
    if (local.port) return local.port;
    if (this.#kernel.bind.call(handle, this.#bound.address, 0, this.#flags) !== 0) return 0;
    return handle.getsockname(local) === 0 ? (local.port ?? 0) : 0;
  }
}

/** Returns its argument from the constructor, so that a derived class puts its private fields on that. */
const Stampable = function (target: object) {
  return target;
} as unknown as { new (target: object): object };

class Stamp extends Stampable {
  readonly #twin: Twin;

  constructor(handle: UdpHandle, twin: Twin) {
    super(handle);
    this.#twin = twin;
  }

  /** The twin of a handle whose prototype is the one below. */
  static of(handle: object): Twin {
    return (handle as Stamp).#twin;
  }
}

/** The methods of a handle that has a twin. */
const methods = {
  send(
    this: UdpHandle,
    request: Request,
    list: Parts,
    count: number,
    first: unknown,
    address?: string,
    flag?: boolean,
  ) {
    const twin = Stamp.of(this);
    // Connected: (request, list, count, hasCallback); else (request, list, count, port, address, hasCallback).
    const named = typeof first === 'number';
    const sent = named ? twin.send(list, count, address as string, first) : twin.sendConnected(list, count);
    // One more than was sent says that it was done at once, and that there will be no completion.
    if (sent >= 0) return sent + 1;
    if (sent !== NOT_OURS) return sent;
    return named
      ? twin.kernelSend.call(this, request, list, count, first, address, flag)
      : twin.kernelSend.call(this, request, list, count, first);
  },

  connect(this: UdpHandle, address: string, port: number) {
    return Stamp.of(this).connectBoth(address, port);
  },

  disconnect(this: UdpHandle) {
    return Stamp.of(this).disconnectBoth();
  },

  recvStart(this: UdpHandle) {
    const errno = kernel.recvStart.call(this);
    if (errno === 0) Stamp.of(this).setReading(true);
    return errno;
  },

  recvStop(this: UdpHandle) {
    Stamp.of(this).setReading(false);
    return kernel.recvStop.call(this);
  },

  setTTL(this: UdpHandle, ttl: number) {
    const errno = kernel.setTTL.call(this, ttl);
    if (errno === 0) Stamp.of(this).setTtl(ttl);
    return errno;
  },

  bufferSize(this: UdpHandle, size: number, isReceive: boolean, context: object) {
    const result = kernel.bufferSize.call(this, size, isReceive, context);
    if (size > 0 && isReceive && result !== undefined) Stamp.of(this).followReceiveBuffer();
    return result;
  },

  addMembership(this: UdpHandle, group: string, interfaceAddress?: string) {
    return changeMembership(this, 'addMembership', [group, interfaceAddress]);
  },

  dropMembership(this: UdpHandle, group: string, interfaceAddress?: string) {
    return changeMembership(this, 'dropMembership', [group, interfaceAddress]);
  },

  addSourceSpecificMembership(this: UdpHandle, source: string, group: string, interfaceAddress?: string) {
    return changeMembership(this, 'addSourceSpecificMembership', [group, interfaceAddress, source]);
  },

  dropSourceSpecificMembership(this: UdpHandle, source: string, group: string, interfaceAddress?: string) {
    return changeMembership(this, 'dropSourceSpecificMembership', [group, interfaceAddress, source]);
  },

  close(this: UdpHandle, callback?: () => void) {
    Stamp.of(this).close();
    kernel.close.call(this, callback);
  },
};

type MembershipCall =
  | 'addMembership'
  | 'dropMembership'
  | 'addSourceSpecificMembership'
  | 'dropSourceSpecificMembership';

/** In the kernel, which speaks IGMP and MLD; the engine follows. */
function changeMembership(
  handle: UdpHandle,
  call: MembershipCall,
  [group, interfaceAddress, source]: [string, string | undefined, string?],
): number {
  const args = source === undefined ? [group, interfaceAddress] : [source, group, interfaceAddress];
  const errno = Reflect.apply(kernel[call], handle, args) as number;
  if (errno === 0) Stamp.of(handle).setMembership(call.startsWith('add'), { group, interfaceAddress, source });
  return errno;
}

const prototype: object = Object.create(kernel, Object.getOwnPropertyDescriptors(methods));

/** Gives a bound handle its twin. null: the kernel alone has it. */
export function attach(gate: Gate, bound: BoundHandle): Twin | null {
  const { handle } = bound;
  const twin = new Twin(gate, bound);
  if (bound.whole && twin.open() === null) return null;
  new Stamp(handle, twin);
  Object.setPrototypeOf(handle, prototype);
  // A handle of udp6 carries its own copies of these.
  for (const name of ['connect', 'send'] as const) {
    if (Object.hasOwn(handle, name)) handle[name] = methods[name] as UdpHandle['send'] & UdpHandle['connect'];
  }
  if (Object.hasOwn(handle, 'close')) {
    // cluster's own, which tells the primary.
    const { close } = handle;
    handle.close = function (this: UdpHandle, ...args: [(() => void)?]) {
      twin.close();
      return Reflect.apply(close, this, args);
    };
  }
  return twin;
}
