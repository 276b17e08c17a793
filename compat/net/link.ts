/**
 * The life of one accelerated TCP handle: connecting, receiving, sending, closing; the sink of the engine's connection.
 * The handle (handle.ts) has the shape that Node wants and no logic, this has the logic and no shape.
 *
 * Two ways lead up. Plain JavaScript on top (net.Socket): `handle.onread` is called, in the handle's async context, with
 * an ArrayBuffer of these bytes alone, as libuv's handle has it, or with a view of the slab. Node makes its Buffer of either,
 * of the view with memory of its own: programs transfer `data.buffer` to other threads, and read it from its beginning to its
 * end. A consumer in C++ on top (TLS, http2, http's parser): only readBuffer() and emitEOF() reach it, they make their own
 * callback scope, and so the engine must call us with none (context 0).
 */
import type {
  Congestion,
  Connection,
  ConnectionInfo,
  ConnectionSink,
  ContextId,
  Engine,
  KernelEnd,
  SocketAddress,
  Upcall,
} from '../../lib/engine';
import type { AsyncScope } from '../async-scope';
import { type AddressOut, internals, type Request, type TcpHandle } from '../internals';
import { afterRound, whenClosing } from './closing';
import type { SocketHandle } from './handle';
import type { Identity } from './identity';
import { KernelConnection } from './kernel-connection';
import { HANG_UP_IS_END } from './libuv';
import {
  CLOSED,
  CUT,
  ENDED,
  END_KEPT,
  END_SEEN,
  ERRNO_TOLD,
  ESTABLISHED,
  FLUSH_POSTED,
  HELD,
  LinkState,
  READING,
  REFERENCED,
  SHUT_DOWN,
} from './link-state';
import { Outbound } from './outbound';
import { piece } from './records';
import { beforeReading } from './thrown';
import { disown, parserReleased, topmost } from './upcall';

const { stream, uv } = internals();
const state = stream.streamBaseState;
const kRead = stream.kReadBytesOrError;
const kOffset = stream.kArrayBufferOffset;
const EOF = uv['UV_EOF'] as number;
const ECANCELED = uv['UV_ECANCELED'] as number;
const ENOTCONN = uv['UV_ENOTCONN'] as number;
const EBADF = uv['UV_EBADF'] as number;
const EPIPE = uv['UV_EPIPE'] as number;

/** An address of this machine, whatever the other end's is. */
const LOOPBACK = /^(?:127\.|::1$|::ffff:127\.)/;

/** Shared: most connections never keep anything. */
const NONE = Object.freeze([]) as unknown as Uint8Array[];

/** Who is on top of the handle. */
export type Consumer = 'script' | 'native' | 'parser';

/** Those of open handles. Node's JSStream is a weak object: without this an idle socket would be collected. */
const live = new Set<Link>();

/** Of every open handle, in the order of their making. */
export function openLinks(): Iterable<Link> {
  return live;
}

export class Link extends LinkState implements ConnectionSink {
  readonly handle: SocketHandle;
  readonly identity: Identity;
  bytesRead = 0;
  /** Bytes that requests gave us, sent or not, as libuv counts them. */
  bytesWritten = 0;
  /** The round of the loop that last brought bytes. */
  #lastRead = -1;
  /** The engine's turn that did. */
  #lastTurn = -1;
  /** The buffer of net's `onread` option. */
  userBuffer: Uint8Array | null = null;
  /** Pieces that went up to a consumer in C++. */
  #records = 0;
  readonly #engine: Engine;
  #connection: Connection | null = null;
  #outbound: Outbound | null = null;
  #connectRequest: Request | null = null;
  #connectScope: AsyncScope | null = null;
  #consumer: Consumer = 'script';
  /** What was received while nobody wanted it. */
  #kept = NONE;
  /** Why the connection died. */
  #errno = 0;
  #flushContext: ContextId = 0;

  constructor(engine: Engine, handle: SocketHandle, identity: Identity) {
    super();
    this.#engine = engine;
    this.handle = handle;
    this.identity = identity;
    live.add(this);
  }

  /** An accepted connection; `serverAsyncId` is its server's. */
  accept(connection: Connection, serverAsyncId: number): void {
    this.#connection = connection;
    this.identity.accept(this.handle, serverAsyncId);
    connection.sink = this;
    this.mark(ESTABLISHED);
    connection.context = this.#context();
    this.#outbound?.open(connection);
  }

  /** A connection that has begun; `request` completes when it is up or has failed. */
  connect(connection: Connection, request: Request): void {
    this.#connection = connection;
    this.#connectRequest = request;
    this.#connectScope = this.identity.connect(this.handle, request);
    connection.context = this.#connectScope.context;
    this.updateHold();
  }

