/**
 * What a listener throws while Node's C++ is between it and us (TLS, http2) is pending until that call is over. Node's
 * JavaScript that the same call runs next, for another stream or the next bytes, would be cut off by it in the middle: an
 * http2 stream that has no `onread` then ends the process, bytes of others are lost. Over the kernel nothing of JavaScript
 * is below C++, and the exception is told at once. So here too: the first thing that these callbacks do is to ask for
 * something, and what they ask for is ours.
 */
import { ownSymbol } from '../internals';
import { ownerOf, topmost } from './upcall';

/** A connection to whose reader bytes are on their way: it tells of an exception that is pending. */
interface Source {
  readonly handle: object;
  settle(): void;
}

const SESSION = /^(?:Client|Server)Http2Session$/;

/** Set while bytes may be on their way through C++ in a program that survives exceptions. */
let pending: Source | null = null;
let sessionsDone = false;
let streamsDone = false;
let secureDone = false;

/** Pieces by which whoever reads through C++ has its socket, and http2 its session. */
const READER_IS_NEW = 24;

export function survivesExceptions(): boolean {
  return process.listenerCount('uncaughtException') > 0 || process.hasUncaughtExceptionCaptureCallback();
}

/** C++ is about to get bytes of `source`, of which it has had some `pieces`. */
export function beforeReading(source: Source, pieces: number): void {
  pending = survivesExceptions() ? source : null;
  if (pending === null || pieces >= READER_IS_NEW || (secureDone && sessionsDone)) return;
  const owner = ownerOf(topmost(source.handle));
  if (owner === undefined) return;
  if (!secureDone && 'encrypted' in owner) watchSecure(owner);
  if (!sessionsDone) watchSession(owner);
}

/** Node's onStreamRead asks each stream for its timer before anything else. */
function watchSecure(socket: object): void {
  for (let type = Object.getPrototypeOf(socket) as object | null; type !== null; ) {
    const above = Object.getPrototypeOf(type) as object | null;
    const symbol = above === null ? undefined : ownSymbol(above, 'kUpdateTimer');
    if (symbol !== undefined) {
      // On TLSSocket's alone: net's serves the kernel's sockets too.
      settleBefore(type, symbol, (above as Record<symbol, unknown>)[symbol]);
      settleBeforeGetter(type, 'destroyed');
      secureDone = true;
      return;
    }
    type = above;
  }
}

/** http2's classes are nobody's to have, its sessions are: a socket knows its own. */
function watchSession(socket: object): void {
  for (const key of Reflect.ownKeys(socket)) {
    const value = (socket as Record<PropertyKey, unknown>)[key];
    if (typeof value !== 'object' || value === null || !SESSION.test(value.constructor?.name ?? '')) continue;
    const type = Object.getPrototypeOf(Object.getPrototypeOf(value)) as object;
    sessionsDone = true;
    // What the callbacks of a session ask first.
    settleBeforeGetter(type, 'destroyed', watchStreams);
    return;
  }
}

function watchStreams(session: object): void {
  if (streamsDone) return;
  const symbol = ownSymbol(session, 'state');
  const state = symbol === undefined ? undefined : (session as Record<symbol, unknown>)[symbol];
  // A Map of Node's own, which has no Map for a prototype.
  const streams = (state as { streams?: { values?(): Iterator<object> } } | undefined)?.streams;
  let type = (streams?.values?.().next().value as object | undefined) ?? null;
  if (type === null) return;
  while (type !== null && ownSymbol(type, 'kUpdateTimer') === undefined) type = Object.getPrototypeOf(type);
  streamsDone = true;
  // Asked by all of a stream's callbacks first, its timer's too.
  if (type !== null) settleBeforeGetter(type, 'destroyed');
}

function settleBefore(type: object, name: symbol, original: unknown): void {
  if (typeof original !== 'function') return;
  const value = function (this: unknown, ...args: unknown[]): unknown {
    pending?.settle();
    return Reflect.apply(original, this, args);
  };
  Object.defineProperty(type, name, { value, configurable: true, enumerable: false, writable: true });
}

/** On `type`, whether the getter is its own or inherited. */
function settleBeforeGetter(type: object, name: string, before?: (self: object) => void): void {
  let found: PropertyDescriptor | undefined;
  for (let at: object | null = type; at !== null && found === undefined; at = Object.getPrototypeOf(at)) {
    found = Object.getOwnPropertyDescriptor(at, name);
  }
  if (found?.get === undefined) return;
  const original = found.get;
  Object.defineProperty(type, name, {
    ...found,
    get(this: object) {
      pending?.settle();
      before?.(this);
      return Reflect.apply(original, this, []);
    },
  });
}
