/**
 * connect(): the kernel's handle that Node gave the socket makes room for ours, there and then, when the engine takes the
 * connection. The exchange is done by hand: Node's own kReinitializeHandle forgets an end() that came before.
 */
import type { Engine, SocketAddress } from '../../lib/engine';
import { type AddressOut, ownSymbol, type Request, type TcpHandle } from '../internals';
import { chosenFor } from './chosen';
import { linkOf, SocketHandle } from './handle';
import { hasWrap, rewrap, wrapOwner } from './tls';
import { ownerOf, setAsyncId } from './upcall';

/** Properties of a socket whose names we know only by description. */
interface Owner {
  _handle?: unknown;
  [key: PropertyKey]: unknown;
}

/** Connects through the engine. null: the kernel has to; otherwise what connect() returns. */
export function connectOurs(
  engine: Engine,
  kernel: TcpHandle,
  request: Request,
  address: string,
  port: number,
  probed: boolean,
): number | null {
  const owner = ownerOf(kernel) as Owner | undefined;
  const direct = owner !== undefined && owner._handle === kernel;
  // A handle that no socket has (code that uses the binding itself) cannot be exchanged.
  if (!direct && (!hasWrap(kernel) || wrapOwner(kernel) === undefined)) return null;
  const local = localAddress(kernel);
  const handle = new SocketHandle(engine, kernel);
  const link = linkOf(handle);
  if (link === undefined) return null;
  const connection = engine.connect(address, port, local, link);
  if (connection === null || typeof connection === 'number') {
    link.discard();
    if (connection !== null && local === null) showUnbound(kernel, address);
    return connection;
  }
  link.connect(connection, request);
  const congestion = chosenFor(kernel, owner, wrapOwner(kernel));
  if (congestion !== undefined) connection.setCongestion(congestion);
  if (probed) link.consumer = 'native';
  moveProperties(kernel, handle, owner);
  if (direct) {
    owner._handle = handle;
    setAsyncId(owner, handle);
  }
  rewrap(kernel, handle);
  if (!kernel.hasRef()) handle.unref();
  link.identity.gaveWay(local !== null);
  return 0;
}

/**
 * The error of a connect that failed at once tells the local address. Over the kernel there is a socket by then, without
 * an address yet.
 */
function showUnbound(kernel: TcpHandle, remote: string): void {
  const wide = remote.includes(':');
  const unbound = { address: wide ? '::' : '0.0.0.0', family: wide ? 'IPv6' : 'IPv4', port: 0 };
  const value = (out: AddressOut): number => {
    Object.assign(out, unbound);
    return 0;
  };
  Object.defineProperty(kernel, 'getsockname', { value, configurable: true, writable: true });
}

function localAddress(kernel: TcpHandle): SocketAddress | null {
  if (kernel.fd < 0) return null;
  const out: AddressOut = {};
  if (kernel.getsockname(out) !== 0 || !out.port) return null;
  return out as SocketAddress;
}

/**
 * What Node (the owner, the store of AsyncLocalStorage) and the program have put on the kernel's handle belongs to the
 * socket's handle, whichever it is.
 */
function moveProperties(kernel: TcpHandle, handle: SocketHandle, owner: Owner | undefined): void {
  for (const key of Reflect.ownKeys(kernel)) {
    if (key === 'reading' || key === 'onconnection') continue;
    const property = Object.getOwnPropertyDescriptor(kernel, key) as PropertyDescriptor;
    if (typeof property.value === 'function') property.value = sameMethod(kernel, handle, property.value);
    Object.defineProperty(handle, key, property);
  }
  if (typeof kernel.onread === 'function') handle.onread = kernel.onread;
  const reading = Object.getOwnPropertyDescriptor(kernel, 'reading');
  if (reading !== undefined && 'value' in reading && reading.value !== undefined) handle.reading = reading.value;
  const buffer = owner === undefined || owner._handle !== kernel ? undefined : userBufferOf(owner);
  if (buffer !== undefined) handle.useUserBuffer(buffer);
}

/** A method of the kernel's handle, kept under another name, does not work on ours: the one of the same name does. */
function sameMethod(kernel: TcpHandle, handle: SocketHandle, value: unknown): unknown {
  for (
    let type: object = Object.getPrototypeOf(kernel);
    type !== Object.prototype;
    type = Object.getPrototypeOf(type)
  ) {
    for (const name of Object.getOwnPropertyNames(type)) {
      const method = Object.getOwnPropertyDescriptor(type, name)?.value;
      if (method === value && name !== 'constructor') return (handle as unknown as Record<string, unknown>)[name];
    }
  }
  return value;
}

/** The buffer of net's `onread` option. */
function userBufferOf(owner: Owner): Uint8Array | undefined {
  const symbol = ownSymbol(owner, 'kBuffer');
  const buffer = symbol === undefined ? undefined : owner[symbol];
  return buffer instanceof Uint8Array ? buffer : undefined;
}
