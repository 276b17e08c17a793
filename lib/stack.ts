/**
 * The running engine: a native stack, its rings, and the sockets of this JavaScript environment. It decodes the event
 * ring and calls the sockets' sinks; the addon calls {@link StackEngine} from libuv, once per event, each time as an
 * outermost callback.
 */
import { getSystemErrorName } from 'node:util';
import { formatAddress, isMapped, putLocal, putRemote } from './addresses';
import type { Binding, NativeConfig, NativeStack, PortReport } from './binding';
import { type ConnectionHost, StackConnection } from './connection';
import { toConnectionInfo } from './connection-info';
import { StackDatagramSocket } from './datagram';
import { tell, type Verdict } from './decisions';
import type {
  Connection,
  ConnectionInfo,
  ConnectionSink,
  ContextId,
  DatagramSink,
  DatagramSocket,
  Engine,
  KernelEnd,
  Listener,
  ListenerSink,
  SocketAddress,
  Upcall,
} from './engine';
import { StackListener } from './listener';
import type { Operation, Policy, Protocol } from './policy';
import { EVENT, HEADER, Rings, SOCKET } from './rings';

const SLAB_BYTES = 65_536;
const SLABS = 16;
/** Slab numbers wrap here; a power of two, far above the number outstanding. */
const SLAB_NUMBERS = 1024;
const NO_WAY = "the kernel's: no accelerated interface leads there";
const SCOPED = "the kernel's: an address that means something on one link only";
const alone = (errno: number): Verdict => `the kernel's: ${getSystemErrorName(errno)}`;
const failed = (errno: number): Verdict => `fails: ${getSystemErrorName(errno)}`;
const UNSPECIFIED = { IPv4: '0.0.0.0', IPv6: '::' } as const;
const EAGAIN = 11;
const ENOTSUP = 95;
const ENETUNREACH = 101;
/** What one onData gets at most, as one read of libuv. */
const CHUNK_BYTES_MAX = 65_536;

/** Lines about refused rules that one program prints at most. */
const EXPLANATIONS_MAX = 16;

/** A steering rule that could not be had. */
export interface RefusedRule {
  /** The rule in words, and the reason: `tcp to 10.0.0.1 port 80: queue 0: table full`. */
  readonly rule: string;
  readonly times: number;
}

type Socket = StackConnection | StackListener | StackDatagramSocket;

/** Link-local addresses mean something only together with an interface (RFC 4007): they are the kernel's. */
function isScoped(address: string): boolean {
  return /^fe[89ab]/i.test(address);
}

/** IPv4 under addresses of IPv6, as a dual-stack server knows it. */
function isWide({ local, remote }: StackConnection): boolean {
  return local.address.startsWith('::ffff:') || remote.address.startsWith('::ffff:');
}

interface Post {
  readonly context: ContextId;
  readonly callback: () => Upcall;
}

/** Where an accepted connection's upcalls go until its receiver has set its own sink. */
const UNCLAIMED: ConnectionSink = {
  onConnect: () => undefined,
  onData: () => undefined,
  onBytes: () => undefined,
  onEnd: () => undefined,
  onError: () => undefined,
  onWritable: () => undefined,
};

export class StackEngine implements Engine, ConnectionHost {
  readonly #native: NativeStack;
  readonly #rings: Rings;
  readonly #words: Uint32Array;
  readonly #policy: Policy;
  readonly #sockets: (Socket | undefined)[] = [];
  readonly #slabs: (ArrayBuffer | undefined)[] = new Array(SLAB_NUMBERS).fill(undefined);
  /** Whose bytes have all been handed up. */
  readonly #freeSlabs: ArrayBuffer[] = [];
  #posts: Post[] = [];
  #postsHead = 0;
  readonly #frameWaiters: StackConnection[] = [];
  #lastAcceptedAt: SocketAddress = { address: '', port: 0, family: 'IPv4' };
  #eventHead = 0;
  #oldestSlab = 0;
  #nextSlab = 0;
  #holds = 0;
  readonly #explained = new Set<string>();
  readonly #debug: boolean;

