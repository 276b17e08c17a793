/**
 * A TCP connection of the stack: bytes in and out through the shared rings, no behaviour of net.Socket. Writing copies
 * straight into transmit frames; the stack sends and retransmits from the same memory.
 */
import { CONGESTIONS } from './congestion';
import type { Congestion, Connection, ConnectionInfo, ConnectionSink, ContextId, SocketAddress } from './engine';
import {
  COMMAND,
  DEAD_FLAG,
  FRAMES_SHARE,
  FRAMES_SHARE_MIN,
  HEADER,
  OPTION,
  READING,
  SOCKET,
  type Rings,
} from './rings';

const ENOTCONN = 107;
// RFC 9293 leaves it to the implementation; Linux checks the same range.
const KEEPALIVE_MAX_S = 32_767;
/** UTF-8 takes at most this many bytes for one UTF-16 code unit. */
const UTF8_BYTES_MAX = 3;
const BULK_FRAMES = 4;

/** What a connection needs of the engine. */
export interface ConnectionHost {
  /** The stack has no free frame: call the sink's onWritable when it has some again. */
  waitForFrame(connection: StackConnection): void;
  /** The connection was closed: no upcall must reach it any more. */
  released(connection: StackConnection): void;
  /** See {@link Connection.handOver}. */
  handOver(connection: StackConnection): number;
  /** Copies the first `bytes` of the pieces, or less when memory is short, and returns how many. */
  writeBulk(connection: StackConnection, pieces: readonly Uint8Array[], bytes: number): number;
  /** See {@link Connection.info}. */
  info(connection: StackConnection): ConnectionInfo | null;
}

export class StackConnection implements Connection {
  sink: ConnectionSink;
  readonly slot: number;
  readonly generation: number;
  readonly local: SocketAddress;
  readonly #remoteAddress: string;
  readonly #remotePort: number;
  /** A write found no free frame; its host clears this when there are some. */
  waitsForFrame = false;
  readonly #rings: Rings;
  readonly #host: ConnectionHost;
  readonly #line: number;
  /** Bytes given to the stack, modulo 2^32 like its count of acknowledged ones. */
  #written = 0;
  /** Bytes handed up, modulo 2^32 like the stack's count of published ones. */
  #received = 0;
  #closed = false;

