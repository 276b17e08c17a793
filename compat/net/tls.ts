/**
 * TLS over a socket that has not connected yet. Node puts the TLSWrap on the kernel's handle when the TLSSocket is made;
 * if the connection turns out to be ours, that handle is thrown away and the TLSWrap with it. So a TLSWrap that is made
 * on an unconnected handle is remembered together with how it was set up, and made again on the new handle: same
 * context, same properties, same calls. A TLSWrap on that TLSWrap (TLS in TLS) follows.
 *
 * The hooks are on the binding object, not in the module tls, so that tls is loaded only by those who use it.
 */
import { internals, ownerSymbolOf, type TcpHandle, type TlsBinding, type TlsWrap } from '../internals';
import { noteWrapper, setAsyncId } from './upcall';

interface Young {
  readonly wrap: TlsWrap;
  readonly context: object;
  readonly isServer: boolean;
  readonly hasActiveWrite: boolean;
  /** What was called on it since. */
  readonly calls: { readonly name: string; readonly args: readonly unknown[] }[];
}

/** By the handle below. */
const youngOn = new WeakMap<object, Young>();
/** By the TLSWrap. */
const young = new WeakMap<object, Young>();

/** The methods by which Node sets up a TLSWrap before the handshake. */
const SET_UP = [
  'enableALPNCb',
  'enableCertCb',
  'enableKeylogCallback',
  'enablePskCallback',
  'enableSessionCallbacks',
  'enableTrace',
  'requestOCSP',
  'setALPNProtocols',
  'setKeyCert',
  'setMaxSendFragment',
  'setPskIdentityHint',
  'setServername',
  'setSession',
  'setVerifyMode',
  'useUserBuffer',
];

let wrapHandle: TlsBinding['wrap'] | null = null;

/** Installs the hooks; loads nothing. */
export function hookTls(binding: TlsBinding, TCP: { new (type: number): TcpHandle }): void {
  const original = binding.wrap;
  wrapHandle = original;
  binding.wrap = function wrap(handle, context, isServer, hasActiveWrite) {
    const made = original.call(this, handle, context, isServer, hasActiveWrite);
    const connected = handle instanceof TCP && handle.fd >= 0;
    if (!connected) {
      noteWrapper(handle, made);
      if (handle instanceof TCP || young.has(handle)) remember(handle, made, context, isServer, hasActiveWrite);
    }
    return made;
  };
  const { prototype } = binding.TLSWrap;
  for (const name of SET_UP) hookSetUp(prototype, name);
  const start = prototype['start'];
  if (typeof start !== 'function') return;
  prototype['start'] = function (this: object, ...args: unknown[]) {
    young.delete(this); // The handshake begins: whatever is below has connected.
    return Reflect.apply(start, this, args);
  };
}

function hookSetUp(prototype: Record<string, unknown>, name: string): void {
  const original = prototype[name];
  if (typeof original !== 'function') return;
  prototype[name] = function (this: object, ...args: unknown[]) {
    young.get(this)?.calls.push({ name, args });
    return Reflect.apply(original, this, args);
  };
}

function remember(lower: object, wrap: TlsWrap, context: object, isServer: boolean, hasActiveWrite: boolean): void {
  const record: Young = { wrap, context, isServer, hasActiveWrite, calls: [] };
  youngOn.set(lower, record);
  young.set(wrap, record);
}

/** Is there a TLSWrap on this kernel handle that would have to be made again? */
export function hasWrap(lower: object): boolean {
  return youngOn.has(lower);
}

/** The socket of the TLSWrap on `lower`. */
export function wrapOwner(lower: object): Record<PropertyKey, unknown> | undefined {
  const symbol = ownerSymbolOf(internals().TCP);
  const wrap = youngOn.get(lower)?.wrap;
  const owner = symbol === undefined ? undefined : (wrap?.[symbol] as Record<PropertyKey, unknown> | null | undefined);
  return owner ?? undefined;
}

/** Makes the TLSWrap that is on `lower`, and those on it, again on `next`. */
export function rewrap(lower: object, next: object): void {
  const record = youngOn.get(lower);
  if (record === undefined || wrapHandle === null) return;
  youngOn.delete(lower);
  const old = record.wrap;
  // The consumer below must announce itself as Node's own code does before it wraps.
  void (next as { isStreamBase?: boolean }).isStreamBase;
  const made = wrapHandle(next, record.context, record.isServer, record.hasActiveWrite);
  noteWrapper(next, made);
  for (const key of Reflect.ownKeys(old)) {
    const property = Object.getOwnPropertyDescriptor(old, key);
    if (property !== undefined && (property.writable || property.get !== undefined)) {
      Reflect.defineProperty(made, key, property);
    }
  }
  made._parent = next;
  if (typeof old.onread === 'function') made.onread = old.onread;
  Object.defineProperty(next, 'reading', {
    configurable: true,
    get: () => made.reading,
    set: (value: boolean) => {
      made.reading = value;
    },
  });
  for (const { name, args } of record.calls) (made[name] as (...args: readonly unknown[]) => unknown)(...args);
  replaceIn(old, made);
  rewrap(old, made);
  young.delete(old);
  old.destroySSL();
}

/** The socket knows its TLSWrap as `_handle`, `ssl` and under a symbol. */
function replaceIn(old: TlsWrap, made: TlsWrap): void {
  const symbol = ownerSymbolOf(internals().TCP);
  const owner = symbol === undefined ? undefined : (old[symbol] as Record<PropertyKey, unknown> | null | undefined);
  if (owner === undefined || owner === null) return;
  for (const key of Reflect.ownKeys(owner)) {
    const property = Object.getOwnPropertyDescriptor(owner, key);
    if (property?.value === old) owner[key] = made;
  }
  if (owner['_handle'] === old) owner['_handle'] = made;
  setAsyncId(owner, made as unknown as { getAsyncId(): number });
}
