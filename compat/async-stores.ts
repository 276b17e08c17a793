/**
 * The stores of AsyncLocalStorage that hold in the callbacks of a handle are those of the moment when Node made it. Ours
 * gets an async context of its own, later. Versions of Node that keep stores on the handle would have those of the
 * present moment copied onto it; others (24 and later) keep them all in one frame, which nothing shows: it is noted when
 * the handle is made.
 */
import type { AsyncResource } from 'node:async_hooks';

const makings = new WeakMap<object, AsyncResource>();

/** Does this Node keep stores in frames? Where it only could, noting does no harm. */
export function mayHaveFrames(): boolean {
  const { moduleLoadList } = process as { moduleLoadList?: unknown };
  return Array.isArray(moduleLoadList) && moduleLoadList.includes('NativeModule internal/async_context_frame');
}

/** To be called while Node makes `handle`. */
export function noteMaking(handle: object, type: string): void {
  const hooks = require('node:async_hooks') as typeof import('node:async_hooks');
  makings.set(handle, new hooks.AsyncResource(type, { requireManualDestroy: true }));
}

/** Makes an async context for a handle with the stores of the handle's making. */
export function keepStores<T>(handle: object, make: () => T): T {
  const before = Object.getOwnPropertySymbols(handle).map((symbol) => [symbol, Reflect.get(handle, symbol)] as const);
  const making = makings.get(handle);
  const made = making === undefined ? make() : making.runInAsyncScope(make);
  for (const [symbol, value] of before) Reflect.set(handle, symbol, value);
  return made;
}
