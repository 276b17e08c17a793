/** A TCP listener of the stack. The kernel's listener on the same port stays beside it and serves what is not steered. */
import { CONGESTIONS } from './congestion';
import type { Congestion, ContextId, Listener, ListenerSink, SocketAddress } from './engine';
import { COMMAND, OPTION, type Rings, SOCKET } from './rings';

export class StackListener implements Listener {
  sink: ListenerSink;
  readonly slot: number;
  readonly generation: number;
  readonly local: SocketAddress;
  readonly #rings: Rings;
  readonly #line: number;
  readonly #close: (listener: StackListener) => void;
  #closed = false;

  constructor(
    rings: Rings,
    slot: number,
    local: SocketAddress,
    sink: ListenerSink,
    close: (listener: StackListener) => void,
  ) {
    this.#rings = rings;
    this.slot = slot;
    this.#line = rings.line(slot);
    this.generation = rings.words[this.#line + SOCKET.generation] as number;
    this.local = local;
    this.sink = sink;
    this.#close = close;
  }

  get context(): ContextId {
    return this.#closed ? 0 : (this.#rings.words[this.#line + SOCKET.context] as number);
  }

  set context(context: ContextId) {
    if (!this.#closed) this.#rings.words[this.#line + SOCKET.context] = context;
  }

  setCongestion(name: Congestion): number {
    if (this.#closed) return 0;
    const at = this.#rings.command(COMMAND.option, this.slot, this.generation);
    this.#rings.words[at] = OPTION.congestion;
    this.#rings.words[at + 1] = CONGESTIONS.indexOf(name);
    this.#rings.publish();
    return 0;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#close(this);
  }
}
