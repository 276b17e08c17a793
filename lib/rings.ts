/**
 * The shared memory from JavaScript's side: commands down, events up, free transmit frames, a line per socket. The
 * numbers are those of native/stack/shared_layout.h. A record is written with plain stores and published by one atomic
 * store of the ring's tail.
 */
import type { Layout, NativeStack } from './binding';

export const RECORD_WORDS = 16;
export const SOCKET_WORDS = 8;

/** Words of the shared header. */
export const HEADER = {
  commandHead: 16,
  commandTail: 32,
  eventHead: 48,
  eventTail: 64,
  framesHead: 80,
  framesTail: 96,
  epoch: 100,
  framesFree: 101,
  frameWaiters: 112,
  posts: 113,
  rounds: 114,
  answering: 115,
  ticksLeft: 116,
  looks: 117,
  remoteAddress: 128,
  localAddress: 132,
  localPort: 136,
  sourceAddress: 140,
} as const;

export const COMMAND = {
  write: 1,
  shutdown: 2,
  close: 3,
  abort: 4,
  resume: 5,
  option: 6,
  send: 7,
  setTtl: 8,
  setReceiveBuffer: 9,
  returnFrame: 10,
} as const;

export const EVENT = {
  connect: 1,
  accept: 2,
  data: 3,
  end: 4,
  error: 5,
  writable: 6,
  message: 7,
  frames: 8,
  bulk: 9,
} as const;

/** Values of a line's `reading`. `own`: many bytes at once go straight into memory of the program's own. */
export const READING = { off: 0, on: 1, own: 2 } as const;

/** The frames that a connection may fill: a share of the free ones, or so many (see shared_layout.h). */
export const FRAMES_SHARE = 8;
export const FRAMES_SHARE_MIN = 4;

/** Words of a socket's line. */
export const SOCKET = {
  reading: 0,
  acked: 1,
  sendBuffer: 2,
  payloadMss: 3,
  wantWritable: 4,
  context: 5,
  generation: 6,
  published: 7,
} as const;

/** Beside the bytes in `sendBuffer`: the connection has died, whether or not an event has told. */
export const DEAD_FLAG = 0x8000_0000;

/** tcp::Option of native/tcp/options.h. */
export const OPTION = {
  nodelay: 0,
  keepalive: 1,
  keepaliveIdle: 2,
  keepaliveInterval: 3,
  keepaliveProbes: 4,
  userTimeout: 5,
  receiveBuffer: 6,
  sendBuffer: 7,
  trafficClass: 8,
  congestion: 17,
} as const;

/**
 * Writes that may wait for the end of the callback. A program that writes much in one callback gets a turn in between, so
 * that the peer has something to do meanwhile. Other commands wait: a turn for them would only come too early for
 * what other connections answer.
 */
const WRITES_PER_TURN = 64;

/** Buffer's own string writers, which are faster than a copy through a new Buffer. */
interface StringWriters {
  utf8Write(text: string, offset: number, length: number): number;
  latin1Write(text: string, offset: number, length: number): number;
}

export class Rings {
  readonly words: Uint32Array;
  /** All packet memory; frame n begins at n * frameBytes. */
  readonly frames: Buffer & StringWriters;
  readonly layout: Layout;
  /** Payload bytes that fit into one frame. */
  readonly frameCapacity: number;
  readonly #native: NativeStack;
  readonly #commandMask: number;
  readonly #framesMask: number;
  #commandTail = 0;
  /** As seen last, and the writes since. */
  #commandHead = 0;
  #writes = 0;
  #together = false;
  #framesHead = 0;
  #framesTail = 0;

  constructor(native: NativeStack) {
    this.#native = native;
    this.layout = native.layout();
    this.words = new Uint32Array(native.sharedMemory());
    this.frames = Buffer.from(native.frameMemory()) as Buffer & StringWriters;
    this.frameCapacity = this.layout.frameBytes - this.layout.frameHeadroom;
    this.#commandMask = this.layout.commands - 1;
    this.#framesMask = this.layout.frames - 1;
  }

  /** Begins a command and returns the word of its first argument; {@link publish} makes it visible. */
  command(op: number, slot: number, generation: number): number {
    const { words, layout } = this;
    if (this.#needsTurn(op)) this.#flush();
    const at = layout.commandsWord + (this.#commandTail & this.#commandMask) * RECORD_WORDS;
    words[at] = op;
    words[at + 1] = slot;
    words[at + 2] = generation;
    return at + 3;
  }

  /** A turn takes every command, so the ring never fills. */
  #needsTurn(op: number): boolean {
    const head = Atomics.load(this.words, HEADER.commandHead);
    if (head !== this.#commandHead) {
      this.#commandHead = head;
      this.#writes = 0;
    }
    if (op === COMMAND.write || op === COMMAND.send) {
      this.#writes++;
      if (this.#writes > WRITES_PER_TURN) return true;
    }
    return (this.#commandTail - head) >>> 0 > this.#commandMask >>> 1;
  }

  publish(): void {
    this.#commandTail = (this.#commandTail + 1) >>> 0;
    if (!this.#together) Atomics.store(this.words, HEADER.commandTail, this.#commandTail);
  }

  /**
   * With true what is published becomes visible only at the next call with false, all at once: the other thread must not
   * send the first half of one write by itself.
   */
  together(on: boolean): void {
    this.#together = on;
    if (!on) Atomics.store(this.words, HEADER.commandTail, this.#commandTail);
  }

  #flush(): void {
    Atomics.store(this.words, HEADER.commandTail, this.#commandTail);
    this.#native.flush();
  }

  /** A free transmit frame, or -1. */
  takeFrame(): number {
    if (this.#framesHead === this.#framesTail) {
      this.#framesTail = Atomics.load(this.words, HEADER.framesTail);
      if (this.#framesHead === this.#framesTail) {
        // A turn frees what was acknowledged and offers it here.
        this.#flush();
        this.#framesTail = Atomics.load(this.words, HEADER.framesTail);
        if (this.#framesHead === this.#framesTail) return -1;
      }
    }
    const frame = this.words[this.layout.framesWord + (this.#framesHead & this.#framesMask)] as number;
    this.#framesHead = (this.#framesHead + 1) >>> 0;
    Atomics.store(this.words, HEADER.framesHead, this.#framesHead);
    return frame;
  }

  /** Free frames that this side holds. */
  get framesInStock(): number {
    return (Atomics.load(this.words, HEADER.framesTail) - this.#framesHead) >>> 0;
  }

  /** Gives a frame back unused. */
  returnFrame(frame: number): void {
    this.words[this.command(COMMAND.returnFrame, 0, 0)] = frame;
    this.publish();
  }

  /** Where a frame's payload begins in {@link frames}. */
  payloadOffset(frame: number): number {
    return frame * this.layout.frameBytes + this.layout.frameHeadroom;
  }

  /** The first word of a socket's line. */
  line(slot: number): number {
    return this.layout.socketsWord + slot * SOCKET_WORDS;
  }

  /** The word at which the event at the ring's head begins. */
  eventAt(head: number): number {
    return this.layout.eventsWord + (head & (this.layout.events - 1)) * RECORD_WORDS;
  }
}
