/**
 * What a connection still has to send: writes of which the engine took only a part, and the FIN behind them, in order.
 *
 * As with the kernel a write normally completes at once (programs observe that); only what does not fit waits here, with
 * the caller's memory kept and not copied. Completions of waiting requests run in the async context in which the request
 * was made. Requests of C++ consumers (TLS, http2) arrive by onwrite and onshutdown and must never complete inside those
 * calls; their completion is a MakeCallback of Node's own, so it runs without a scope of ours.
 */
import type { Connection, Engine, Upcall } from '../../lib/engine';
import { type AsyncScope, newScope } from '../async-scope';
import type { Request } from '../internals';

/** The handle: of JSStream the part by which requests of C++ are completed. */
interface Completer {
  getAsyncId(): number;
  finishWrite(request: object, status: number): void;
  finishShutdown(request: object, status: number): void;
}

/** Whose requests these are. */
interface Owner {
  readonly handle: Completer;
  /** {@link Outbound.busy} may have become false. */
  updateHold(): void;
}

interface Pending {
  readonly request: Request;
  /** Of a request of JavaScript; null for one of C++. */
  readonly scope: AsyncScope | null;
  /** null: a shutdown. */
  readonly chunks: readonly Uint8Array[] | null;
}

export class Outbound {
  /** Bytes that wait here. Shrinks as they are sent: Node takes that as a sign of life for its timeouts. */
  queuedBytes = 0;
  /** Requests whose completion is posted and has not run. */
  #completing = 0;
  #queue: Pending[] = [];
  #shutdownPosted = false;
  /** Place in the head of the queue: chunk, and offset in it. */
  #chunk = 0;
  #offset = 0;
  #connection: Connection | null = null;
  readonly #engine: Engine;
  readonly #owner: Owner;

  constructor(engine: Engine, owner: Owner) {
    this.#engine = engine;
    this.#owner = owner;
  }

  /** Is a request under way? */
  get busy(): boolean {
    return this.#queue.length > 0 || this.#completing > 0;
  }

  /** Are completions posted that have not run? */
  get completing(): boolean {
    return this.#completing > 0;
  }

  /** True when a write may go straight to the connection. */
  get idle(): boolean {
    return this.#queue.length === 0 && this.#connection !== null;
  }

  /** The connection is up: sends what has been waiting for it. */
  open(connection: Connection): void {
    this.#connection = connection;
    this.pump();
  }

  /** Queues a write that is not, or not wholly, taken. `offset` bytes of the first chunk are. */
  queueWrite(request: Request, chunks: readonly Uint8Array[], offset: number, native: boolean): void {
    const scope = native ? null : newScope(this.#engine, 'WRITEWRAP', request, this.#owner.handle.getAsyncId());
    if (this.#queue.length === 0) {
      this.#chunk = 0;
      this.#offset = offset;
    }
    this.queuedBytes -= offset;
    for (const chunk of chunks) this.queuedBytes += chunk.byteLength;
    this.#queue.push({ request, scope, chunks });
  }

  queueShutdown(request: Request, native: boolean): void {
    const scope = native ? null : newScope(this.#engine, 'SHUTDOWNWRAP', request, this.#owner.handle.getAsyncId());
    this.#queue.push({ request, scope, chunks: null });
    this.pump();
  }

  /** Reports a write of C++ that the connection took whole. */
  completeNative(request: Request): void {
    this.#complete({ request, scope: null, chunks: [] }, 0);
  }

  /** Offers what waits, until the connection takes no more. */
  pump(): void {
    const connection = this.#connection;
    if (connection === null) return;
    for (;;) {
      const head = this.#queue[0];
      if (head === undefined) return;
      if (head.chunks === null) return this.#postShutdown(head);
      if (!this.#send(connection, head.chunks)) return;
      this.#queue.shift();
      this.#chunk = 0;
      this.#offset = 0;
      this.#complete(head, 0);
    }
  }

  /** Ends every waiting request with `errno`. */
  fail(errno: number): void {
    const failed = this.#queue;
    this.#queue = [];
    this.queuedBytes = 0;
    for (const pending of failed) this.#complete(pending, errno);
  }

  /**
   * The FIN goes out when its completion runs, later, as with libuv: a peer in this process must not hear of the end
   * before this side has.
   */
  #postShutdown(pending: Pending): void {
    if (this.#shutdownPosted) return;
    this.#shutdownPosted = true;
    this.#engine.post(pending.scope?.context ?? 0, () => {
      if (this.#queue[0] !== pending) return undefined; // cancelled
      this.#queue.shift();
      this.#connection?.shutdown();
      return this.#finish(pending, 0);
    });
  }

  /** True when all chunks have gone. */
  #send(connection: Connection, chunks: readonly Uint8Array[]): boolean {
    for (; this.#chunk < chunks.length; this.#chunk++) {
      const chunk = chunks[this.#chunk] as Uint8Array;
      const left = chunk.byteLength - this.#offset;
      if (left === 0) {
        this.#offset = 0;
        continue;
      }
      const taken = connection.write(this.#offset === 0 ? chunk : chunk.subarray(this.#offset));
      this.queuedBytes -= taken;
      if (taken < left) {
        this.#offset += taken;
        return false;
      }
      this.#offset = 0;
    }
    return true;
  }

  #complete(pending: Pending, status: number): void {
    this.#completing++;
    this.#engine.post(pending.scope?.context ?? 0, () => {
      this.#completing--;
      return this.#finish(pending, status);
    });
  }

  #finish({ request, scope, chunks }: Pending, status: number): Upcall {
    this.#owner.updateHold();
    const { handle } = this.#owner;
    if (scope !== null) {
      scope.end();
      return request.oncomplete && scope.bindAll(request.oncomplete, request, [status, handle, undefined]);
    }
    // Node has let go of it: a callback of the program's threw inside its call.
    if ((request as unknown as { getAsyncId(): number }).getAsyncId() < 0) return undefined;
    const finish = chunks === null ? handle.finishShutdown : handle.finishWrite;
    return finish.bind(handle, request, status);
  }
}
