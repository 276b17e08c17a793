/**
 * A bound UDP socket with two ways: the kernel's handle, which keeps the port and takes what does not come by the fast
 * path, and the engine's socket. Both receive through the same onmessage; what is sent goes by the engine if it reaches
 * the destination and through the kernel otherwise.
 *
 * The kernel's handle stays the socket's handle. Its prototype is exchanged for one with the methods below, so sockets of
 * the kernel alone do not even pay for a test. Per message nothing is made but what Node's interface forces: a Buffer
 * and an rinfo.
 */
import {
  type ContextId,
  type DatagramSink,
  type DatagramSocket,
  type Engine,
  NOT_OURS,
  type Upcall,
} from '../../lib/engine';
import type { SocketAddress } from '../../lib/engine';
import { keepStores } from '../async-stores';
import { type AddressOut, internals, type Request, type UdpHandle } from '../internals';
import type { KernelConnect } from './hooks';

type Parts = readonly ArrayBufferView[];
type KernelSend = (this: UdpHandle, request: Request, list: Parts, count: number, ...rest: unknown[]) => number;

const { UDP } = internals();
const kernel = UDP.prototype;

export class Twin implements DatagramSink {
  readonly #engine: Engine;
  readonly #handle: UdpHandle;
  readonly #kernelConnect: KernelConnect;
  readonly kernelSend: KernelSend;
  #socket: DatagramSocket | null = null;
  #context: ContextId = 0;
  /** Connected to a peer that only the kernel reaches. */
  #peerOfKernel = false;

  constructor(engine: Engine, handle: UdpHandle, family: string | undefined, kernelConnect: KernelConnect) {
    this.#engine = engine;
    this.#handle = handle;
    this.#kernelConnect = kernelConnect;
    this.kernelSend = family === 'IPv6' ? kernel.send6 : kernel.send;
  }

  open(socket: DatagramSocket): void {
    this.#socket = socket;
    this.#context = keepStores(this.#handle, () => this.#engine.createContext(this.#handle, 'UDPWRAP'));
    socket.context = this.#context;
  }

  /** The bytes sent, an errno, or NOT_OURS. */
  send(list: Parts, count: number, address: string, port: number): number {
    return this.#socket === null ? NOT_OURS : this.#socket.send(list, count, address, port);
  }

  sendConnected(list: Parts, count: number): number {
    return this.#socket === null || this.#peerOfKernel ? NOT_OURS : this.#socket.sendConnected(list, count);
  }

  /** Connects the engine's half. */
  connect(address: string, port: number): number {
    const result = this.#socket === null ? NOT_OURS : this.#socket.connect(address, port);
    this.#peerOfKernel = result === NOT_OURS;
    return this.#peerOfKernel ? 0 : result;
  }

  connectBoth(address: string, port: number): number {
    const errno = this.#kernelConnect.call(this.#handle, address, port);
    return errno === 0 ? this.connect(address, port) : errno;
  }

  disconnect(): void {
    this.#peerOfKernel = false;
    this.#socket?.disconnect();
  }

  setReading(on: boolean): void {
    this.#socket?.setReading(on);
  }

  setTtl(ttl: number): void {
    this.#socket?.setTtl(ttl);
  }

  setReceiveBuffer(bytes: number): void {
    this.#socket?.setReceiveBuffer(bytes);
  }

  close(): void {
    if (this.#socket === null) return;
    this.#socket.close();
    this.#socket = null;
    // Behind what may be posted for it still.
    this.#engine.post(0, () => {
      this.#engine.freeContext(this.#context);
      return undefined;
    });
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
    if (this.#socket === null || this.#peerOfKernel || handle.onmessage === undefined) return undefined;
    // Node adds `size` itself; with it here the object does not change its shape.
    const sender = { address, family, port, size: length };
    return handle.onmessage.bind(handle, length, handle, Buffer.from(slab, offset, length), sender);
  }

  onError(errno: number): Upcall {
    const handle = this.#handle;
    if (this.#socket === null) return undefined;
    return handle.onmessage?.bind(handle, errno, handle);
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
    const errno = kernel.disconnect.call(this);
    Stamp.of(this).disconnect();
    return errno;
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
    if (size > 0 && isReceive && result !== undefined) Stamp.of(this).setReceiveBuffer(size);
    return result;
  },

  close(this: UdpHandle, callback?: () => void) {
    Stamp.of(this).close();
    kernel.close.call(this, callback);
  },
};

const prototype: object = Object.create(kernel, Object.getOwnPropertyDescriptors(methods));

/** Gives a bound handle its twin. null: the kernel alone has it; a number: the errno with which the engine refused. */
export function attach(
  engine: Engine,
  handle: UdpHandle,
  local: AddressOut,
  dualStack: boolean,
  kernelConnect: KernelConnect,
): Twin | number | null {
  const twin = new Twin(engine, handle, local.family, kernelConnect);
  const socket = engine.bind(local as SocketAddress, dualStack, twin);
  if (socket === null || typeof socket === 'number') return socket;
  twin.open(socket);
  new Stamp(handle, twin);
  Object.setPrototypeOf(handle, prototype);
  // A handle of udp6 carries its own copies of these.
  for (const name of ['connect', 'send'] as const) {
    if (Object.hasOwn(handle, name)) handle[name] = methods[name] as UdpHandle['send'] & UdpHandle['connect'];
  }
  return twin;
}
