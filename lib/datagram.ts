/**
 * A UDP socket of the stack. The kernel's socket on the same port stays beside it: datagrams that are not steered, and
 * destinations that are not reached through us, are its business.
 */
import { type AddressWords, parseAddress, putAddress } from './addresses';
import type { NativeStack } from './binding';
import {
  type ContextId,
  type DatagramSink,
  type DatagramSocket,
  type Membership,
  NOT_OURS,
  type SocketAddress,
} from './engine';
import { parseAddress as checkAddress } from './policy-address';
import { COMMAND, HEADER, type Rings, SOCKET } from './rings';

const DESTINATIONS_MAX = 1024;
const UNREACHED: AddressWords = { w0: 0, w1: 0, w2: 0, w3: 0, family: 'IPv6' };

/** A destination as it was found at one epoch of the stack's tables. */
interface Destination {
  readonly words: AddressWords;
  readonly port: number;
  readonly limitBytes: number;
}

/** What a socket asks of its maker. */
export interface DatagramHost {
  /** Does policy let datagrams to there go the fast way? */
  reaches(address: string, port: number): boolean;
  close(socket: StackDatagramSocket): void;
}

export class StackDatagramSocket implements DatagramSocket {
  sink: DatagramSink;
  readonly slot: number;
  readonly generation: number;
  readonly local: SocketAddress;
  readonly #rings: Rings;
  readonly #native: NativeStack;
  readonly #line: number;
  readonly #host: DatagramHost;
  readonly #destinations = new Map<string, Map<number, Destination>>();
  #epoch = -1;
  #lastAddress = '';
  #lastPort = -1;
  #last: Destination | null = null;
  #peer: SocketAddress | null = null;
  #closed = false;

