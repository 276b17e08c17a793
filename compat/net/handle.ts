/**
 * The handle of an accelerated TCP socket: what net, http, tls and http2 expect of Node's own TCP handle, over a Link.
 *
 * It extends JSStream, which is a true StreamBase, so consumers written in C++ accept it. The write methods are
 * overridden in JavaScript: a write of JavaScript goes to the engine without passing through C++. Every one of them sets
 * streamBaseState before it returns, whatever happens. The class is named TCP because Node prints that name in stacks.
 */
import type { Connection, Engine } from '../../lib/engine';
import { type AddressOut, internals, type Request, type TcpHandle } from '../internals';
import { Identity } from './identity';
import { Link } from './link';
import { isWrapped } from './upcall';

const { JSStream, TCP: NodeTcp, stream, uv } = internals();
/** Asked at every call: a program may have replaced what it has (see hooks.ts). */
const watched = NodeTcp.prototype;
const state = stream.streamBaseState;
const kBytes = stream.kBytesWritten;
const kAsync = stream.kLastWriteWasAsync;
const kError = stream.kLastWriteErr;
const EINVAL = uv['UV_EINVAL'] as number;
const EISCONN = uv['UV_EISCONN'] as number;
const EALREADY = uv['UV_EALREADY'] as number;
/**
 * What onwrite answers when the write is done. StreamBase knows a write as under way by an answer of 0, and by no other;
 * as an error counts what is negative.
 */
const DONE = 1;

/** JSStream, without what we define anew: TypeScript need not know that those are accessors in C++. */
const Base = JSStream as unknown as {
  new (): {
    onread: unknown;
    readBuffer(data: Uint8Array): void;
    emitEOF(): void;
    finishWrite(request: object, status: number): void;
    finishShutdown(request: object, status: number): void;
    getAsyncId(): number;
    asyncReset(resource: object): void;
    [key: symbol]: unknown;
  };
};

/** What #offer tells besides. */
let takenOfNext = 0;

class TCP extends Base {
  /** Node's own property: it says whether the socket reads; http's agent and TLS put theirs in its place. */
  declare reading?: boolean;
  readonly #link: Link;

  /** @param former the handle in whose place this stands; null: none, of an accepted connection */
  constructor(engine: Engine, former: TcpHandle | null) {
    super();
    this.#link = new Link(engine, this as unknown as SocketHandle, new Identity(engine, former));
  }

  static linkOf(handle: object): Link | undefined {
    return #link in handle ? (handle as TCP).#link : undefined;
  }

  writeBuffer(request: Request | null, data: Uint8Array): number | Request {
    if (!ArrayBuffer.isView(data)) throw notBuffer();
    const link = this.#link;
    const total = data.byteLength;
    state[kBytes] = total;
    state[kAsync] = 0;
    link.bytesWritten += total;
    const errno = link.writeError();
    if (errno !== 0) return errno;
    if (link.idle) {
      const taken = total === 0 ? 0 : (link.connection as Connection).write(data);
      if (taken === total) return 0;
      return this.#keep(request, [data], taken, total);
    }
    return this.#keep(request, [data], 0, total);
  }

  writeUtf8String(request: Request | null, text: string): number | Request {
    const link = this.#link;
    if (link.idle) {
      const errno = link.writeError();
      state[kBytes] = 0;
      state[kAsync] = 0;
      if (errno !== 0) return errno;
      const taken = (link.connection as Connection).writeUtf8(text);
      if (taken >= 0) {
        state[kBytes] = taken;
        link.bytesWritten += taken;
        return 0;
      }
    }
    return this.writeBuffer(request, Buffer.from(text, 'utf8'));
  }

  writeLatin1String(request: Request | null, text: string): number | Request {
    const link = this.#link;
    if (link.idle) {
      const errno = link.writeError();
      state[kBytes] = 0;
      state[kAsync] = 0;
      if (errno !== 0) return errno;
      const taken = (link.connection as Connection).writeLatin1(text);
      if (taken >= 0) {
        state[kBytes] = taken;
        link.bytesWritten += taken;
        return 0;
      }
    }
    return this.writeBuffer(request, Buffer.from(text, 'latin1'));
  }

  writeAsciiString(request: Request | null, text: string): number | Request {
    return this.writeLatin1String(request, text);
  }

  writeUcs2String(request: Request | null, text: string): number | Request {
    return this.writeBuffer(request, Buffer.from(text, 'utf16le'));
  }

  /** Returns how many chunks the connection took whole; of the next one it took {@link takenOfNext} bytes. */
  #offer(chunks: readonly Uint8Array[], total: number): number {
    let left = (this.#link.connection as Connection).writeAll(chunks, total);
    takenOfNext = 0;
    if (left === total) return chunks.length;
    let index = 0;
    for (; left >= (chunks[index] as Uint8Array).byteLength; index++) left -= (chunks[index] as Uint8Array).byteLength;
    takenOfNext = left;
    return index;
  }

  writev(request: Request | null, list: readonly unknown[], allBuffers: boolean): number | Request {
    const chunks = allBuffers ? (list as readonly Uint8Array[]) : encodeChunks(list);
    const link = this.#link;
    let total = 0;
    for (const chunk of chunks) total += chunk.byteLength;
    state[kBytes] = total;
    state[kAsync] = 0;
    link.bytesWritten += total;
    const errno = link.writeError();
    if (errno !== 0) return errno;
    let index = 0;
    let taken = 0;
    if (link.idle) {
      index = this.#offer(chunks, total);
      taken = takenOfNext;
      if (index === chunks.length) return 0;
    }
    return this.#keep(request, index === 0 ? chunks : chunks.slice(index), taken, total);
  }

