/**
 * Whose a callback is, as async_hooks and AsyncLocalStorage know it: of a handle, or of a request.
 *
 * As long as nobody looks, a scope is a context of the engine's: quick, and invisible in stacks; AsyncLocalStorage holds.
 * With a hook that wants more than `init`, it is what the hook is to see, ids and triggers as under plain Node, where
 * libuv's handles and requests have them from C++: a handle that Node made keeps the id it has, ours and the requests that
 * we serve get theirs by AsyncResource. That costs a quarter of a microsecond per callback.
 */
import { AsyncResource, createHook, executionAsyncId } from 'node:async_hooks';
import { ANONYMOUS, type ContextId, type Engine } from '../lib/engine';
import { replaceMethod } from './replace';

type Method = (...args: never[]) => unknown;

export interface AsyncScope {
  /** In which the engine has to call what {@link bind} returns. */
  readonly context: ContextId;
  /** undefined: nobody looks, and a function that is called in the context needs no binding to the scope. */
  readonly asyncId: number | undefined;
  bind(method: Method, receiver: unknown, argument: unknown): () => unknown;
  bindAll(method: Method, receiver: unknown, args: readonly unknown[]): () => unknown;
  /** The handle or request is done. Hooks hear of it later. */
  end(): void;
}

const { asyncId, emitDestroy, runInAsyncScope } = AsyncResource.prototype;

/** Enabled hooks that see more of a resource than that it was made. */
const watchers = new Set<object>();

/** To be called before the program runs. */
export function watchHooks(): void {
  const prototype = Object.getPrototypeOf(createHook({})) as { enable: Method; disable: Method };
  const more = /^Symbol\((?:before|after|destroy)\)$/;
  const looks = (hook: object) =>
    Object.getOwnPropertySymbols(hook).some(
      (key) => more.test(String(key)) && typeof Reflect.get(hook, key) === 'function',
    ) && !isOfDomain(hook);
  replaceMethod(prototype, 'enable', (original) => {
    return function enable(this: object) {
      if (looks(this)) watchers.add(this);
      return Reflect.apply(original, this, []);
    };
  });
  replaceMethod(prototype, 'disable', (original) => {
    return function disable(this: object) {
      watchers.delete(this);
      return Reflect.apply(original, this, []);
    };
  });
}

/**
 * node:domain's own hook wants no ids that others know, only one to go by; and what is thrown must be told before its
 * `after` leaves the domain, as it is from a context of the engine's and not from an AsyncResource.
 */
function isOfDomain(hook: object): boolean {
  const key = Object.getOwnPropertySymbols(hook).find((symbol) => symbol.description === 'init');
  const init: unknown = key && Reflect.get(hook, key);
  return typeof init === 'function' && /\bpairing\.set\(asyncId, process\.domain\[kWeak\]\)/.test(String(init));
}

/** For what Node has no id for: an accepted connection, a request. `triggerAsyncId`: of what has caused it. */
export function newScope(engine: Engine, type: string, resource: object, triggerAsyncId: number): AsyncScope {
  const scope = newScopeOrContext(engine, type, resource, triggerAsyncId);
  return typeof scope === 'number' ? new EngineScope(engine, scope) : scope;
}

/** The same for whoever has very many: as long as nobody looks just the engine's context, which is the caller's to free. */
export function newScopeOrContext(
  engine: Engine,
  type: string,
  resource: object,
  triggerAsyncId: number,
): AsyncScope | ContextId {
  if (watchers.size === 0) return engine.createContext(resource, type);
  return new ResourceScope(new AsyncResource(type, { triggerAsyncId, requireManualDestroy: true }), true);
}

/**
 * For callbacks of a handle that Node made, which may come later than that.
 * @param target the handle, or what takes its place
 */