  constructor(
    rings: Rings,
    host: ConnectionHost,
    slot: number,
    local: SocketAddress,
    remoteAddress: string,
    remotePort: number,
    sink: ConnectionSink,
  ) {
    this.#rings = rings;
    this.#host = host;
    this.slot = slot;
    this.#line = rings.line(slot);
    this.generation = rings.words[this.#line + SOCKET.generation] as number;
    this.local = local;
    this.#remoteAddress = remoteAddress;
    this.#remotePort = remotePort;
    this.sink = sink;
  }

  get remote(): SocketAddress {
    return { address: this.#remoteAddress, port: this.#remotePort, family: this.local.family };
  }

  get context(): ContextId {
    return this.#closed ? 0 : (this.#rings.words[this.#line + SOCKET.context] as number);
  }

  set context(context: ContextId) {
    if (!this.#closed) this.#rings.words[this.#line + SOCKET.context] = context;
  }

  get closed(): boolean {
    return this.#closed;
  }

  get dead(): boolean {
    return !this.#closed && ((this.#rings.words[this.#line + SOCKET.sendBuffer] as number) & DEAD_FLAG) !== 0;
  }

  get unacknowledgedBytes(): number {
    if (this.#closed) return 0;
    return (this.#written - Atomics.load(this.#rings.words, this.#line + SOCKET.acked)) >>> 0;
  }

  write(data: Uint8Array): number {
    return this.#isBulk(data.length) ? this.writeAll([data], data.length) : this.#writeFrom(data, 0);
  }

  writeAll(pieces: readonly Uint8Array[], total: number): number {
    let taken = this.#isBulk(total) ? this.#writeBulk(pieces, total) : 0;
    if (taken === total) return total;
    let skip = taken;
    this.#rings.together(true);
    try {
      for (const piece of pieces) {
        if (skip >= piece.length) {
          skip -= piece.length;
          continue;
        }
        const end = this.#writeFrom(piece, skip);
        taken += end - skip;
        if (end < piece.length) break;
        skip = 0;
      }
    } finally {
      this.#rings.together(false);
    }
    return taken;
  }

  writeUtf8(text: string): number {
    return this.#writeText(text, text.length * UTF8_BYTES_MAX, true);
  }

  writeLatin1(text: string): number {
    return this.#writeText(text, text.length, false);
  }

  setReading(on: boolean, own = false): void {
    this.#setReading(!on ? READING.off : own ? READING.own : READING.on);
  }

  #setReading(value: number): void {
    if (this.#closed) return;
    const { words } = this.#rings;
    const word = this.#line + SOCKET.reading;
    const before = words[word];
    if (before === value) return;
    Atomics.store(words, word, value);
    if (before === READING.off) this.#command(COMMAND.resume);
  }

  shutdown(): void {
    if (!this.#closed) this.#command(COMMAND.shutdown);
  }

  /** Bytes that wait in the ring are as unread as those in the stack. */
  close(): void {
    if (this.#closed) return;
    const unread = Atomics.load(this.#rings.words, this.#line + SOCKET.published) !== this.#received;
    this.#end(unread ? COMMAND.abort : COMMAND.close);
  }

  /** For the engine: these bytes go up. */
  noteReceived(bytes: number): void {
    this.#received = (this.#received + bytes) >>> 0;
  }

  abort(): void {
    this.#end(COMMAND.abort);
  }

  handOver(): number {
    return this.#closed ? -ENOTCONN : this.#host.handOver(this);
  }

  /** For the engine: stops what the stack would still publish. What this returns makes {@link readAgain} go on. */
  stopReading(): number {
    return Atomics.exchange(this.#rings.words, this.#line + SOCKET.reading, READING.off);
  }

  readAgain(stopped: number): void {
    this.#setReading(stopped);
  }

  /** For the engine: the connection is the kernel's. */
  left(): void {
    this.#closed = true;
  }

  setNoDelay(on: boolean): number {
    return this.#option(OPTION.nodelay, on ? 1 : 0);
  }

  setKeepAlive(on: boolean, idleSeconds: number, intervalSeconds?: number, count?: number): number {
    if (idleSeconds > 0) this.#option(OPTION.keepaliveIdle, Math.min(idleSeconds, KEEPALIVE_MAX_S));
    if (intervalSeconds) this.#option(OPTION.keepaliveInterval, Math.min(intervalSeconds, KEEPALIVE_MAX_S));
    if (count) this.#option(OPTION.keepaliveProbes, count);
    return this.#option(OPTION.keepalive, on ? 1 : 0);
  }

  setTypeOfService(value: number): number {
    return this.#option(OPTION.trafficClass, value & 0xff);
  }

  setCongestion(name: Congestion): number {
    return this.#option(OPTION.congestion, CONGESTIONS.indexOf(name));
  }

  info(): ConnectionInfo | null {
    return this.#closed ? null : this.#host.info(this);
  }

  #room(): number {
    if (this.#closed) return 0;
    const { words } = this.#rings;
    const unacknowledged = (this.#written - Atomics.load(words, this.#line + SOCKET.acked)) >>> 0;
    // While peers that do not read hold much memory, everybody gets less, so that nobody gets nothing.
    const share = Math.max(FRAMES_SHARE_MIN, Math.trunc((words[HEADER.framesFree] as number) / FRAMES_SHARE));
    const shareBytes = share * (words[this.#line + SOCKET.payloadMss] as number);
    return Math.max(
      0,
      Math.min((words[this.#line + SOCKET.sendBuffer] as number) & ~DEAD_FLAG, shareBytes) - unacknowledged,
    );
  }

  /** One call is cheaper than that many frames. */
  #isBulk(bytes: number): boolean {
    return bytes > BULK_FRAMES * this.#frameLimit();
  }

  #writeBulk(pieces: readonly Uint8Array[], total: number): number {
    const bytes = Math.min(total, this.#room());
    if (!this.#isBulk(bytes)) return 0;
    const taken = this.#host.writeBulk(this, pieces, bytes);
    this.#written = (this.#written + taken) >>> 0;
    return taken;
  }

  /** How far the connection has taken it, of which the first `from` bytes it had before. */
  #writeFrom(data: Uint8Array, from: number): number {
    const total = data.length;
    const taken = this.#writeSome(data, from, Math.min(total, from + this.#room()));
    // Who waits for a frame waits for nothing else: room of its own would wake it in vain.
    if (taken === total || this.waitsForFrame) return taken;
    return this.#awaitRoom(taken);
  }

  #writeSome(data: Uint8Array, from: number, total: number): number {
    const rings = this.#rings;
    const limit = this.#frameLimit();
    let at = from;
    while (at < total) {
      const frame = rings.takeFrame();
      if (frame < 0) {
        if (!this.waitsForFrame) this.#host.waitForFrame(this);
        this.waitsForFrame = true;
        break;
      }
      const bytes = Math.min(limit, total - at);
      rings.frames.set(bytes === data.length ? data : data.subarray(at, at + bytes), rings.payloadOffset(frame));
      this.#commit(frame, bytes);
      at += bytes;
    }
    return at;
  }

  #writeText(text: string, bytesMax: number, utf8: boolean): number {
    const rings = this.#rings;
    if (bytesMax > this.#frameLimit() || bytesMax > this.#room()) return -1;
    const frame = rings.takeFrame();
    if (frame < 0) return -1;
    const at = rings.payloadOffset(frame);
    const bytes = utf8 ? rings.frames.utf8Write(text, at, bytesMax) : rings.frames.latin1Write(text, at, bytesMax);
    this.#commit(frame, bytes);
    return bytes;
  }

  /** How much one frame is filled: a segment's worth. */
  #frameLimit(): number {
    const mss = this.#rings.words[this.#line + SOCKET.payloadMss] as number;
    return Math.max(1, Math.min(mss, this.#rings.frameCapacity));
  }

  #commit(frame: number, bytes: number): void {
    const rings = this.#rings;
    const at = rings.command(COMMAND.write, this.slot, this.generation);
    rings.words[at] = frame;
    rings.words[at + 1] = bytes;
    rings.publish();
    this.#written = (this.#written + bytes) >>> 0;
  }

  /**
   * Asks for onWritable. The command behind the flag makes the stack look again, so that room made between our look
   * and the flag is not missed.
   */
  #awaitRoom(taken: number): number {
    if (this.#closed) return taken;
    Atomics.store(this.#rings.words, this.#line + SOCKET.wantWritable, 1);
    this.#command(COMMAND.resume);
    return taken;
  }

  #command(op: number): void {
    this.#rings.command(op, this.slot, this.generation);
    this.#rings.publish();
  }

  #option(option: number, value: number): number {
    if (this.#closed) return 0;
    const at = this.#rings.command(COMMAND.option, this.slot, this.generation);
    this.#rings.words[at] = option;
    this.#rings.words[at + 1] = value;
    this.#rings.publish();
    return 0;
  }

  #end(op: number): void {
    if (this.#closed) return;
    this.#command(op);
    this.#closed = true;
    this.#host.released(this);
  }
}