  /** @throws Error with `errno` when the native stack cannot be opened; the message is one line for a person */
  constructor(binding: Binding, config: NativeConfig, policy: Policy) {
    this.#native = new binding.Stack(
      config,
      () => this.#dispatch(),
      () => this.#nextPost(),
      () => this.#runPost(),
    );
    this.#rings = new Rings(this.#native);
    this.#words = this.#rings.words;
    this.#policy = policy;
    this.#debug = config.debug;
    this.#supplySlabs();
    process.on('uncaughtExceptionMonitor', () => {
      this.#words[HEADER.ticksLeft] = 1;
    });
  }

  // --- Engine

  createContext(resource: object, type: string): ContextId {
    return this.#native.createContext(resource, type);
  }

  freeContext(context: ContextId): void {
    this.#native.freeContext(context);
  }

  get round(): number {
    return this.#words[HEADER.rounds] as number;
  }

  get answering(): boolean {
    return this.#words[HEADER.answering] !== 0;
  }

  get turn(): number {
    return this.#words[HEADER.looks] as number;
  }

  settle(): void {
    try {
      this.#native.probe();
    } catch (error) {
      this.#native.report(error);
    }
    if (this.#words[HEADER.ticksLeft] === 1) this.#native.settle();
  }

  post(context: ContextId, callback: () => Upcall): void {
    // Whoever posted waits for it: the loop must not end before.
    if (this.#postsHead === this.#posts.length) this.hold(true);
    this.#posts.push({ context, callback });
    this.#words[HEADER.posts] = this.#posts.length - this.#postsHead;
  }

  atRoundEnd(closing: () => void, after: () => void): void {
    let earlier = { posts: this.#posts, head: this.#postsHead };
    this.#native.atRoundEnd(
      () => {
        // What was posted before is not due yet.
        earlier = { posts: this.#posts, head: this.#postsHead };
        this.#setPosts([], 0);
        closing();
      },
      () => {
        this.#setPosts(earlier.posts, earlier.head);
        after();
      },
    );
  }

  connect(
    address: string,
    port: number,
    local: SocketAddress | null,
    sink: ConnectionSink,
  ): Connection | number | null {
    if (!this.#policy.wants('tcp', 'connect', address, port)) return null;
    putRemote(this.#words, address);
    if (!this.#native.tcpReaches(port)) {
      this.#tell('tcp', 'connect', address, port, NO_WAY);
      return null;
    }
    const family = address.includes(':') ? 'IPv6' : 'IPv4';
    putRemote(this.#words, address);
    putLocal(this.#words, local?.address ?? UNSPECIFIED[family]);
    const slot = this.#native.tcpConnect(port, local?.port ?? 0);
    this.#tell('tcp', 'connect', address, port, slot === -ENETUNREACH ? NO_WAY : slot < 0 ? failed(slot) : 'ours');
    if (slot === -ENETUNREACH) return null;
    if (slot < 0) return this.#explain('connect to', address, port) ? null : slot;
    const from = {
      address: formatAddress(this.#words, HEADER.localAddress, address.startsWith('::ffff:')),
      port: this.#words[HEADER.localPort] as number,
      family,
    } as const;
    const connection = new StackConnection(this.#rings, this, slot, from, address, port, sink);
    this.#sockets[slot] = connection;
    return connection;
  }

  listen(local: SocketAddress, dualStack: boolean, backlog: number, sink: ListenerSink): Listener | number | null {
    if (!this.#policy.wants('tcp', 'listen', local.address, local.port)) return null;
    if (isScoped(local.address)) {
      this.#tell('tcp', 'listen', local.address, local.port, SCOPED);
      return null;
    }
    putLocal(this.#words, local.address);
    const slot = this.#native.tcpListen(local.port, dualStack, backlog);
    const verdict = slot < 0 ? alone(slot) : 'ours, and the kernel listens beside';
    this.#tell('tcp', 'listen', local.address, local.port, verdict);
    if (slot < 0) {
      this.#explain('listen on', local.address, local.port);
      return slot;
    }
    const listener = new StackListener(
      this.#rings,
      slot,
      local,
      sink,
      (chosen, congestion) => this.#native.tcpListenerCongestion(chosen, congestion),
      (closed) => this.#closeNow(closed),
    );
    this.#sockets[slot] = listener;
    return listener;
  }

  closeAtExit(descriptor: number): () => void {
    this.#native.closeAtExit(descriptor);
    return () => this.#native.keepAtExit(descriptor);
  }

  bind(local: SocketAddress, dualStack: boolean, sink: DatagramSink): DatagramSocket | number | null {
    if (isScoped(local.address)) {
      this.#tell('udp', 'bind', local.address, local.port, SCOPED);
      return null;
    }
    const policy = this.#policy;
    // One that is ours only for the sake of some destinations leaves the others to the kernel.
    const whole = policy.wants('udp', 'bind', local.address, local.port);
    if (!whole && !policy.mayWant('udp', 'connect')) return null;
    const reaches = (address: string, port: number): boolean =>
      whole ? !policy.excludes('udp', 'connect', address, port) : policy.wants('udp', 'connect', address, port);
    putLocal(this.#words, local.address);
    const slot = this.#native.udpBind(local.port, dualStack);
    const verdict = slot < 0 ? alone(slot) : 'ours, and the kernel receives beside';
    this.#tell('udp', 'bind', local.address, local.port, verdict);
    if (slot < 0) {
      this.#explain('bind to', local.address, local.port);
      return slot;
    }
    const close = (closed: StackDatagramSocket): void => this.#closeNow(closed);
    const socket = new StackDatagramSocket(this.#rings, this.#native, slot, local, sink, { reaches, close });
    this.#sockets[slot] = socket;
    return socket;
  }

  hold(on: boolean): void {
    this.#holds += on ? 1 : -1;
    if (on && this.#holds === 1) this.#native.hold(true);
    if (!on && this.#holds === 0) this.#native.hold(false);
  }

  // --- for the rest of lib/

  /** A writer found no free frame: it is told when there are some again. */
  waitForFrame(connection: StackConnection): void {
    this.#frameWaiters.push(connection);
    Atomics.store(this.#words, HEADER.frameWaiters, this.#frameWaiters.length);
  }

  released(connection: StackConnection): void {
    if (this.#sockets[connection.slot] === connection) this.#sockets[connection.slot] = undefined;
  }

  writeBulk({ slot, generation }: StackConnection, pieces: readonly Uint8Array[], bytes: number): number {
    return this.#native.tcpWrite(slot, generation, pieces, bytes);
  }

  handOver(connection: StackConnection): number {
    this.#native.flush(); // the other end may have been closed a moment ago
    const others = this.#native.tcpPeer(connection.slot);
    const peer = others < 0 ? undefined : this.#sockets[others];
    // Accepted by the stack, and its event is still on the way up.
    if (others >= 0 && !(peer instanceof StackConnection)) return -EAGAIN;
    const leaving = peer instanceof StackConnection ? [connection, peer] : [connection];
    if (leaving.some(({ sink }) => sink.onLeaving === undefined || sink.onLeft === undefined)) return -ENOTSUP;
    const read = leaving.map((end) => end.stopReading());
    // A whole turn: from here on nothing more of theirs is published, whoever runs turns.
    this.#native.flush();
    const ends = leaving.map((end) => ({
      slot: end.slot,
      unread: [...(end.sink.onLeaving?.() ?? []), ...this.#undispatched(end)],
      wide: isWide(end),
    }));
    const made = this.#native.tcpHandOver(ends);
    if (typeof made === 'number') {
      for (const [i, end] of leaving.entries()) end.readAgain(read[i] as number);
      return made;
    }
    for (const end of leaving) {
      end.left();
      this.released(end);
    }
    for (const [i, end] of leaving.entries()) end.sink.onLeft?.(made[i] as KernelEnd);
    return 0;
  }

  info({ slot }: StackConnection): ConnectionInfo | null {
    const native = this.#native.tcpInfo(slot);
    return native === null ? null : toConnectionInfo(native);
  }

  /** Bytes of a connection in events that are still to be dispatched. Those events will find nobody. */
  #undispatched({ slot, generation }: StackConnection): Uint8Array[] {
    const words = this.#words;
    const tail = Atomics.load(words, HEADER.eventTail);
    const found: Uint8Array[] = [];
    for (let head = this.#eventHead; head !== tail; head = (head + 1) >>> 0) {
      const at = this.#rings.eventAt(head);
      if (words[at] !== EVENT.data || words[at + 1] !== slot || words[at + 2] !== generation) continue;
      const slab = this.#slabs[words[at + 3] as number] as ArrayBuffer;
      found.push(new Uint8Array(slab, words[at + 4], words[at + 5]));
    }
    return found;
  }

  ports(): PortReport[] {
    return this.#native.ports();
  }

  /** Every counter: group -> name -> value. */
  counters(): Record<string, Record<string, number>> {
    const values = this.#native.counters();
    const groups: Record<string, Record<string, number>> = {};
    this.#native.counterNames().forEach(([group, name], i) => {
      groups[group] ??= {};
      groups[group][name] = values[i] as number;
    });
    return groups;
  }

  refusedRules(): RefusedRule[] {
    return this.#native.refusals().map(([rule, times]) => ({ rule, times }));
  }

  #tell(protocol: Protocol, operation: Operation, address: string, port: number, verdict: Verdict): void {
    if (this.#debug) tell(protocol, operation, address, port, verdict);
  }

  /**
   * Says why a socket is the kernel's when it is because of a steering rule that was refused just now.
   * @returns false when that is not the reason
   */
  #explain(what: string, address: string, port: number): boolean {
    const why = this.#native.takeRefusal();
    if (why === '') return false;
    if (this.#explained.has(why) || this.#explained.size >= EXPLANATIONS_MAX) return true;
    this.#explained.add(why);
    const text = `millrace: ${what} ${address} port ${port} stays with the kernel: rule refused: ${why}`;
    process.stderr.write(`${text.replaceAll(/\p{Cc}+/gu, ' ')}\n`);
    return true;
  }

  /** One line of meaning for each counter. */
  meanings(): [group: string, name: string, meaning: string][] {
    return this.#native.counterNames();
  }

  close(): void {
    this.#native.close();
  }

  // --- events

  #socket(slot: number, generation: number): Socket | undefined {
    const socket = this.#sockets[slot];
    return socket?.generation === generation ? socket : undefined;
  }

  /**
   * Prepares the event at the ring's head and returns what the event loop is to call for it. What the event holds is read
   * before the head moves on.
   */
  #dispatch(): Upcall {
    const words = this.#words;
    const at = this.#rings.eventAt(this.#eventHead);
    const type = words[at] as number;
    const socket = this.#socket(words[at + 1] as number, words[at + 2] as number);
    const a0 = words[at + 3] as number;
    const a1 = words[at + 4] as number;
    const a2 = words[at + 5] as number;
    if (type === EVENT.message) return this.#dispatchMessage(socket as StackDatagramSocket | undefined, at, a0, a1, a2);
    if (type === EVENT.accept) return this.#dispatchAccept(socket as StackListener | undefined, at, a0);
    if (type === EVENT.data) return this.#dispatchData(socket as StackConnection | undefined, at, a0, a1, a2);
    this.#advance();
    if (type === EVENT.bulk) return this.#dispatchBulk(socket as StackConnection | undefined);
    return type === EVENT.frames ? this.#dispatchFrames() : this.#dispatchState(type, socket, a0);
  }

  /**
   * Bytes, with those of the events behind that go on where these end: several turns may have run since JavaScript
   * looked, and a program is to see what one read(2) would give.
   */
  #dispatchData(
    connection: StackConnection | undefined,
    at: number,
    slabNumber: number,
    offset: number,
    length: number,
  ) {
    const words = this.#words;
    const slot = words[at + 1];
    const generation = words[at + 2];
    let total = length;
    this.#advance();
    while (Atomics.load(words, HEADER.eventTail) !== this.#eventHead) {
      const next = this.#rings.eventAt(this.#eventHead);
      if (words[next] !== EVENT.data || words[next + 1] !== slot || words[next + 2] !== generation) break;
      const bytes = words[next + 5] as number;
      if (words[next + 3] !== slabNumber || words[next + 4] !== offset + total) break;
      if (total + bytes > CHUNK_BYTES_MAX) break;
      this.#advance();
      total += bytes;
    }
    const slab = this.#slabs[slabNumber] as ArrayBuffer;
    this.#usedSlab(slabNumber);
    if (connection === undefined || connection.closed) return undefined;
    connection.noteReceived(total);
    return connection.sink.onData(slab, offset, total);
  }

  /** Bytes that stay in the stack until now: with those that came since, as one read(2) would give them. */
  #dispatchBulk(connection: StackConnection | undefined): Upcall {
    if (connection === undefined || connection.closed) return undefined;
    const bytes = this.#native.tcpTake(connection.slot, connection.generation);
    if (bytes === undefined) return undefined;
    connection.noteReceived(bytes.length);
    return connection.sink.onBytes(bytes);
  }

  #advance(): void {
    this.#eventHead = (this.#eventHead + 1) >>> 0;
    Atomics.store(this.#words, HEADER.eventHead, this.#eventHead);
  }

  #dispatchState(type: number, socket: Socket | undefined, errno: number): Upcall {
    if (socket instanceof StackDatagramSocket) return socket.sink.onError(-errno);
    if (!(socket instanceof StackConnection) || socket.closed) return undefined;
    if (type === EVENT.connect) return socket.sink.onConnect(-errno);
    if (type === EVENT.end) return socket.sink.onEnd();
    if (type === EVENT.error) return socket.sink.onError(-errno);
    this.#words[this.#rings.line(socket.slot) + SOCKET.wantWritable] = 0;
    return socket.sink.onWritable();
  }

  #dispatchMessage(
    socket: StackDatagramSocket | undefined,
    at: number,
    slabNumber: number,
    offset: number,
    length: number,
  ): Upcall {
    const words = this.#words;
    const port = words[at + 6] as number;
    const mapped = isMapped(words, at + 7);
    const wide = socket?.local.family === 'IPv6';
    const address = formatAddress(words, at + 7, wide);
    this.#advance();
    const slab = this.#slabs[slabNumber] as ArrayBuffer;
    this.#usedSlab(slabNumber);
    return socket?.sink.onMessage(slab, offset, length, address, port, mapped && !wide ? 'IPv4' : 'IPv6');
  }

  #dispatchAccept(listener: StackListener | undefined, at: number, slot: number): undefined {
    const words = this.#words;
    const family = listener?.local.family ?? 'IPv4';
    const wide = family === 'IPv6';
    const local = this.#acceptedAt(formatAddress(words, at + 7, wide), words[at + 5] as number, family);
    const remoteAddress = formatAddress(words, at + 11, wide);
    const remotePort = words[at + 6] as number;
    this.#advance();
    const connection = new StackConnection(this.#rings, this, slot, local, remoteAddress, remotePort, UNCLAIMED);
    if (listener === undefined) {
      connection.abort(); // its listener was closed while it was on the way
      return;
    }
    this.#sockets[slot] = connection;
    this.post(listener.context, listener.sink.onConnection(connection));
  }

  /** One object for the many connections of a server. */
  #acceptedAt(address: string, port: number, family: SocketAddress['family']): SocketAddress {
    const last = this.#lastAcceptedAt;
    if (last.address === address && last.port === port && last.family === family) return last;
    this.#lastAcceptedAt = { address, port, family };
    return this.#lastAcceptedAt;
  }

  #dispatchFrames(): undefined {
    // As many as there are frames; each takes one at least, and the turn for that tells the next ones.
    for (let left = this.#rings.framesInStock; left > 0 && this.#frameWaiters.length > 0; ) {
      const connection = this.#frameWaiters.shift() as StackConnection;
      connection.waitsForFrame = false;
      if (connection.closed) continue;
      left--;
      this.post(connection.context, () => connection.sink.onWritable());
    }
    Atomics.store(this.#words, HEADER.frameWaiters, this.#frameWaiters.length);
  }

  #closeNow(socket: StackListener | StackDatagramSocket): void {
    if (this.#sockets[socket.slot] === socket) this.#sockets[socket.slot] = undefined;
    this.#native.closeSocket(socket.slot);
  }

  // --- posts

  #nextPost(): ContextId {
    return this.#postsHead < this.#posts.length ? (this.#posts[this.#postsHead]?.context ?? 0) : -1;
  }

  #setPosts(posts: Post[], head: number): void {
    this.#posts = posts;
    this.#postsHead = head;
    this.#words[HEADER.posts] = posts.length - head;
  }

  #runPost(): Upcall {
    const post = this.#posts[this.#postsHead++];
    const left = this.#posts.length - this.#postsHead;
    this.#words[HEADER.posts] = left;
    if (left === 0) {
      this.#posts.length = 0;
      this.#postsHead = 0;
      this.hold(false);
    }
    return post?.callback();
  }

  // --- slabs

  /** A slab that is being filled: all before it are done with; new ones are supplied in time. */
  #usedSlab(number: number): void {
    while (this.#oldestSlab !== number) {
      this.#freeSlabs.push(this.#slabs[this.#oldestSlab] as ArrayBuffer);
      this.#slabs[this.#oldestSlab] = undefined;
      this.#oldestSlab = (this.#oldestSlab + 1) % SLAB_NUMBERS;
    }
    if ((this.#nextSlab - number + SLAB_NUMBERS) % SLAB_NUMBERS <= SLABS / 2) this.#supplySlabs();
  }

  #supplySlabs(): void {
    while ((this.#nextSlab - this.#oldestSlab + SLAB_NUMBERS) % SLAB_NUMBERS < SLABS) {
      // Not zeroed: only what the stack has filled is ever handed out.
      const slab = this.#freeSlabs.pop() ?? (Buffer.allocUnsafeSlow(SLAB_BYTES).buffer as ArrayBuffer);
      this.#slabs[this.#nextSlab] = slab;
      this.#native.addSlab(slab, this.#nextSlab);
      this.#nextSlab = (this.#nextSlab + 1) % SLAB_NUMBERS;
    }
  }
}