export function scopeOf(engine: Engine, type: string, handle: Identified, target: object = handle): AsyncScope {
  if (watchers.size > 0) {
    const id = asyncIdOf(handle);
    return id === 0 ? newScope(engine, type, target, executionAsyncId()) : adopt(handle, id, target);
  }
  const making = makings.get(handle);
  const make = () => engine.createContext(target, type);
  // Before Node 24 stores are kept on the resource: those of the handle's making are there, and are to stay.
  const before = Object.getOwnPropertySymbols(target).map((symbol) => [symbol, Reflect.get(target, symbol)] as const);
  const context = making === undefined ? make() : making.runInAsyncScope(make);
  for (const [symbol, value] of before) Reflect.set(target, symbol, value);
  return new EngineScope(engine, context);
}

/** 0: the stand-in of a handle that a cluster worker has. */
export function asyncIdOf(handle: Identified): number {
  return handle.getAsyncId?.() ?? 0;
}

/** The handle goes by its `id`, under which hooks know it, and ends by itself. */
function adopt(handle: Identified, id: number, target: object): AsyncScope {
  const frame = makings.get(handle) ?? passing();
  for (const symbol of Object.getOwnPropertySymbols(frame)) {
    const isId = symbol.description === 'async_id_symbol';
    // The target has the stores that are kept on a resource; these are what else an AsyncResource consists of.
    if (isId || symbol.description === 'trigger_async_id_symbol' || symbol.description === 'context_frame') {
      const value: unknown = isId ? id : Reflect.get(frame, symbol);
      Object.defineProperty(target, symbol, { value, configurable: true, writable: true });
    }
  }
  return new ResourceScope(target as AsyncResource, false);
}

interface Identified {
  getAsyncId?(): number;
}

class EngineScope implements AsyncScope {
  readonly context: ContextId;
  readonly #engine: Engine;

  constructor(engine: Engine, context: ContextId) {
    this.#engine = engine;
    this.context = context;
  }

  get asyncId(): undefined {
    return undefined;
  }

  bind(method: Method, receiver: unknown, argument: unknown): () => unknown {
    return method.bind(receiver as never, argument as never);
  }

  bindAll(method: Method, receiver: unknown, args: readonly unknown[]): () => unknown {
    return method.bind(receiver as never, ...(args as never[]));
  }

  end(): void {
    this.#engine.freeContext(this.context);
  }
}

class ResourceScope implements AsyncScope {
  readonly context = ANONYMOUS;
  readonly #resource: AsyncResource;
  readonly #own: boolean;

  constructor(resource: AsyncResource, own: boolean) {
    this.#resource = resource;
    this.#own = own;
  }

  get asyncId(): number {
    return asyncId.call(this.#resource);
  }

  bind(method: Method, receiver: unknown, argument: unknown): () => unknown {
    return runInAsyncScope.bind(this.#resource, method as never, receiver, argument);
  }

  bindAll(method: Method, receiver: unknown, args: readonly unknown[]): () => unknown {
    return runInAsyncScope.bind(this.#resource, method as never, receiver, ...args);
  }

  end(): void {
    if (this.#own) emitDestroy.call(this.#resource);
  }
}

/** Kept from the making of a handle: the frame with its stores, where Node (24 and later) keeps them in frames. */
const makings = new WeakMap<object, AsyncResource>();

/** Does this Node keep stores in frames? Where it only could, noting does no harm. */
export function mayHaveFrames(): boolean {
  const { moduleLoadList } = process as { moduleLoadList?: unknown };
  return Array.isArray(moduleLoadList) && moduleLoadList.includes('NativeModule internal/async_context_frame');
}

/** To be called while Node makes `handle`, if its scope is wanted later than that. */
export function noteMaking(handle: object): void {
  makings.set(handle, passing());
}

/** The trigger and the frame of this moment. Hooks see it come and go. */
function passing(): AsyncResource {
  const resource = new AsyncResource('MILLRACE', { triggerAsyncId: executionAsyncId(), requireManualDestroy: true });
  return resource.emitDestroy();
}
