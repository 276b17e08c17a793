// SPDX-License-Identifier: MIT
// One end of a connection that carries a pattern each way, from any place in the two streams, at its own pace.
'use strict';

const { patternAt } = require('./pattern.js');

const kChunkBytes = 32768;

/**
 * Sends `bytes` of pattern `outgoing` from offset `sent` and checks what comes against `incoming` from `received`.
 * `onProgress(duplex)` is called behind every chunk and every completed write; `onDone(error)` when both are whole.
 */
class Duplex {
  constructor(socket, { bytes, outgoing, incoming, sent = 0, received = 0 }, onProgress, onDone) {
    Object.assign(this, { socket, bytes, outgoing, incoming, sent, received, onProgress, onDone });
    this.stopped = false;
    this.writing = false;
    this.holding = false; // true: writes no more for the time being
    this.ended = false;
    this.listeners = {
      data: (chunk) => this.take(chunk),
      end: () => {
        if (this.received < this.bytes) return this.finish(new Error(`end after ${this.received} bytes`));
        this.ended = true;
        return this.finishWhole();
      },
      error: (error) => this.finish(error),
      close: () => this.finish(new Error(`closed after ${this.received} bytes`)),
    };
    for (const [name, listener] of Object.entries(this.listeners)) socket.on(name, listener);
    this.send();
  }

  take(chunk) {
    const expected = patternAt(this.received, chunk.length, this.incoming);
    if (!expected.equals(chunk)) return this.finish(new Error(`wrong bytes behind ${this.received}`));
    this.received += chunk.length;
    this.onProgress?.(this);
    return undefined;
  }

  finishWhole() {
    if (this.ended && this.sent === this.bytes && !this.writing) this.finish(null);
  }

  send() {
    if (this.stopped || this.writing || this.holding) return undefined;
    const length = Math.min(kChunkBytes, this.bytes - this.sent);
    if (length === 0) {
      this.socket.end();
      return this.finishWhole();
    }
    this.writing = true;
    const chunk = patternAt(this.sent, length, this.outgoing);
    this.sent += length;
    this.socket.write(chunk, (error) => {
      this.writing = false;
      if (error) return this.finish(error);
      this.onProgress?.(this);
      return this.send();
    });
    return undefined;
  }

  /** Lets go of the socket. No write is under way when this is called from onProgress of a write. */
  stop() {
    this.stopped = true;
    for (const [name, listener] of Object.entries(this.listeners)) this.socket.off(name, listener);
    return { sent: this.sent, received: this.received };
  }

  finish(error) {
    if (this.stopped) return;
    this.stop();
    this.socket.on('error', () => {});
    if (error) this.socket.destroy();
    this.onDone(error);
  }
}

module.exports = { Duplex };
