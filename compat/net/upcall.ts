/** Calls up into Node that concern the whole pile of handles on a connection, not only ours at its bottom. */
import { internals, ownerSymbolOf, ownSymbol } from '../internals';

/** The TLSWrap (or other wrapping handle) that was put on a handle. */
const wrappers = new WeakMap<object, object>();

/** Remembers that `upper` reads and writes through `lower`. */
export function noteWrapper(lower: object, upper: object): void {
  wrappers.set(lower, upper);
}

/** Is there a TLSWrap on this handle? */
export function isWrapped(handle: object): boolean {
  return wrappers.has(handle);
}

/** The socket of a handle. */
export function ownerOf(handle: object): object | undefined {
  const symbol = ownerSymbolOf(internals().TCP);
  const owner = symbol === undefined ? undefined : (handle as Record<symbol, unknown>)[symbol];
  // null until Node has given the handle to a socket
  return (owner as object | null | undefined) ?? undefined;
}

/**
 * Lets go of the socket of a handle that has closed. Our handles are weak objects of V8, which a young collection takes
 * for roots: each would carry its socket and all that hangs on it into the old generation.
 */
export function disown(handle: object): void {
  const symbol = ownerSymbolOf(internals().TCP);
  if (symbol !== undefined) (handle as Record<symbol, unknown>)[symbol] = null;
}

interface Readable {
  onread(data: undefined): void;
}

/** The topmost handle on `handle`: an error can only be told there, JSStream has no way to emit one. */
export function topmost(handle: object): Readable {
  let top = handle;
  for (let next = wrappers.get(top); next !== undefined; next = wrappers.get(top)) top = next;
  return top as Readable;
}

/** Has http's server taken its parser off this handle? */
export function parserReleased(handle: object): boolean {
  const parser = (ownerOf(handle) as { parser?: { _consumed?: boolean } | null } | undefined)?.parser;
  return parser === undefined || parser === null || parser._consumed === false;
}

/** A socket remembers the async id of its handle: the id follows when the handle changes. */
export function setAsyncId(owner: object, handle: { getAsyncId(): number }): void {
  const symbol = ownSymbol(owner, 'async_id_symbol');
  if (symbol !== undefined) (owner as Record<symbol, unknown>)[symbol] = handle.getAsyncId();
}