  readStart(): number {
    this.#link.setReading(true);
    return 0;
  }

  readStop(): number {
    this.#link.setReading(false);
    return 0;
  }

  shutdown(request: Request): number {
    return this.#link.shutdown(request, false);
  }

  close(callback?: () => void): void {
    this.#link.close(callback, false);
  }

  reset(callback?: () => void): number {
    this.#link.close(callback, true);
    return 0;
  }

  ref(): void {
    watched.ref.call(this);
  }

  unref(): void {
    watched.unref.call(this);
  }

  hasRef(): boolean {
    return this.#link.referenced;
  }

  /** That of the handle in whose place this stands; otherwise its own, and not the JSStream's. */
  override getAsyncId(): number {
    return this.#link.identity.asyncId ?? super.getAsyncId();
  }

  override asyncReset(resource: object): void {
    if (!this.#link.identity.reset(this, resource)) super.asyncReset(resource);
  }

  getsockname(out: AddressOut): number {
    return this.#link.address('local', out);
  }

  getpeername(out: AddressOut): number {
    return this.#link.address('remote', out);
  }

  setNoDelay(on: boolean): number {
    return watched.setNoDelay.call(this, on);
  }

  setKeepAlive(on: boolean, idle: number, interval?: number, count?: number): number {
    return watched.setKeepAlive.call(this, on, idle, interval, count);
  }

  setTypeOfService(value: number): number {
    return this.#link.connection?.setTypeOfService(value) ?? 0;
  }

  useUserBuffer(buffer: Uint8Array): void {
    this.#link.userBuffer = buffer;
  }

  /** A second connect, as the kernel answers it. */
  connect(): number {
    return this.#link.connecting ? EALREADY : EISCONN;
  }

  connect6(): number {
    return this.connect();
  }

  bind(): number {
    return EINVAL;
  }

  bind6(): number {
    return EINVAL;
  }

  listen(): number {
    return EINVAL;
  }

  get bytesRead(): number {
    return this.#link.bytesRead;
  }

  get bytesWritten(): number {
    return this.#link.bytesWritten;
  }

  get writeQueueSize(): number {
    return this.#link.queuedBytes;
  }

  get fd(): number {
    return this.#link.kernel?.fd ?? -1;
  }

  /** Who asks is about to read the handle through C++ (TLS, http2, http's server). */
  get isStreamBase(): boolean {
    this.#link.consumer = 'native';
    return true;
  }

  /** Asked and set by http's server only, around its parser's taking over. */
  get _consumed(): boolean {
    return this.#link.consumer === 'parser';
  }

  set _consumed(value: boolean) {
    if (value) this.#link.consumer = 'parser';
  }

  // What JSStream calls when a consumer in C++ uses the stream.

  get onreadstart(): () => number {
    return this.#called(this.readStart);
  }

  get onreadstop(): () => number {
    return this.#called(this.readStop);
  }

  get onwrite(): (request: Request, chunks: readonly Uint8Array[]) => number {
    return this.#called(this.#write);
  }

  get onshutdown(): (request: Request) => number {
    return this.#called(this.#shutdown);
  }

  #called<F>(method: F): F {
    this.#link.settle();
    return method;
  }

  #write(request: Request, chunks: readonly Uint8Array[]): number {
    const link = this.#link;
    let total = 0;
    for (const chunk of chunks) total += chunk.byteLength;
    link.bytesWritten += total;
    const errno = link.writeError();
    if (errno !== 0) return errno;
    let index = 0;
    let taken = 0;
    if (link.idle) {
      index = this.#offer(chunks, total);
      taken = takenOfNext;
    }
    if (index === chunks.length) {
      // Who destroys an http2 session while a write is under way loses its GOAWAY. Over the kernel a write that is taken
      // whole is done at once, and so here; TLSWrap alone takes no other answer than 0.
      if (!isWrapped(this)) return DONE;
      link.outbound.completeNative(request);
    } else link.outbound.queueWrite(request, index === 0 ? chunks : chunks.slice(index), taken, true);
    link.updateHold();
    return 0;
  }

  #shutdown(request: Request): number {
    return this.#link.shutdown(request, true);
  }

  isClosing(): boolean {
    return this.#link.closed;
  }

  /**
   * Keeps what was not taken of a write of JavaScript. Node 26 and later give no request and want one only of a write
   * that is under way.
   */
  #keep(given: Request | null, chunks: readonly Uint8Array[], taken: number, total: number): number | Request {
    const link = this.#link;
    const request = given ?? new stream.WriteWrap();
    link.outbound.queueWrite(request, chunks, taken, false);
    link.updateHold();
    state[kBytes] = total;
    state[kAsync] = 1;
    if (given !== null) return 0;
    if (kError !== undefined) state[kError] = 0;
    return request;
  }
}

/** What Node's own handle throws. */
function notBuffer(): TypeError {
  return Object.assign(new TypeError('Second argument must be a buffer'), { code: 'ERR_INVALID_ARG_TYPE' });
}

/** Chunk, encoding, chunk, encoding ... as writev gets them. */
function encodeChunks(list: readonly unknown[]): Uint8Array[] {
  const chunks: Uint8Array[] = [];
  for (let i = 0; i < list.length; i += 2) {
    const chunk = list[i];
    chunks.push(typeof chunk === 'string' ? Buffer.from(chunk, list[i + 1] as BufferEncoding) : (chunk as Uint8Array));
  }
  return chunks;
}

export type SocketHandle = TCP;
export const SocketHandle = TCP;

/** The link of an accelerated handle; undefined for any other object. */
export function linkOf(handle: unknown): Link | undefined {
  return typeof handle === 'object' && handle !== null ? TCP.linkOf(handle) : undefined;
}
