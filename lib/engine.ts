/**
 * What the facade (compat/) may ask of the engine. The engine is the running stack behind the shared rings; it knows
 * connections, listeners and datagram sockets, and nothing of net.Socket. Addresses are strings as Node gives them,
 * errors negative errno numbers as libuv gives them.
 *
 * Upcalls. A sink's method (and a callback given to post()) is called plainly, with no scope: it prepares. What it
 * returns, an {@link Upcall}, is then called straight from the event loop, with none of our frames below it, as an
 * outermost callback: nextTicks and microtasks are drained after it, as after a callback of libuv. It runs in the async
 * context that was set for its source ({@link Channel.context}); with `context` 0 it is called with no callback scope at
 * all, which is right for functions that end in a MakeCallback of Node's own (JSStream's readBuffer, finishWrite, ...).
 */

/** What the event loop is to call next: a bound function of Node's or of the program's. */
// biome-ignore lint/suspicious/noConfusingVoidType: a method that returns nothing asks for nothing
export type Upcall = (() => unknown) | undefined | void;

/**
 * An async context made by {@link Engine.createContext}; 0 means "no scope", {@link ANONYMOUS} a callback scope of
 * nobody's.
 */
export type ContextId = number;

export const ANONYMOUS: ContextId = 1;

/** Any source of upcalls. */
export interface Channel {
  /** The context in which this channel's upcalls run. May be changed at any time. */
  context: ContextId;
}

/** Upcalls of a connection. The engine reads the methods at call time. */
export interface ConnectionSink {
  /** The outcome of connect(): 0 or a negative errno. Exactly once, never inside connect(). Not for accepted ones. */
  onConnect(status: number): Upcall;
  /**
   * Received bytes: all that was in order, at most 64 KiB. The memory is the engine's, good until the upcall returns; no
   * program may see it, for it holds the bytes of other connections and the engine writes to it again. Not called while
   * reading is off, except for what was already under way: the sink keeps that until it wants it.
   */
  onData(slab: ArrayBuffer, offset: number, length: number): Upcall;
  /** The same in memory of the receiver's own, whole: `bytes.buffer` has these bytes and no others. */
  onBytes(bytes: Uint8Array): Upcall;
  /** The peer's FIN, behind the last byte. Once. */
  onEnd(): Upcall;
  /** The connection is dead (ECONNRESET, ETIMEDOUT, EPIPE ...), behind the last byte received before it. Once. */
  onError(errno: number): Upcall;
  /** There is room for bytes again after write() took less than it was given. */
  onWritable(): Upcall;
  /**
   * The connection is about to leave for the kernel: what onData brought and nobody has seen. It goes along if the
   * connection does go, which onLeft tells. Without this method the connection cannot leave.
   */
  onLeaving?(): readonly Uint8Array[];
  /** The kernel goes on with the connection from here. No upcall of the engine follows. */
  onLeft?(end: KernelEnd): void;
}

/** What the kernel goes on with. */
export interface KernelEnd {
  /** A connected socket, the receiver's from now on. */
  readonly fd: number;
  /** Of what write() took: bytes for which the kernel had no memory. Almost always none. */
  readonly unsent: Uint8Array;
}

export interface SocketAddress {
  address: string;
  port: number;
  family: 'IPv4' | 'IPv6';
}

/** Congestion control by name. */
export type Congestion = 'cubic' | 'newreno' | 'bbr';

/** RFC 9293 3.3.2. */
export type ConnectionState =
  | 'CLOSED'
  | 'LISTEN'
  | 'SYN-SENT'
  | 'SYN-RECEIVED'
  | 'ESTABLISHED'
  | 'FIN-WAIT-1'
  | 'FIN-WAIT-2'
  | 'CLOSE-WAIT'
  | 'CLOSING'
  | 'LAST-ACK'
  | 'TIME-WAIT';

