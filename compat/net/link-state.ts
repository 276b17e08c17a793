/** What is true of a link at present, in one word: a server may have very many that are idle. */

export const READING = 1 << 0;
/** The event loop is to be kept alive for it. */
export const REFERENCED = 1 << 1;
/** And is. */
export const HELD = 1 << 2;
export const ESTABLISHED = 1 << 3;
export const CLOSED = 1 << 4;
/** The program has ended its side. */
export const SHUT_DOWN = 1 << 5;
/** The peer has ended its own ... */
export const END_SEEN = 1 << 6;
/** ... which nobody has been told yet ... */
export const END_KEPT = 1 << 7;
/** ... or somebody has, or of an error. Nothing comes any more. */
export const ENDED = 1 << 8;
/** Somebody was told why the connection died. */
export const ERRNO_TOLD = 1 << 9;
/** What is kept will be handed up soon. */
export const FLUSH_POSTED = 1 << 10;
/** The first of what is kept is the rest of a piece that libuv would have read whole. */
export const CUT = 1 << 11;

export class LinkState {
  #flags = REFERENCED;

  get closed(): boolean {
    return this.is(CLOSED);
  }

  get referenced(): boolean {
    return this.is(REFERENCED) && !this.is(CLOSED);
  }

  protected is(flag: number): boolean {
    return (this.#flags & flag) !== 0;
  }

  protected mark(flags: number, on = true): void {
    this.#flags = on ? this.#flags | flags : this.#flags & ~flags;
  }
}
