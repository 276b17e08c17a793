/**
 * A connection that has left the fast path: what the engine's is to a Link, over the kernel's handle. The Link, the
 * handle above it and whoever reads through that (TLS, http2, http's parser) stay as they are.
 *
 * Upcalls are posted, so that each runs as an outermost callback in the context of its channel, as the engine's do.
 */
import type { Connection, ConnectionSink, ContextId, Engine, KernelEnd, SocketAddress } from '../../lib/engine';
import { internals, type TcpHandle } from '../internals';

const { TCP, stream, uv } = internals();
const state = stream.streamBaseState;
const EOF = uv['UV_EOF'] as number;
/** TCPConstants.SOCKET */
const SOCKET = 0;
/** Copied at once: libuv keeps the memory of what the kernel does not take, and the caller's is the caller's. */
const CHUNK_BYTES = 262_144;

export class KernelConnection implements Connection {
  sink: ConnectionSink;
  context: ContextId = 0;
  readonly local: SocketAddress;
  readonly remote: SocketAddress;
  /** Its handle knows. */
  readonly dead = false;
  /** Of Node's own class: what can be sent to another process or thread. */
  readonly handle: TcpHandle;
  readonly #engine: Engine;
  #reading = false;
  #closed = false;
  #shutting = false;
  /** Another process has the socket too. */
  #shared = false;
  /** Bytes that libuv still has. */
  #pendingBytes = 0;
  #writerWaits = false;
  /** What is to happen when libuv has no bytes any more. */
  #atRest: (() => void) | null = null;

  constructor(engine: Engine, end: KernelEnd, former: Connection) {
    this.#engine = engine;
    this.sink = former.sink;
    this.local = former.local;
    this.remote = former.remote;
    this.handle = new TCP(SOCKET);
    const errno = this.handle.open(end.fd);
    // Whether the loop stays alive is the Link's to say.
    this.handle.unref();
    this.handle.onread = (data: ArrayBuffer | undefined) => this.#onRead(data);
    if (errno !== 0) this.#fail(errno);
    else if (end.unsent.byteLength > 0) this.#write(end.unsent);
  }

  get unacknowledgedBytes(): number {
    return this.#pendingBytes;
  }

  write(data: Uint8Array): number {
    let taken = 0;
    while (taken < data.byteLength && this.#pendingBytes === 0 && !this.#closed) {
      const chunk = Buffer.from(data.subarray(taken, taken + CHUNK_BYTES));
      if (!this.#write(chunk)) return data.byteLength; // dead: the sink hears of it
      taken += chunk.byteLength;
    }
    this.#writerWaits = taken < data.byteLength;
    return taken;
  }

  writeAll(pieces: readonly Uint8Array[]): number {
    let total = 0;
    for (const piece of pieces) {
      const taken = this.write(piece);
      total += taken;
      if (taken < piece.byteLength) break;
    }
    return total;
  }

  /** Strings come as bytes. */
  writeUtf8(): number {
    return -1;
  }

  writeLatin1(): number {
    return -1;
  }

  setReading(on: boolean): void {
    if (this.#closed || this.#reading === on) return;
    this.#reading = on;
    const errno = on ? this.handle.readStart() : this.handle.readStop();
    if (errno !== 0 && on) this.#fail(errno);
  }

  shutdown(): void {
    if (this.#closed) return;
    const request = new stream.ShutdownWrap();
    request['handle'] = this.handle;
    request.oncomplete = () => {
      this.#shutting = false;
    };
    this.#shutting = this.handle.shutdown(request) === 0;
  }

  close(): void {
    if (this.#closed) return;
    this.setReading(false);
    this.#closed = true;
    const end = () => this.handle.close();
    if (this.#pendingBytes === 0) {
      end();
      return;
    }
    // What was taken is sent: libuv would throw it away.
    this.#atRest = end;
    // What comes meanwhile is that process's to read.
    if (this.#shared) return;
    // It is answered with a reset, as by the kernel: two ends that have both been closed would wait for each other.
    this.handle.onread = (data: ArrayBuffer | undefined) => {
      if (data === undefined && state[stream.kReadBytesOrError] === EOF) return;
      this.#atRest = () => {};
      this.#reset();
    };
    if (this.handle.readStart() !== 0) end();
  }

  /** The socket goes to another process, too: what this one does to it from now on must not touch what that one has. */
  share(): void {
    this.#shared = true;
  }

  /** The handle is another's. */
  release(): void {
    this.#closed = true;
    this.handle.onread = () => {};
    this.handle.ref();
  }

  abort(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#reset();
  }

  handOver(): number {
    return 0;
  }

  setNoDelay(on: boolean): number {
    return this.handle.setNoDelay(on);
  }

  setKeepAlive(on: boolean, idleSeconds: number, intervalSeconds?: number, count?: number): number {
    return this.handle.setKeepAlive(on, idleSeconds, intervalSeconds, count);
  }

  setTypeOfService(value: number): number {
    const set = this.handle['setTypeOfService'];
    return typeof set === 'function' ? (set.call(this.handle, value) as number) : 0;
  }

  /** The kernel's to choose. */
  setCongestion(): number {
    return 0;
  }

  info(): null {
    return null;
  }

  /** While its FIN is under way libuv refuses a reset, and Node's handle then takes no close() either, ever. */
  #reset(): void {
    if (this.#shared || this.#shutting || this.handle.reset() !== 0) this.handle.close();
  }

  /** False when the connection is dead. */
  #write(chunk: Uint8Array): boolean {
    const request = new stream.WriteWrap();
    request['handle'] = this.handle;
    request['buffer'] = chunk; // alive as long as the request
    request.oncomplete = (status: unknown) => this.#onWritten(chunk.byteLength, status as number);
    // Whoever writes through the handle above reads there what became of its own write.
    const bytes = state[stream.kBytesWritten] as number;
    const async = state[stream.kLastWriteWasAsync] as number;
    const errno = this.handle.writeBuffer(request, chunk);
    const waits = state[stream.kLastWriteWasAsync] !== 0;
    state[stream.kBytesWritten] = bytes;
    state[stream.kLastWriteWasAsync] = async;
    if (errno !== 0) {
      this.#fail(errno);
      return false;
    }
    if (waits) {
      this.#pendingBytes += chunk.byteLength;
      // The process must not end before these bytes have gone, as it does not with libuv's own queue.
      this.#engine.hold(true);
    }
    return true;
  }

  #onWritten(bytes: number, status: number): void {
    this.#pendingBytes -= bytes;
    this.#engine.hold(false);
    const atRest = this.#atRest;
    if (atRest !== null) atRest();
    else if (status < 0) this.#fail(status);
    else if (this.#writerWaits) this.#post(() => this.sink.onWritable());
  }

  #onRead(data: ArrayBuffer | undefined): void {
    const result = state[stream.kReadBytesOrError] as number;
    if (data !== undefined && result > 0) {
      const bytes = new Uint8Array(data, state[stream.kArrayBufferOffset] as number, result);
      this.#post(() => this.sink.onBytes(bytes));
    } else if (result === EOF) this.#post(() => this.sink.onEnd());
    else if (result < 0) this.#fail(result);
  }

  #fail(errno: number): void {
    this.#post(() => this.sink.onError(errno));
  }

  #post(upcall: () => ReturnType<ConnectionSink['onData']>): void {
    // In the context of when it runs: somebody else may be on top by then.
    const { context } = this;
    this.#engine.post(context, () => {
      if (this.#closed) return undefined;
      if (context === this.context) return upcall();
      this.#post(upcall);
      return undefined;
    });
  }
}
