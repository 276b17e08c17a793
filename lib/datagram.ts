/**
 * A UDP socket of the stack. The kernel's socket on the same port stays beside it: datagrams that are not steered, and
 * destinations that are not reached through us, are its business.
 */
import { type AddressWords, parseAddress, putAddress } from './addresses';
import type { NativeStack } from './binding';
import { type ContextId, type DatagramSink, type DatagramSocket, NOT_OURS, type SocketAddress } from './engine';
import { COMMAND, HEADER, type Rings, SOCKET } from './rings';

const DESTINATIONS_MAX = 1024;
const UV_ENOBUFS = -105;

/** A destination as it was found at one epoch of the stack's tables. */
interface Destination {
  readonly words: AddressWords;
  readonly port: number;
  readonly limitBytes: number;
}

export class StackDatagramSocket implements DatagramSocket {
  sink: DatagramSink;
  readonly slot: number;
  readonly generation: number;
  readonly local: SocketAddress;
  readonly #rings: Rings;
  readonly #native: NativeStack;
  readonly #line: number;
  readonly #close: (socket: StackDatagramSocket) => void;
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
    close: (socket: StackDatagramSocket) => void,
  ) {
    this.#rings = rings;
    this.#native = native;
    this.slot = slot;
    this.#line = rings.line(slot);
    this.generation = rings.words[this.#line + SOCKET.generation] as number;
    this.local = local;
    this.sink = sink;
    this.#close = close;
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
    if (to.limitBytes === 0) return NOT_OURS;
    const rings = this.#rings;
    const frame = rings.takeFrame();
    if (frame < 0) return UV_ENOBUFS;
    const bytes = this.#fill(parts, count, rings.payloadOffset(frame), to.limitBytes);
    if (bytes < 0) {
      rings.returnFrame(frame);
      return NOT_OURS;
    }
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
    if (this.#closed) return 0;
    const { words } = this.#rings;
    putAddress(words, HEADER.remoteAddress, parseAddress(address));
    const result = this.#native.udpConnect(this.slot, port);
    if (result === 0) this.#peer = { address, port, family: address.includes(':') ? 'IPv6' : 'IPv4' };
    return result;
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

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#close(this);
  }

  /** Copies the parts to `offset` of packet memory; -1 when they are longer than `limit`. */
  #fill(parts: readonly ArrayBufferView[], count: number, offset: number, limit: number): number {
    const { frames } = this.#rings;
    let bytes = 0;
    for (let i = 0; i < count; i++) {
      const part = parts[i] as ArrayBufferView;
      if (bytes + part.byteLength > limit) return -1;
      const view = part instanceof Uint8Array ? part : new Uint8Array(part.buffer, part.byteOffset, part.byteLength);
      frames.set(view, offset + bytes);
      bytes += part.byteLength;
    }
    return bytes;
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
      const words = parseAddress(address);
      putAddress(this.#rings.words, HEADER.remoteAddress, words);
      found = { words, port, limitBytes: this.#native.udpLimit(this.slot, port) };
      if (ports.size >= DESTINATIONS_MAX) ports.clear();
      ports.set(port, found);
    }
    this.#lastAddress = address;
    this.#lastPort = port;
    this.#last = found;
    return found;
  }

  #command(op: number, argument: number): void {
    if (this.#closed) return;
    this.#rings.words[this.#rings.command(op, this.slot, this.generation)] = argument;
    this.#rings.publish();
  }
}
