/**
 * An engine in a few hundred lines for tests of the facade alone: sockets of one process, joined in memory. Every upcall
 * is a callback of setImmediate, so that there is an honest asynchronous boundary; unlike the real engine's it is not an
 * outermost callback for Node's C++.
 *
 * Loopback addresses are taken when a listener is there, 127.99.0.0/16 always (and refused without a listener).
 */
import { AsyncResource } from 'node:async_hooks';
import { constants } from 'node:os';
import {
  ANONYMOUS,
  type Connection,
  type ConnectionSink,
  type ContextId,
  type DatagramSink,
  type DatagramSocket,
  type Engine,
  type Listener,
  type ListenerSink,
  type Membership,
  NOT_OURS,
  type SocketAddress,
  type Upcall,
} from '../../lib/engine';
import { internals } from '../../compat/internals';

const { ECONNREFUSED, ECONNRESET } = constants.errno;
const { TCP } = internals();
const MAX_CHUNK = 65536;

type Arrival = { kind: 'data'; bytes: Buffer } | { kind: 'end' } | { kind: 'reset' };

export interface ToyOptions {
  /** What a connection takes before it says that it is full. */
  sendBufferBytes?: number;
  /** Gives at most this many bytes to one onData. */
  chunkBytes?: number;
}

export class ToyEngine implements Engine {
  readonly sendBufferBytes: number;
  readonly chunkBytes: number;
  holds = 0;
  readonly listeners = new Set<ToyListener>();
  readonly sockets = new Set<ToyDatagramSocket>();
  readonly open = new Set<ToyConnection>();
  #contexts = new Map<ContextId, AsyncResource>();
  #lastContext = ANONYMOUS;
  #round = 0;
  #lastPort = 40000;
  #keepAlive: NodeJS.Timeout | null = null;

  constructor(options: ToyOptions = {}) {
    this.sendBufferBytes = options.sendBufferBytes ?? 256 * 1024;
    this.chunkBytes = options.chunkBytes ?? MAX_CHUNK;
  }

  get contexts(): number {
    return this.#contexts.size;
  }

  createContext(_resource: object, type: string): ContextId {
    const id = ++this.#lastContext;
    this.#contexts.set(id, new AsyncResource(type));
    return id;
  }

