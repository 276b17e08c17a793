/** A TCP listener of the stack. The kernel's listener on the same port stays beside it and serves what is not steered. */
import { CONGESTIONS } from './congestion';
import type { Congestion, ContextId, Listener, ListenerSink, SocketAddress } from './engine';
import { type Rings, SOCKET } from './rings';

export class StackListener implements Listener {
  sink: ListenerSink;
  readonly slot: number;
  readonly generation: number;
  readonly local: SocketAddress;
  readonly #rings: Rings;
  readonly #line: number;
  readonly #choose: (slot: number, congestion: number) => void;
  readonly #close: (listener: StackListener) => void;
  #closed = false;

  constructor(
    rings: Rings,
    slot: number,
    local: SocketAddress,
    sink: ListenerSink,
    choose: (slot: number, congestion: number) => void,
    close: (listener: StackListener) => void,
  ) {
    this.#rings = rings;
    this.slot = slot;
    this.#line = rings.line(slot);
    this.generation = rings.words[this.#line + SOCKET.generation] as number;
    this.local = local;
    this.sink = sink;
    this.#choose = choose;
    this.#close = close;
  }

  get context(): ContextId {
    return this.#closed ? 0 : (this.#rings.words[this.#line + SOCKET.context] as number);
  }

  set context(context: ContextId) {
    if (!this.#closed) this.#rings.words[this.#line + SOCKET.context] = context;
  }

  setCongestion(name: Congestion): number {
    // At once: a connection that is opened next may be there before a command is.
    if (!this.#closed) this.#choose(this.slot, CONGESTIONS.indexOf(name));
    return 0;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#close(this);
  }
}
