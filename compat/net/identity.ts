/**
 * Who an accelerated handle is to async_hooks: itself, or the kernel's handle in whose place it stands, by whose id hooks
 * know the socket. That one then lives as long.
 */
import type { ContextId, Engine } from '../../lib/engine';
import { type AsyncScope, newScope, newScopeOrContext, scopeOf } from '../async-scope';
import { internals, type TcpHandle } from '../internals';

export class Identity {
  readonly #engine: Engine;
  /** null: of an accepted connection, or closed. */
  #former: TcpHandle | null;
  /** 0: it has not begun. */
  #scope: AsyncScope | ContextId = 0;

  constructor(engine: Engine, former: TcpHandle | null) {
    this.#engine = engine;
    this.#former = former;
  }

  get context(): ContextId {
    return typeof this.#scope === 'number' ? this.#scope : this.#scope.context;
  }

  /** undefined: that of the handle itself will do. */
  get asyncId(): number | undefined {
    return typeof this.#scope === 'number' ? undefined : this.#scope.asyncId;
  }

  /** An accepted connection begins. */
  accept(handle: object, serverAsyncId: number): void {
    this.#scope = newScopeOrContext(this.#engine, 'TCPWRAP', handle, serverAsyncId);
  }

  /** The former handle is about to give way. Returns the scope of `request`, which is its connect. */
  connect(handle: object, request: object): AsyncScope {
    const former = this.#former as TcpHandle;
    const id = former.getAsyncId();
    this.#scope = scopeOf(this.#engine, 'TCPWRAP', former, handle);
    return newScope(this.#engine, 'TCPCONNECTWRAP', request, id);
  }

  /** @param reserves the former handle is bound: the local address is taken as long as it is open */
  gaveWay(reserves: boolean): void {
    if (this.asyncId === undefined && !reserves) this.close();
    // By another class: whoever watches this one would see a call that the program did not make.
    else Reflect.apply(internals().Pipe.prototype.unref, this.#former, []);
  }

  /**
   * A new life: http's agent gives the socket to another request, and `resource` stands for the handle from now on.
   * @returns false when the handle's own id is the one that counts
   */
  reset(handle: object, resource: { handle?: unknown }): boolean {
    if (this.asyncId === undefined || this.#former === null) return false;
    // Hooks have seen that one.
    if (resource.handle === handle) resource.handle = this.#former;
    this.#former.asyncReset(resource);
    this.#scope = scopeOf(this.#engine, 'TCPWRAP', this.#former, resource);
    return true;
  }

  /** A callback of the handle's. */
  bind<T>(method: (argument: T) => unknown, receiver: object, argument: T): () => unknown {
    const scope = this.#scope;
    return typeof scope === 'number' ? method.bind(receiver, argument) : scope.bind(method, receiver, argument);
  }

  /** The handle closes, and the former one with it. */
  close(): void {
    // Not by a close() that the program put there: that is for the socket's handle.
    if (this.#former !== null) Reflect.apply(internals().TCP.prototype.close, this.#former, []);
    this.#former = null;
  }

  /** The handle has closed. */
  end(): void {
    if (typeof this.#scope !== 'number') this.#scope.end();
    else if (this.#scope !== 0) this.#engine.freeContext(this.#scope);
  }
}
