/**
 * The parts of Node that lie under net and dgram: the handle classes, the shared state of StreamBase, and the symbols
 * that tie a handle to its socket. Everything is detected by its shape, nothing by Node's version. Where a part is
 * missing the facade leaves every socket to the kernel and says once which part it was.
 *
 * `process.binding` prints no warning for these bindings, except under --pending-deprecation, hence `noDeprecation`.
 */

/** A request object (TCPConnectWrap, WriteWrap, ShutdownWrap): Node sets `oncomplete` and expects it to be called. */
export interface Request {
  oncomplete?: (...args: unknown[]) => void;
  [key: PropertyKey]: unknown;
}

/** What net and dgram know of an address: the order of the keys is Node's. */
export interface AddressOut {
  address?: string;
  family?: string;
  port?: number;
}

/** Node's TCP handle (and what of a TLSWrap is the same). */
export interface TcpHandle {
  readonly fd: number;
  onread: unknown;
  onconnection?: (this: TcpHandle, status: number, client?: object) => void;
  reading?: boolean;
  connect(request: Request, address: string, port: number): number;
  bind6(address: string, port: number, flags?: number): number;
  listen(backlog: number): number;
  open(fd: number): number;
  readStart(): number;
  readStop(): number;
  writeBuffer(request: Request, data: Uint8Array): number;
  shutdown(request: Request): number;
  close(callback?: () => void): void;
  reset(callback?: () => void): number;
  ref(): void;
  unref(): void;
  setNoDelay(on: boolean): number;
  setKeepAlive(on: boolean, idleSeconds: number, intervalSeconds?: number, count?: number): number;
  getsockname(out: AddressOut): number;
  hasRef(): boolean;
  getAsyncId(): number;
  asyncReset(resource: object): void;
  [key: PropertyKey]: unknown;
}

/** Node's UDP handle. */
export interface UdpHandle {
  onmessage?: (size: number, handle: UdpHandle, data?: Uint8Array, from?: object) => void;
  bind(address: string, port: number, flags?: number): number;
  bind6(address: string, port: number, flags?: number): number;
  connect(address: string, port: number): number;
  connect6(address: string, port: number): number;
  disconnect(): number;
  send(request: Request, list: readonly ArrayBufferView[], count: number, ...rest: unknown[]): number;
  send6(request: Request, list: readonly ArrayBufferView[], count: number, ...rest: unknown[]): number;
  recvStart(): number;
  recvStop(): number;
  close(callback?: () => void): void;
  getsockname(out: AddressOut): number;
  addMembership(group: string, interfaceAddress?: string): number;
  dropMembership(group: string, interfaceAddress?: string): number;
  addSourceSpecificMembership(source: string, group: string, interfaceAddress?: string): number;
  dropSourceSpecificMembership(source: string, group: string, interfaceAddress?: string): number;
  setTTL(ttl: number): number;
  bufferSize(size: number, isReceive: boolean, context: object): number | undefined;
  getAsyncId(): number;
  [key: PropertyKey]: unknown;
}

/** JSStream: a StreamBase of C++ whose operations are JavaScript. */
export interface JsStream {
  onread: unknown;
  readBuffer(data: Uint8Array): void;
  emitEOF(): void;
  finishWrite(request: object, status: number): void;
  finishShutdown(request: object, status: number): void;
  getAsyncId(): number;
  [key: PropertyKey]: unknown;
}

export interface TlsBinding {
  wrap(handle: object, context: object, isServer: boolean, hasActiveWrite: boolean): TlsWrap;
  TLSWrap: { prototype: Record<string, unknown> };
}

export interface TlsWrap {
  onread: unknown;
  reading?: boolean;
  _parent?: object;
  destroySSL(): void;
  [key: PropertyKey]: unknown;
}

interface StreamBinding {
  streamBaseState: Int32Array;
  kReadBytesOrError: number;
  kArrayBufferOffset: number;
  kBytesWritten: number;
  kLastWriteWasAsync: number;
  /** Node 26 and later. */
  kLastWriteErr?: number;
  WriteWrap: new () => Request;
  ShutdownWrap: new () => Request;
}

export interface Internals {
  readonly TCP: { new (type: number): TcpHandle; prototype: TcpHandle };
  readonly UDP: { new (): UdpHandle; prototype: UdpHandle };
  readonly Pipe: { prototype: { unref(): void; [key: string]: unknown } };
  readonly JSStream: { new (): JsStream; prototype: JsStream };
  /** null on a Node built without OpenSSL. */
  readonly tls: TlsBinding | null;
  readonly stream: StreamBinding;
  /** Constants: UV_EOF, UV_ECANCELED ... */
  readonly uv: Readonly<Record<string, number>>;
}