/** The terms of Linux's TCP_INFO. */
export interface ConnectionInfo {
  readonly state: ConnectionState;
  readonly congestion: Congestion;
  /** Payload of a full segment. */
  readonly mssBytes: number;
  /** What congestion control lets be in flight. */
  readonly congestionWindowBytes: number;
  /** null: no loss has set one. */
  readonly slowStartThresholdBytes: number | null;
  /** null: not paced; BBR paces. */
  readonly pacingBytesPerS: number | null;
  /** Smoothed; 0: not measured yet. */
  readonly rttUs: number;
  readonly rttVarianceUs: number;
  readonly rttMinUs: number;
  /** The retransmission timeout. */
  readonly rtoUs: number;
  /** Of the peer: how much it takes. */
  readonly sendWindowBytes: number;
  /** What the peer was offered. */
  readonly receiveWindowBytes: number;
  /** With those that were sent again. */
  readonly bytesSent: number;
  readonly bytesAcknowledged: number;
  readonly bytesReceived: number;
  readonly bytesRetransmitted: number;
  readonly segmentsSent: number;
  readonly segmentsReceived: number;
  readonly segmentsRetransmitted: number;
}

export interface Connection extends Channel {
  sink: ConnectionSink;
  readonly local: SocketAddress;
  readonly remote: SocketAddress;
  /** It has died; onError has told or will. */
  readonly dead: boolean;
  /** Bytes accepted by write() and not yet acknowledged by the peer. */
  readonly unacknowledgedBytes: number;
  /** Takes as much as fits and returns the number of bytes taken; the rest is the caller's to offer again at onWritable. */
  write(data: Uint8Array): number;
  /** The same for pieces, of `total` bytes, that the program wrote as one: nobody sees a part of them alone. */
  writeAll(pieces: readonly Uint8Array[], total: number): number;
  /** The same for a string, without a Buffer in between; -1 when it does not fit as a whole: encode it and use write(). */
  writeUtf8(text: string): number;
  writeLatin1(text: string): number;
  /**
   * `own`: the program is to have the bytes in memory of its own, so many at once come by onBytes, with one copy less.
   * Both ways are possible at any time.
   */
  setReading(on: boolean, own?: boolean): void;
  /** FIN behind everything written. */
  shutdown(): void;
  /** FIN behind everything written, or RST when received bytes were not read. No upcall follows. */
  close(): void;
  /** RST. No upcall follows. */
  abort(): void;
  /**
   * Makes the kernel go on with the connection in mid-stream and calls the sink's onLeft; between sockets of this process
   * with both ends. 0, or a negative errno with which nothing has changed: EPERM without CAP_NET_ADMIN, ENOTCONN while it
   * is not up or when it has ended, EAGAIN when the other end is in this process and nobody has it yet.
   */
  handOver(): number;
  setNoDelay(on: boolean): number;
  setKeepAlive(on: boolean, idleSeconds: number, intervalSeconds?: number, count?: number): number;
  setTypeOfService(value: number): number;
  setCongestion(name: Congestion): number;
  /** null: nothing is known of it (it is the kernel's, or closed). */
  info(): ConnectionInfo | null;
}

export interface ListenerSink {
  /**
   * A connection was accepted. The receiver makes its handle here, outside of any callback, as libuv does; what it
   * returns is asked a little later for what is to be called in the listener's context.
   */
  onConnection(connection: Connection): () => Upcall;
}

export interface Listener extends Channel {
  sink: ListenerSink;
  /** Of the connections whose handshake begins from now on. */
  setCongestion(name: Congestion): number;
  close(): void;
}

export interface DatagramSink {
  /** One datagram, in memory of the engine's, as with onData. Length 0 is a datagram too. */
  onMessage(
    slab: ArrayBuffer,
    offset: number,
    length: number,
    address: string,
    port: number,
    family: 'IPv4' | 'IPv6',
  ): Upcall;
  /** An asynchronous error of a connected socket (ECONNREFUSED). */
  onError(errno: number): Upcall;
}