  freeContext(context: ContextId): void {
    if (!this.#contexts.delete(context)) throw new Error(`context ${context} freed twice`);
  }

  /** Every upcall has a round of the loop for itself. */
  get round(): number {
    return this.#round++;
  }

  readonly answering = false;

  get turn(): number {
    return this.#round++;
  }

  /** Its upcalls begin with nothing left: Node's own callbacks of immediates have run it. */
  settle(): void {}

  post(context: ContextId, prepare: () => Upcall): void {
    const callback = () => prepare()?.();
    const resource = this.#contexts.get(context);
    if (context > ANONYMOUS && resource === undefined) throw new Error(`context ${context} is not there`);
    setImmediate(() => (resource === undefined ? callback() : resource.runInAsyncScope(callback)));
  }

  atRoundEnd(closing: () => void, after: () => void): void {
    new TCP(0).close(() => {
      closing();
      after();
    });
  }

  /** Runs an upcall in the context which its source has now. */
  run(context: ContextId, prepare: () => Upcall): void {
    const callback = () => prepare()?.();
    if (context <= ANONYMOUS) {
      callback();
      return;
    }
    const resource = this.#contexts.get(context);
    if (resource === undefined) throw new Error(`upcall in context ${context}, which was freed`);
    resource.runInAsyncScope(callback);
  }

  connect(
    address: string,
    port: number,
    local: SocketAddress | null,
    sink: ConnectionSink,
  ): Connection | number | null {
    const listener = this.find(this.listeners, address, port);
    if (listener === undefined && !address.startsWith('127.99.')) return null;
    const family = address.includes(':') ? 'IPv6' : 'IPv4';
    const remote: SocketAddress = { address, port, family };
    const mine = local ?? {
      address: address.startsWith('127.99.') ? '127.99.0.2' : address,
      port: this.port(),
      family,
    };
    const client = new ToyConnection(this, mine, remote, sink);
    setImmediate(() => {
      if (client.closed) return;
      if (listener === undefined || listener.closed) {
        client.closed = true;
        this.open.delete(client);
        this.run(client.context, () => client.sink.onConnect(-ECONNREFUSED));
        return;
      }
      const server = new ToyConnection(this, remote, mine, NO_SINK);
      client.join(server);
      this.run(client.context, () => client.sink.onConnect(0));
      setImmediate(() => {
        const established = listener.sink.onConnection(server);
        server.accepted();
        this.run(listener.closed ? 0 : listener.context, established);
      });
    });
    return client;
  }

  closeAtExit(): () => void {
    return () => {};
  }

  listen(local: SocketAddress, _dualStack: boolean, _backlog: number, sink: ListenerSink): Listener {
    const listener = new ToyListener(this, local, sink);
    this.listeners.add(listener);
    return listener;
  }

  bind(local: SocketAddress, _dualStack: boolean, sink: DatagramSink): DatagramSocket {
    const socket = new ToyDatagramSocket(this, local, sink);
    this.sockets.add(socket);
    return socket;
  }

  hold(on: boolean): void {
    this.holds += on ? 1 : -1;
    if (this.holds < 0) throw new Error('released more often than held');
    if (this.holds > 0) this.#keepAlive ??= setInterval(() => {}, 1 << 30);
    else if (this.#keepAlive !== null) {
      clearInterval(this.#keepAlive);
      this.#keepAlive = null;
    }
  }

  port(): number {
    return this.#lastPort++;
  }

  find<T extends { local: SocketAddress }>(set: Set<T>, address: string, port: number): T | undefined {
    for (const item of set) {
      if (item.local.port !== port) continue;
      const bound = item.local.address;
      if (bound === address || bound === '::' || (bound === '0.0.0.0' && !address.includes(':'))) return item;
    }
    return undefined;
  }
}

export class ToyListener implements Listener {
  context = 0;
  congestion = 'cubic';
  closed = false;
  readonly local: SocketAddress;
  sink: ListenerSink;
  readonly #engine: ToyEngine;

  constructor(engine: ToyEngine, local: SocketAddress, sink: ListenerSink) {
    this.#engine = engine;
    this.local = local;
    this.sink = sink;
  }

  setCongestion(name: string): number {
    this.congestion = name;
    return 0;
  }

  close(): void {
    this.closed = true;
    this.#engine.listeners.delete(this);
  }
}

const NO_SINK: ConnectionSink = {
  onConnect() {},
  onData() {
    throw new Error('data before there was a sink');
  },
  onBytes() {
    throw new Error('data before there was a sink');
  },
  onEnd() {},
  onError() {},
  onWritable() {},
};

export class ToyConnection implements Connection {
  context = 0;
  closed = false;
  sink: ConnectionSink;
  noDelay = false;
  keepAlive: unknown[] = [];
  typeOfService = 0;
  congestion = 'cubic';
  readonly local: SocketAddress;
  readonly remote: SocketAddress;
  readonly #engine: ToyEngine;
  #peer: ToyConnection | null = null;
  #inbox: Arrival[] = [];
  #reading = false;
  #scheduled = false;
  #claimed: boolean;
  #inFlight = 0;
  #blocked = false;
  #endSent = false;
  #endSeen = false;
  #dead = false;

  constructor(engine: ToyEngine, local: SocketAddress, remote: SocketAddress, sink: ConnectionSink) {
    this.#engine = engine;
    this.local = local;
    this.remote = remote;
    this.sink = sink;
    this.#claimed = sink !== NO_SINK;
    engine.open.add(this);
  }

  join(peer: ToyConnection): void {
    this.#peer = peer;
    peer.#peer = this;
  }

  get dead(): boolean {
    return this.#dead;
  }

  get unacknowledgedBytes(): number {
    return this.#inFlight;
  }

  write(data: Uint8Array): number {
    if (this.closed || this.#endSent) throw new Error('write() after close() or shutdown()');
    if (this.#dead) return data.byteLength;
    const taken = Math.min(data.byteLength, this.#engine.sendBufferBytes - this.#inFlight);
    if (taken < data.byteLength) this.#blocked = true;
    if (taken > 0) {
      this.#inFlight += taken;
      this.#peer?.arrive({ kind: 'data', bytes: Buffer.from(data.subarray(0, taken)) });
    }
    return taken;
  }

  writeAll(pieces: readonly Uint8Array[]): number {
    let total = 0;
    for (const piece of pieces) {
      const taken = piece.byteLength === 0 ? 0 : this.write(piece);
      total += taken;
      if (taken < piece.byteLength) break;
    }
    return total;
  }

  /** There is no kernel behind it. */
  handOver(): number {
    return -95; // ENOTSUP
  }

  writeUtf8(text: string): number {
    return this.#writeText(Buffer.from(text, 'utf8'));
  }

  writeLatin1(text: string): number {
    return this.#writeText(Buffer.from(text, 'latin1'));
  }

  #writeText(bytes: Buffer): number {
    return bytes.length > this.#engine.sendBufferBytes - this.#inFlight ? -1 : this.write(bytes);
  }

  setReading(on: boolean): void {
    this.#reading = on;
    if (on) this.#schedule();
  }

  shutdown(): void {
    if (this.#endSent || this.#dead) return;
    this.#endSent = true;
    this.#peer?.arrive({ kind: 'end' });
  }

  close(): void {
    const unread = this.#inbox.some((arrival) => arrival.kind === 'data');
    if (unread) return this.abort();
    this.shutdown();
    this.#forget();
  }

  abort(): void {
    if (!this.#dead && !this.closed) this.#peer?.arrive({ kind: 'reset' });
    this.#forget();
  }

  setNoDelay(on: boolean): number {
    this.noDelay = on;
    return 0;
  }

  setKeepAlive(...values: unknown[]): number {
    this.keepAlive = values;
    return 0;
  }

  setTypeOfService(value: number): number {
    this.typeOfService = value;
    return 0;
  }

  setCongestion(name: string): number {
    this.congestion = name;
    return 0;
  }

  info(): null {
    return null;
  }

  /** It has its sink now. */
  accepted(): void {
    this.#claimed = true;
    this.#schedule();
  }

  arrive(arrival: Arrival): void {
    if (this.closed) {
      // As Linux: bytes for a socket that is gone are answered by RST.
      if (arrival.kind === 'data') setImmediate(() => this.#peer?.arrive({ kind: 'reset' }));
      return;
    }
    this.#inbox.push(arrival);
    this.#schedule();
  }

  #forget(): void {
    this.closed = true;
    this.#inbox = [];
    this.#engine.open.delete(this);
  }

  #schedule(): void {
    if (this.#scheduled || !this.#claimed) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      if (!this.closed) this.#turn();
    });
  }

  /** One upcall per turn. */
  #turn(): void {
    const first = this.#inbox[0];
    if (first === undefined) return;
    if (first.kind === 'data') {
      if (!this.#reading) return;
      const bytes = this.#takeBytes();
      this.#peer?.credit(bytes.length);
      const slab = new ArrayBuffer(bytes.length + 16);
      new Uint8Array(slab, 16).set(bytes);
      this.#engine.run(this.context, () => this.sink.onData(slab, 16, bytes.length));
    } else {
      this.#inbox.shift();
      if (first.kind === 'end' && !this.#endSeen) {
        this.#endSeen = true;
        this.#engine.run(this.context, () => this.sink.onEnd());
      } else if (first.kind === 'reset' && !this.#dead) {
        this.#dead = true;
        this.#inbox = [];
        this.#engine.run(this.context, () => this.sink.onError(-ECONNRESET));
      }
    }
    if (this.#inbox.length > 0) this.#schedule();
  }

  #takeBytes(): Buffer {
    const parts: Buffer[] = [];
    let total = 0;
    for (;;) {
      const head = this.#inbox[0];
      if (head?.kind !== 'data' || total >= this.#engine.chunkBytes) break;
      const room = this.#engine.chunkBytes - total;
      parts.push(head.bytes.subarray(0, room));
      total += Math.min(room, head.bytes.length);
      if (head.bytes.length > room) head.bytes = head.bytes.subarray(room);
      else this.#inbox.shift();
    }
    return Buffer.concat(parts);
  }

  credit(bytes: number): void {
    this.#inFlight -= bytes;
    if (!this.#blocked) return;
    this.#blocked = false;
    setImmediate(() => {
      if (!this.closed && !this.#dead) this.#engine.run(this.context, () => this.sink.onWritable());
    });
  }
}

export class ToyDatagramSocket implements DatagramSocket {
  context = 0;
  sink: DatagramSink;
  ttl = 64;
  receiveBuffer = 0;
  readonly local: SocketAddress;
  readonly #engine: ToyEngine;
  #peer: { address: string; port: number } | null = null;
  #reading = false;
  #closed = false;

  constructor(engine: ToyEngine, local: SocketAddress, sink: DatagramSink) {
    this.#engine = engine;
    this.local = local;
    this.sink = sink;
  }

  send(parts: readonly ArrayBufferView[], count: number, address: string, port: number): number {
    return this.#transmit(parts, count, address, port);
  }

  #transmit(parts: readonly ArrayBufferView[], count: number, address: string, port: number): number {
    const ours = address.startsWith('127.99.');
    const target = this.#engine.find(this.#engine.sockets, address, port);
    if (target === undefined && !ours) return NOT_OURS;
    const bytes = Buffer.concat(
      parts.slice(0, count).map((part) => new Uint8Array(part.buffer, part.byteOffset, part.byteLength)),
    );
    const from =
      this.local.address.startsWith('0') || this.local.address === '::' ? sourceFor(address) : this.local.address;
    setImmediate(() => {
      if (target !== undefined) target.arrive(bytes, from, this.local.port);
      else if (this.#peer !== null) this.#upcall(() => this.sink.onError(-ECONNREFUSED));
    });
    return bytes.length;
  }

  sendConnected(parts: readonly ArrayBufferView[], count: number): number {
    if (this.#peer === null) throw new Error('sendConnected() without a peer');
    return this.#transmit(parts, count, this.#peer.address, this.#peer.port);
  }

  connect(address: string, port: number): number {
    this.#peer = { address, port };
    return 0;
  }

  disconnect(): void {
    this.#peer = null;
  }

  setReading(on: boolean): void {
    this.#reading = on;
  }

  setTtl(ttl: number): number {
    this.ttl = ttl;
    return 0;
  }

  memberships: [join: boolean, membership: Membership][] = [];
  setMembership(join: boolean, membership: Membership): void {
    this.memberships.push([join, membership]);
  }

  setReceiveBuffer(bytes: number): void {
    this.receiveBuffer = bytes;
  }

  close(): void {
    this.#closed = true;
    this.#engine.sockets.delete(this);
  }

  arrive(bytes: Buffer, address: string, port: number): void {
    if (!this.#reading) return;
    if (this.#peer !== null && (this.#peer.address !== address || this.#peer.port !== port)) return;
    const slab = new ArrayBuffer(bytes.length + 8);
    new Uint8Array(slab, 8).set(bytes);
    const family = address.includes(':') ? 'IPv6' : 'IPv4';
    this.#upcall(() => this.sink.onMessage(slab, 8, bytes.length, address, port, family));
  }

  #upcall(callback: () => void): void {
    if (!this.#closed) this.#engine.run(this.context, callback);
  }
}

function sourceFor(destination: string): string {
  return destination.startsWith('127.99.') ? '127.99.0.2' : destination;
}