  constructor(
    rings: Rings,
    native: NativeStack,
    slot: number,
    local: SocketAddress,
    sink: DatagramSink,
    host: DatagramHost,
  ) {
    this.#rings = rings;
    this.#native = native;
    this.slot = slot;
    this.#line = rings.line(slot);
    this.generation = rings.words[this.#line + SOCKET.generation] as number;
    this.local = local;
    this.sink = sink;
    this.#host = host;
  }

  get context(): ContextId {
    return this.#closed ? 0 : (this.#rings.words[this.#line + SOCKET.context] as number);
  }

  set context(context: ContextId) {
    if (!this.#closed) this.#rings.words[this.#line + SOCKET.context] = context;
  }

  send(parts: readonly ArrayBufferView[], count: number, address: string, port: number): number {
    if (this.#closed) return NOT_OURS;
    const to = this.#destination(address, port);
    const bytes = totalBytes(parts, count);
    if (to.limitBytes === 0 || bytes > to.limitBytes) return NOT_OURS;
    const rings = this.#rings;
    const frame = rings.takeFrame();
    // Too much at once: the kernel's socket waits for its device and queues meanwhile, as it would for all of them.
    if (frame < 0) return NOT_OURS;
    this.#fill(parts, count, rings.payloadOffset(frame));
    const at = rings.command(COMMAND.send, this.slot, this.generation);
    const { words } = rings;
    words[at] = frame;
    words[at + 1] = bytes;
    words[at + 2] = port;
    words[at + 3] = to.words.w0;
    words[at + 4] = to.words.w1;
    words[at + 5] = to.words.w2;
    words[at + 6] = to.words.w3;
    rings.publish();
    return bytes;
  }

  sendConnected(parts: readonly ArrayBufferView[], count: number): number {
    if (this.#peer === null) return NOT_OURS;
    return this.send(parts, count, this.#peer.address, this.#peer.port);
  }

  connect(address: string, port: number): number {
    if (this.#closed || !this.#mayReach(address, port)) return NOT_OURS;
    const { words } = this.#rings;
    putAddress(words, HEADER.remoteAddress, parseAddress(address));
    if (this.#native.udpConnect(this.slot, port) !== 0) return NOT_OURS;
    this.#peer = { address, port, family: address.includes(':') ? 'IPv6' : 'IPv4' };
    return 0;
  }

  disconnect(): void {
    if (this.#closed) return;
    this.#peer = null;
    this.#native.udpDisconnect(this.slot);
  }

  setReading(on: boolean): void {
    if (this.#closed) return;
    const word = this.#line + SOCKET.reading;
    if ((this.#rings.words[word] === 1) === on) return;
    Atomics.store(this.#rings.words, word, on ? 1 : 0);
    if (on) this.#command(COMMAND.resume, 0);
  }

  setTtl(ttl: number): number {
    this.#command(COMMAND.setTtl, ttl);
    return 0;
  }

  setReceiveBuffer(bytes: number): void {
    this.#command(COMMAND.setReceiveBuffer, bytes);
  }

  setMembership(join: boolean, { group, interfaceAddress, source }: Membership): void {
    if (this.#closed) return;
    const unspecified = group.includes(':') ? '::' : '0.0.0.0';
    const [address = unspecified, zone = ''] = (interfaceAddress ?? unspecified).split('%');
    if ([group, address, source ?? unspecified].some((text) => checkAddress(text) === null)) return;
    const { words } = this.#rings;
    putAddress(words, HEADER.remoteAddress, parseAddress(group));
    putAddress(words, HEADER.localAddress, parseAddress(address));
    putAddress(words, HEADER.sourceAddress, parseAddress(source ?? unspecified));
    this.#native.udpMembership(this.slot, join, zone);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#host.close(this);
  }

  /** Copies the parts to `offset` of packet memory. */
  #fill(parts: readonly ArrayBufferView[], count: number, offset: number): void {
    const { frames } = this.#rings;
    let at = offset;
    for (let i = 0; i < count; i++) {
      const part = parts[i] as ArrayBufferView;
      const view = part instanceof Uint8Array ? part : new Uint8Array(part.buffer, part.byteOffset, part.byteLength);
      frames.set(view, at);
      at += part.byteLength;
    }
  }

  #destination(address: string, port: number): Destination {
    const epoch = Atomics.load(this.#rings.words, HEADER.epoch);
    if (epoch !== this.#epoch) {
      this.#epoch = epoch;
      this.#destinations.clear();
      this.#last = null;
    }
    if (this.#last !== null && this.#lastPort === port && this.#lastAddress === address) return this.#last;
    let ports = this.#destinations.get(address);
    if (ports === undefined) {
      if (this.#destinations.size >= DESTINATIONS_MAX) this.#destinations.clear();
      ports = new Map();
      this.#destinations.set(address, ports);
    }
    let found = ports.get(port);
    if (found === undefined) {
      found = this.#lookUp(address, port);
      if (ports.size >= DESTINATIONS_MAX) ports.clear();
      ports.set(port, found);
    }
    this.#lastAddress = address;
    this.#lastPort = port;
    this.#last = found;
    return found;
  }

  #lookUp(address: string, port: number): Destination {
    if (!this.#mayReach(address, port)) return { words: UNREACHED, port, limitBytes: 0 };
    const words = parseAddress(address);
    putAddress(this.#rings.words, HEADER.remoteAddress, words);
    return { words, port, limitBytes: this.#native.udpLimit(this.slot, port) };
  }

  /**
   * What the kernel has an error for is told by the kernel: another family's address, and what a lookup of the program's
   * own gave that is none. An address with a zone (RFC 4007) is the kernel's too.
   */
  #mayReach(address: string, port: number): boolean {
    const family = address.includes(':') ? 'IPv6' : 'IPv4';
    if (family !== this.local.family || address.includes('%') || checkAddress(address) === null) return false;
    return this.#host.reaches(address, port);
  }

  #command(op: number, argument: number): void {
    if (this.#closed) return;
    this.#rings.words[this.#rings.command(op, this.slot, this.generation)] = argument;
    this.#rings.publish();
  }
}

function totalBytes(parts: readonly ArrayBufferView[], count: number): number {
  let bytes = 0;
  for (let i = 0; i < count; i++) bytes += (parts[i] as ArrayBufferView).byteLength;
  return bytes;
}