export interface DatagramSocket extends Channel {
  sink: DatagramSink;
  /**
   * Sends the parts as one datagram. Returns the bytes sent, a negative errno, or {@link NOT_OURS} when policy or route
   * keep the destination off the fast path, when the datagram is longer than its MTU, and when no packet memory is free:
   * send it through the kernel then.
   */
  send(parts: readonly ArrayBufferView[], count: number, address: string, port: number): number;
  /** The same to the connected peer. */
  sendConnected(parts: readonly ArrayBufferView[], count: number): number;
  /** 0, or NOT_OURS: the peer is not reached through the fast path. */
  connect(address: string, port: number): number;
  disconnect(): void;
  setReading(on: boolean): void;
  setTtl(ttl: number): number;
  setReceiveBuffer(bytes: number): void;
  /**
   * Takes a group's datagrams as they come by the fast path, or leaves them to the kernel again. The kernel's socket has
   * joined. Where the group does not come by an accelerated interface nothing happens.
   */
  setMembership(join: boolean, membership: Membership): void;
  close(): void;
}

/** A membership as it was given to addMembership() or addSourceSpecificMembership(). */
export interface Membership {
  readonly group: string;
  /** Of the interface; undefined: as the route leads. */
  readonly interfaceAddress: string | undefined;
  /** undefined: any. */
  readonly source: string | undefined;
}

/** Returned by a send that the kernel has to do. No errno has this value. */
export const NOT_OURS = -0x10000;

export interface Engine {
  /** An async context for a resource (a handle, a request), captured now. Free it when the resource is done. */
  createContext(resource: object, type: string): ContextId;
  freeContext(context: ContextId): void;
  /** Changes from one round of the event loop to the next, behind the upcalls and before setImmediate's callbacks. */
  readonly round: number;
  /**
   * May what comes now be an answer to an upcall of this same round? Of that the kernel would tell in the next round, for
   * it is asked once per round.
   */
  readonly answering: boolean;
  /** Changes from one look at the network to the next, of which a round may have several: what was found together. */
  readonly turn: number;
  /**
   * To be called before a consumer in C++ calls back. What a listener has thrown further down in its call is told now:
   * V8 would throw it at whoever calls a native function next. And what that has left behind of nextTick runs, unless
   * another callback is running: the call back would run it, and fail when that throws.
   */
  settle(): void;
  /** Calls `callback` from the event loop, soon, never synchronously, and what it returns in `context`. In order. */
  post(context: ContextId, callback: () => Upcall): void;
  /**
   * In the closing phase of this round of the loop, behind the callbacks of setImmediate, where libuv calls those of
   * close(): calls `closing` with no scope, then runs what that posted, then calls `after`, whose posts wait for the next
   * round. To be called once per round.
   */
  atRoundEnd(closing: () => void, after: () => void): void;
  /**
   * Opens a connection if policy and route say that it is ours. null: the kernel's. A negative number: ours, and failed at
   * once. `local` is given when the socket was bound before (the caller keeps the kernel's socket as reservation).
   */
  connect(address: string, port: number, local: SocketAddress | null, sink: ConnectionSink): Connection | number | null;
  /**
   * Begins to take connections for a listener that the kernel holds, before the kernel itself begins to. null: not ours.
   */
  listen(local: SocketAddress, dualStack: boolean, backlog: number, sink: ListenerSink): Listener | number | null;
  /**
   * Has the descriptor of a kernel's listener closed before the stack waits for its peers at the end of the process, so
   * that nobody gets through to a program that is gone. Call what it returns before the descriptor is closed otherwise.
   */
  closeAtExit(descriptor: number): () => void;
  /**
   * Begins to take datagrams for a socket that is bound in the kernel. null, or a negative errno when it is wanted but
   * cannot be had (an address that is not of an accelerated interface, a limit): the kernel's alone.
   */
  bind(local: SocketAddress, dualStack: boolean, sink: DatagramSink): DatagramSocket | number | null;
  /** Keeps the event loop alive while the count of calls with true exceeds that with false. */
  hold(on: boolean): void;
}