  /**
   * Makes the kernel go on with the connection in mid-stream; nobody above notices. 0, also when it has done so before,
   * or a negative errno with which nothing has changed.
   */
  leave(): number {
    if (this.kernel !== null) return 0;
    if (this.#connection === null || this.connecting || this.is(CLOSED) || this.#errno !== 0) return ENOTCONN;
    return this.#connection.handOver();
  }

  /** 0, or a negative errno; null: the kernel's. */
  setCongestion(name: Congestion): number | null {
    if (this.kernel !== null) return null;
    if (this.#connection === null || this.is(CLOSED) || this.#isDead()) return ENOTCONN;
    return this.#connection.setCongestion(name);
  }

  info(): ConnectionInfo | null {
    return this.is(CLOSED) ? null : (this.#connection?.info() ?? null);
  }

  /** The kernel's handle, when the connection has left the fast path. */
  get kernel(): TcpHandle | null {
    return this.#connection instanceof KernelConnection ? this.#connection.handle : null;
  }

  /** Gives the kernel's handle away: the connection is whose that is, and this has ended. */
  release(): TcpHandle | null {
    const { kernel } = this;
    if (kernel === null) return null;
    this.setReading(false);
    this.mark(CLOSED);
    this.identity.close();
    this.updateHold();
    (this.#connection as KernelConnection).release();
    this.#engine.post(this.identity.context, () => this.#forget());
    return kernel;
  }

  onLeaving(): Uint8Array[] {
    return this.#kept;
  }

  onLeft(end: KernelEnd): void {
    const kernel = new KernelConnection(this.#engine, end, this.#connection as Connection);
    this.#connection = kernel;
    kernel.context = this.#context();
    // The kernel tells of both once more.
    this.#kept = NONE;
    this.mark(CUT, false);
    if (!this.is(ENDED)) this.mark(END_SEEN | END_KEPT, false);
    this.#outbound?.open(kernel);
    // A FIN that was given to the engine goes behind what the engine could not give to the kernel.
    if (end.unsent.byteLength > 0 && this.is(SHUT_DOWN) && !this.#busy) kernel.shutdown();
    if (this.is(READING)) this.#startReading(kernel);
  }

  /** A consumer in C++ is about to call. */
  settle(): void {
    this.#engine.settle();
  }

  /** The engine did not take it: the handle was made for nothing. */
  discard(): void {
    this.mark(CLOSED);
    live.delete(this);
  }

  get connecting(): boolean {
    return this.#connectRequest !== null;
  }

  get connection(): Connection | null {
    return this.#connection;
  }

  /** True when a write may go straight to the connection. */
  get idle(): boolean {
    return this.#outbound === null ? this.is(ESTABLISHED) && !this.connecting : this.#outbound.idle;
  }

  /** What has to wait, or completes later. Most connections need it at their end only. */
  get outbound(): Outbound {
    if (this.#outbound !== null) return this.#outbound;
    const { idle } = this;
    this.#outbound = new Outbound(this.#engine, this);
    if (idle) this.#outbound.open(this.#connection as Connection);
    return this.#outbound;
  }

  get queuedBytes(): number {
    return this.#outbound?.queuedBytes ?? 0;
  }

  get #busy(): boolean {
    return this.#outbound?.busy === true;
  }

  /** Are completions posted that have not run? */
  get #completing(): boolean {
    return this.#outbound?.completing === true;
  }

  get consumer(): Consumer {
    return this.#consumer;
  }

  /** Somebody is about to read through C++. Bytes and EOF take the other way from now on. */
  set consumer(consumer: Consumer) {
    this.#consumer = consumer;
    if (this.#connection === null || this.#connectRequest !== null) return;
    this.#connection.context = this.#context();
    if (this.is(READING) && !this.is(CLOSED)) this.#startReading(this.#connection);
  }

  /** Whoever reads through C++ copies the bytes himself. */
  #startReading(connection: Connection): void {
    connection.setReading(true, this.#consumer === 'script' && this.userBuffer === null);
  }

  address(which: 'local' | 'remote', out: AddressOut): number {
    const known: SocketAddress | undefined = this.#connection?.[which];
    if (known === undefined || (which === 'remote' && (this.connecting || this.#isDead()))) return ENOTCONN;
    out.address = known.address;
    out.family = known.family;
    out.port = known.port;
    return 0;
  }

  /** The kernel does not know the peer of such a connection any more; Node remembers it if it has asked before. */
  #isDead(): boolean {
    return this.#errno !== 0 || this.#connection?.dead === true;
  }

  setReading(on: boolean): void {
    if (this.is(CLOSED) || this.is(READING) === on) return;
    this.mark(READING, on);
    if (this.#connectRequest === null && this.#connection !== null) {
      if (on) this.#startReading(this.#connection);
      else this.#connection.setReading(false);
    }
    if (on) this.#postFlush();
    this.updateHold();
  }

  ref(): void {
    this.mark(REFERENCED);
    this.updateHold();
  }

  unref(): void {
    this.mark(REFERENCED, false);
    this.updateHold();
  }

  setNoDelay(on: boolean): number {
    return this.#connection?.setNoDelay(Boolean(on)) ?? 0;
  }

  setKeepAlive(on: boolean, idleSeconds: number, intervalSeconds?: number, count?: number): number {
    return this.#connection?.setKeepAlive(Boolean(on), idleSeconds, intervalSeconds, count) ?? 0;
  }

  /** 0, or the errno with which a write must fail now. */
  writeError(): number {
    if (this.is(CLOSED)) return EBADF;
    if (this.is(SHUT_DOWN)) return EPIPE;
    if (this.#errno === 0) return 0;
    if (this.is(ERRNO_TOLD)) return EPIPE;
    this.mark(ERRNO_TOLD);
    return this.#errno;
  }

  shutdown(request: Request, native: boolean): number {
    const up = this.#connection !== null && this.#connectRequest === null && this.#errno === 0;
    if (!up || this.is(CLOSED) || this.is(SHUT_DOWN)) return ENOTCONN;
    this.mark(SHUT_DOWN);
    this.outbound.queueShutdown(request, native);
    this.updateHold();
    return 0;
  }

  /**
   * Closes as libuv does: requests under way are cancelled, then the callback, all of it later. With bytes that nobody
   * read the peer gets RST, as from Linux.
   */
  close(callback: (() => void) | undefined, reset: boolean): void {
    if (this.is(CLOSED)) return;
    this.mark(CLOSED);
    this.identity.close();
    // A closing handle keeps the loop alive until it has closed, referenced or not.
    this.#engine.hold(true);
    this.updateHold();
    if (reset || this.#kept.length > Number(this.is(CUT)) || !this.is(ESTABLISHED)) this.#connection?.abort();
    else this.#connection?.close();
    this.#kept = NONE;
    whenClosing(this.#engine, () => this.#finishClose(callback));
  }

  #finishClose(callback: (() => void) | undefined): void {
    const request = this.#connectRequest;
    if (request !== null) {
      const scope = this.#connectScope as AsyncScope;
      this.#connectRequest = null;
      this.#engine.post(scope.context, () => this.#completion(scope, request, ECANCELED));
    }
    this.#outbound?.fail(ECANCELED);
    this.#engine.post(this.identity.context, () => this.#afterClose(callback));
  }

  onConnect(status: number): Upcall {
    const connection = this.#connection;
    if (connection === null) return undefined;
    this.mark(ESTABLISHED, status === 0);
    // A server in this process learns of the connection first, as under the kernel, where the handshake is over before
    // the client looks.
    const { local, remote } = connection;
    const near = status === 0 && (local.address === remote.address || LOOPBACK.test(remote.address));
    if (!near) return this.#completeConnect(connection, status);
    // Twice: the server's upcall is posted when its event comes, right behind this one.
    this.#engine.post(0, () => {
      if (this.is(CLOSED)) return undefined;
      const context = (this.#connectScope as AsyncScope).context;
      this.#engine.post(context, () => this.#completeConnect(connection, status));
      return undefined;
    });
    return undefined;
  }

  #completeConnect(connection: Connection, status: number): Upcall {
    const request = this.#connectRequest;
    if (request === null || this.is(CLOSED)) return undefined;
    this.#connectRequest = null;
    connection.context = this.#context();
    if (status === 0) {
      this.#outbound?.open(connection);
      if (this.is(READING)) this.#startReading(connection);
    }
    this.updateHold();
    return this.#completion(this.#connectScope as AsyncScope, request, status);
  }

  #completion(scope: AsyncScope, request: Request, status: number): Upcall {
    scope.end();
    const up = status === 0;
    return request.oncomplete && scope.bindAll(request.oncomplete, request, [status, this.handle, request, up, up]);
  }

  onData(slab: ArrayBuffer, offset: number, length: number): Upcall {
    return this.#receive(new Uint8Array(slab, offset, length), false);
  }

  onBytes(bytes: Uint8Array): Upcall {
    return this.#receive(bytes, true);
  }

  /** `own`: they have memory to themselves. */
  #receive(bytes: Uint8Array, own: boolean): Upcall {
    if (this.is(CLOSED)) return undefined;
    // A consumer in C++ must know that what is answered has been written: its completions are posted, this comes behind.
    const behind = this.#consumer !== 'script' && this.#completing;
    if (this.is(READING) && this.#kept.length === 0 && !behind && this.#recordOf(bytes) === bytes.byteLength) {
      if (this.userBuffer === null) return this.#deliver(bytes, own);
      if (bytes.byteLength <= this.userBuffer.byteLength) return this.identity.bind(this.#fillUserBuffer, this, bytes);
    }
    const kept = own ? bytes : bytes.slice();
    if (this.#kept === NONE) this.#kept = [kept];
    else this.#kept.push(kept);
    if (!this.is(READING)) return undefined;
    if (behind || this.#kept.length > 1) {
      this.#postFlush();
      return undefined;
    }
    const upcall = this.#deliverKept();
    if (this.#consumer !== 'script') this.#postFlush();
    return upcall;
  }

  onEnd(): Upcall {
    if (this.is(CLOSED) || this.is(END_SEEN)) return undefined;
    this.mark(END_SEEN | END_KEPT);
    // A writer that did not read hears of a reset before the end, and may have begun to read since.
    if (this.#errno !== 0) this.#failWrites();
    if (!this.is(READING)) return undefined;
    const behind = this.#consumer !== 'script' && this.#completing;
    if (this.#kept.length > 0 || behind || this.is(FLUSH_POSTED) || this.#isForNextRound()) {
      this.#postFlush();
      return undefined;
    }
    // At once: what other connections hear in this round comes behind it.
    return this.#deliverEnd();
  }

  onError(errno: number): undefined {
    if (this.is(CLOSED) || this.#errno !== 0) return;
    this.#errno = errno;
    // Found in one look: not a reset that answers what this round's upcalls have sent meanwhile.
    const withBytes = this.#kept.length > 0 || this.#lastTurn === this.#engine.turn;
    if (HANG_UP_IS_END && this.is(READING) && !this.is(END_SEEN) && withBytes) {
      this.mark(END_SEEN | END_KEPT);
      if (!this.is(FLUSH_POSTED)) {
        this.mark(FLUSH_POSTED);
        this.#postNow();
      }
    }
    // With the kernel a reader learns of it first and cancels its writes itself; without one the writes fail. Who has
    // the peer's FIN reads no more: it sees the end, whatever came after.
    if (!this.is(READING) || this.is(END_SEEN)) this.#failWrites();
    else this.#postFlush();
  }

  #failWrites(): void {
    if (this.#busy) this.mark(ERRNO_TOLD);
    this.#outbound?.fail(this.#errno);
    this.updateHold();
  }

  onWritable(): undefined {
    if (!this.is(CLOSED)) this.#outbound?.pump();
  }

  /** Would the kernel tell of the end, or of an error, in the next round of the loop? */
  #isForNextRound(): boolean {
    return this.#lastRead === this.#engine.round || this.#engine.answering;
  }

  /** The context in which the engine must call: none when the way up is C++. */
  #context(): ContextId {
    return this.#consumer === 'script' ? this.identity.context : 0;
  }

  #deliver(bytes: Uint8Array, own: boolean): Upcall {
    this.bytesRead += bytes.byteLength;
    this.#lastRead = this.#engine.round;
    this.#lastTurn = this.#engine.turn;
    if (this.#consumer === 'script') {
      state[kRead] = bytes.byteLength;
      state[kOffset] = 0;
      const whole = own && bytes.byteLength === bytes.buffer.byteLength;
      return this.identity.bind(
        this.handle.onread as (bytes: unknown) => void,
        this.handle,
        whole ? bytes.buffer : bytes,
      );
    }
    if (this.#consumer === 'native') beforeReading(this, this.#records);
    this.#records++;
    // After an upgrade http's server has let go of the connection: the short way is open for what comes next.
    if (this.#consumer === 'parser' && parserReleased(this.handle)) this.consumer = 'script';
    return this.handle.readBuffer.bind(this.handle, bytes);
  }

  /** How many of these bytes go up together. */
  #recordOf(bytes: Uint8Array): number {
    return this.#consumer === 'script' ? bytes.byteLength : piece(this.handle, bytes, this.#records);
  }

  /** Hands up one piece of what was kept. */
  #deliverKept(): Upcall {
    const chunk = this.#kept[0] as Uint8Array;
    const fits = this.userBuffer?.byteLength ?? this.#recordOf(chunk);
    const rest = fits < chunk.byteLength;
    if (rest) this.#kept[0] = chunk.subarray(fits);
    else this.#kept.shift();
    this.mark(CUT, rest && this.userBuffer === null);
    if (this.userBuffer === null) return this.#deliver(chunk.subarray(0, fits), true);
    const part = chunk.subarray(0, fits);
    return this.identity.bind(this.#fillUserBuffer, this, part);
  }

  /** The `onread` option of net: into the program's own buffer; what the upcall returns is the next one. */
  #fillUserBuffer(bytes: Uint8Array): void {
    const buffer = this.userBuffer;
    if (buffer === null || this.is(CLOSED)) return;
    buffer.set(bytes);
    this.bytesRead += bytes.byteLength;
    this.#lastRead = this.#engine.round;
    this.#lastTurn = this.#engine.turn;
    state[kRead] = bytes.byteLength;
    const next = (this.handle.onread as (slab: undefined) => unknown)(undefined);
    if (next instanceof Uint8Array && this.userBuffer !== null) this.userBuffer = next;
    if (this.is(READING) && !this.is(CLOSED)) this.#postFlush();
  }

  #deliverEnd(): Upcall {
    this.mark(END_KEPT, false);
    this.mark(ENDED);
    this.updateHold();
    if (this.#consumer !== 'script') return this.handle.emitEOF.bind(this.handle);
    state[kRead] = EOF;
    return this.identity.bind(this.handle.onread as (slab: undefined) => void, this.handle, undefined);
  }

  /** For the handle's context. */
  #deliverErrno(): Upcall {
    this.mark(ENDED);
    this.updateHold();
    if (this.is(ERRNO_TOLD)) return this.#deliverEnd();
    this.mark(ERRNO_TOLD);
    const top = topmost(this.handle);
    state[kRead] = this.#errno;
    // Usually the handle is closed by then and its requests are cancelled.
    this.#engine.post(0, () => {
      if (!this.is(CLOSED)) this.#outbound?.fail(this.#errno);
      return undefined;
    });
    return this.identity.bind(top.onread, top, undefined);
  }

  /**
   * Hands up what is kept soon, one piece per callback. The end and an error come in a later round of the loop than the
   * bytes before them, as from the kernel, where each is found by a read of its own: programs use setImmediate between.
   */
  #postFlush(): void {
    const atEnd = this.#kept.length === 0;
    if (atEnd && !this.is(END_KEPT) && (this.#errno === 0 || this.is(ENDED))) return;
    if (this.is(FLUSH_POSTED)) return;
    this.mark(FLUSH_POSTED);
    if (atEnd && this.#isForNextRound()) afterRound(this.#engine, () => this.#postNow());
    else this.#postNow();
  }

  #postNow(): void {
    this.#flushContext = this.is(CLOSED) ? 0 : this.#nextContext();
    this.#engine.post(this.#flushContext, () => this.#flush());
  }

  /** An errno goes up through JavaScript whatever is on top, so it needs the context. */
  #nextContext(): ContextId {
    const onlyErrno = this.#kept.length === 0 && !this.is(END_KEPT);
    return onlyErrno ? this.identity.context : this.#context();
  }

  #flush(): Upcall {
    this.mark(FLUSH_POSTED, false);
    if (this.is(CLOSED) || !this.is(READING)) return undefined;
    let upcall: Upcall;
    // Otherwise somebody else is on top since: once more, in the right context.
    if (this.#flushContext === this.#nextContext()) {
      if (this.#kept.length > 0) upcall = this.#deliverKept();
      else if (this.is(END_KEPT)) upcall = this.#deliverEnd();
      else if (this.#errno !== 0 && !this.is(ENDED)) upcall = this.#deliverErrno();
    }
    this.#postFlush();
    return upcall;
  }

  #afterClose(callback: (() => void) | undefined): Upcall {
    this.#engine.hold(false);
    this.#forget();
    return callback && this.identity.bind(callback, this.handle, undefined);
  }

  #forget(): undefined {
    live.delete(this);
    // Completions that were put aside while this closed ask for the socket.
    if (this.#completing) {
      afterRound(this.#engine, () => this.#engine.post(0, () => disown(this.handle) as undefined));
    } else disown(this.handle);
    this.identity.end();
  }

  /** Keeps the event loop alive exactly as long as libuv would: not for an idle socket after EOF, for instance. */
  updateHold(): void {
    // A request of libuv's keeps the loop alive by itself, whether its handle has a reference or not.
    const requests = this.#connectRequest !== null || this.#busy;
    const hold = !this.is(CLOSED) && (requests || (this.is(REFERENCED) && this.is(READING) && !this.is(ENDED)));
    if (hold === this.is(HELD)) return;
    this.mark(HELD, hold);
    this.#engine.hold(hold);
  }
}