let cached: Internals | string | undefined;

/** The internals, or a text that says which of them is missing. */
export function acquireInternals(): Internals | string {
  if (cached === undefined) {
    const before = Object.getOwnPropertyDescriptor(process, 'noDeprecation');
    Object.defineProperty(process, 'noDeprecation', { value: true, configurable: true, writable: true });
    try {
      cached = collect();
    } catch (error) {
      cached = `Node's bindings cannot be reached (${error instanceof Error ? error.message : String(error)})`;
    } finally {
      if (before === undefined) Reflect.deleteProperty(process, 'noDeprecation');
      else Object.defineProperty(process, 'noDeprecation', before);
    }
  }
  return cached;
}

/** The internals. @throws Error when {@link acquireInternals} found a part missing. */
export function internals(): Internals {
  const found = acquireInternals();
  if (typeof found === 'string') throw new Error(found);
  return found;
}

function binding(name: string): Record<string, unknown> {
  return (process as unknown as { binding(name: string): Record<string, unknown> }).binding(name);
}

function collect(): Internals | string {
  const { TCP } = binding('tcp_wrap');
  const { UDP } = binding('udp_wrap');
  const { Pipe } = binding('pipe_wrap');
  const { JSStream } = binding('js_stream');
  const stream = binding('stream_wrap');
  const uv = binding('uv');
  const missing =
    lacks('TCP', TCP, ['connect', 'connect6', 'bind6', 'listen', 'close', 'getsockname', 'hasRef']) ??
    lacks('UDP', UDP, ['bind', 'bind6', 'connect', 'send', 'send6', 'recvStart', 'recvStop', 'close', 'getsockname']) ??
    lacks('Pipe', Pipe, ['writeUtf8String', 'unref']) ??
    lacks('JSStream', JSStream, ['readBuffer', 'emitEOF', 'finishWrite', 'finishShutdown', 'getAsyncId']);
  if (missing !== null) return missing;
  if (!(stream['streamBaseState'] instanceof Int32Array)) return 'Node has no streamBaseState';
  for (const key of ['kReadBytesOrError', 'kArrayBufferOffset', 'kBytesWritten', 'kLastWriteWasAsync']) {
    if (typeof stream[key] !== 'number') return `Node's stream_wrap has no ${key}`;
  }
  for (const key of ['EOF', 'ECANCELED', 'ENOTSUP', 'EPIPE', 'ENOTCONN', 'EISCONN', 'EALREADY', 'EINVAL', 'EBADF']) {
    if (typeof uv[`UV_${key}`] !== 'number') return `Node's uv has no UV_${key}`;
  }
  const tls = acquireTls();
  return { TCP, UDP, Pipe, JSStream, stream, uv, tls } as unknown as Internals;
}

function acquireTls(): TlsBinding | null {
  try {
    const found = binding('tls_wrap') as unknown as TlsBinding;
    return typeof found.wrap === 'function' && typeof found.TLSWrap === 'function' ? found : null;
  } catch {
    return null;
  }
}

function lacks(name: string, value: unknown, methods: readonly string[]): string | null {
  if (typeof value !== 'function') return `Node has no ${name} handle`;
  for (const method of methods) {
    if (typeof value.prototype[method] !== 'function') return `Node's ${name} handle has no ${method}()`;
  }
  return null;
}

const owners = new Map<object, symbol>();

/**
 * The symbol under which a handle of `type` knows its socket; undefined while net (or dgram) is not loaded, for it is
 * they who install the alias `owner` that gives the symbol away.
 */
export function ownerSymbolOf(type: { prototype: object }): symbol | undefined {
  const known = owners.get(type);
  if (known !== undefined) return known;
  const alias = Object.getOwnPropertyDescriptor(type.prototype, 'owner');
  if (alias?.set === undefined) return undefined;
  const probe = {};
  alias.set.call(probe, 1);
  const symbol = Object.getOwnPropertySymbols(probe)[0];
  if (symbol !== undefined) owners.set(type, symbol);
  return symbol;
}

/** Finds a symbol by its description among the own properties of an object that Node made. */
export function ownSymbol(object: object, description: string): symbol | undefined {
  return Object.getOwnPropertySymbols(object).find((symbol) => symbol.description === description);
}
