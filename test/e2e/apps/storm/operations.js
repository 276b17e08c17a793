// What an end of a stream does in a storm. `this` is the End.
'use strict';

const { kWriteMax, ours, throwSomething } = require('./ground');
const { operations } = require('./end');

/** An error may not come out of these. */
const USUAL = {
  writeSmall() {
    this.write(1 + this.int(200));
  },
  writeBig() {
    this.write(1 + this.int(kWriteMax));
  },
  writeText() {
    this.write(2 * this.int(5000), ['utf8', 'latin1', 'ascii', 'hex', 'base64', 'utf16le'][this.int(6)]);
  },
  writeMany() {
    for (let n = this.int(20); n > 0; n--) this.write(this.int(2000));
  },
  corked(socket) {
    socket.cork();
    for (let n = this.int(5); n > 0; n--) this.write(this.int(3000), this.int(2) === 0 ? 'latin1' : undefined);
    if (this.int(3) > 0) process.nextTick(() => socket.uncork());
    else socket.uncork();
  },
  pause(socket) {
    if (this.way === 'data') socket.pause();
    setTimeout(() => !socket.destroyed && this.flow(), this.int(20));
  },
  resume() {
    this.flow();
  },
  ref(socket) {
    socket.unref?.();
    socket.ref?.();
  },
  unref(socket) {
    socket.unref?.();
    setTimeout(() => socket.ref?.(), this.int(10));
  },
  noDelay(socket) {
    socket.setNoDelay?.(this.int(2) === 0);
  },
  keepAlive(socket) {
    socket.setKeepAlive?.(this.int(2) === 0, this.int(5000));
  },
  timeout(socket) {
    socket.setTimeout([0, 1, 5, 1000][this.int(4)]);
  },
  poke() {
    this.poke();
  },
  secure(socket) {
    if (!this.isSecure) return;
    if (this.int(2) === 0) socket.setMaxSendFragment(512 + this.int(15_000));
    else socket.disableRenegotiation();
  },
  readNothing(socket) {
    if (this.way === 'readable') socket.read(0);
  },
  throwLater() {
    setImmediate(throwSomething);
  },
  end(socket) {
    if (this.int(4) > 0 || socket.writableEnded) return;
    while (socket.writableCorked > 0) socket.uncork();
    socket.end();
  },
  ...extras(),
};

/** What only millrace has. */
function extras() {
  const millrace = ours();
  if (millrace === null) return {};
  const quietly = (action) => {
    try {
      return action();
    } catch (error) {
      if (!/ENOTCONN|EAGAIN|ENOBUFS|EPERM|ERR_INVALID/.test(error.code)) throw error;
      return null;
    }
  };
  return {
    info: (socket) => void quietly(() => millrace.connectionInfo(socket)),
    congestion(socket) {
      quietly(() => millrace.setCongestion(socket, ['cubic', 'newreno', 'bbr'][this.int(3)]));
    },
    ...(process.env.STORM_HAND_OVER === '0'
      ? {}
      : {
          handOver(socket) {
            if (this.int(8) === 0) quietly(() => millrace.handOver(socket));
          },
        }),
    stats: () => void millrace.stats(),
  };
}

const FATAL = {
  destroy(socket) {
    this.giveUp('destroy', () => socket.destroy());
  },
  destroyWithError(socket) {
    this.giveUp('destroy', () => socket.destroy(new Error('own')));
  },
  reset(socket) {
    // While its FIN is on the way plain Node answers EINVAL and never closes.
    if (this.kind === 'h2') this.giveUp('reset', () => socket.close(this.int(14)));
    else if (this.kind === 'tcp' && !socket.writableEnded && !socket.connecting) {
      this.giveUp('reset', () => socket.resetAndDestroy());
    }
  },
  destroySoon(socket) {
    this.giveUp('destroySoon', () => (socket.destroySoon ?? socket.destroy).call(socket));
  },
  destroyInTick(socket) {
    this.giveUp('destroy', () => process.nextTick(() => socket.destroy()));
  },
  endAndDestroy(socket) {
    this.giveUp('destroy', () => {
      while (socket.writableCorked > 0) socket.uncork();
      socket.end(() => socket.destroy());
    });
  },
  abort() {
    if (this.abort !== undefined) this.giveUp('abort', () => this.abort());
  },
  /** The connection below goes: for TLS that of the pair below, for a stream of http2 its session. */
  destroyBelow() {
    const below = this.below?.();
    if (below) this.giveUp('below', () => below.destroy());
  },
};

Object.assign(operations.all, USUAL, FATAL, { throwNow: throwSomething });
operations.usual = Object.keys(USUAL);
operations.fatal = Object.keys(FATAL);
