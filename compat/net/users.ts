/**
 * Users of a handle that take it for a libuv handle, which ours is not. Patched when the first handle of ours is about
 * to exist.
 */
import { types } from 'node:util';
import { type Internals, ownSymbol } from '../internals';
import { replaceMethod } from '../replace';
import { linkOf } from './handle';
import { listenNoMore } from './listen';

interface Resettable {
  _handle: unknown;
  connecting: boolean;
  once(event: string, listener: () => void): void;
  _reset(): void;
}

export function patchUsers(internals: Internals): void {
  patchResetAndDestroy();
  patchSendHandle(internals);
  patchTransfer();
}

/** net.Socket's own refuses every handle that is not `instanceof TCP`, which ours must not pretend to be. */
function patchResetAndDestroy(): void {
  const { Socket } = require('node:net') as typeof import('node:net');
  replaceMethod(Socket.prototype, 'resetAndDestroy', (original) => {
    return function resetAndDestroy(this: Resettable & { resetAndDestroy(): unknown }) {
      if (linkOf(this._handle) !== undefined) {
        if (this.connecting) this.once('connect', () => this._reset());
        else this._reset();
        return this;
      }
      try {
        return Reflect.apply(original, this, []);
      } catch (error) {
        if (types.isNativeError(error)) Error.captureStackTrace(error, this.resetAndDestroy);
        throw error;
      }
    };
  });
}

/** A server that moves to another thread (Node 24 and later) takes only the kernel's listener along. */
function patchTransfer(): void {
  const { Server } = require('node:net') as typeof import('node:net');
  const transfer = ownSymbol(Server.prototype, 'messaging_transfer_symbol');
  if (transfer === undefined) return;
  replaceMethod(Server.prototype, transfer, (original) => {
    return function (this: { _handle: unknown }) {
      const handle = this._handle;
      const moved = Reflect.apply(original, this, []);
      listenNoMore(handle);
      return moved;
    };
  });
}

/** Sending a socket to a child process: C++ would take the handle for one of libuv, unchecked. */
function patchSendHandle({ Pipe, stream, uv }: Internals): void {
  replaceMethod(Pipe.prototype, 'writeUtf8String', (original) => {
    return function writeUtf8String(this: object, ...args: [object, string, unknown?]) {
      if (args.length > 2 && linkOf(args[2]) !== undefined) {
        stream.streamBaseState[stream.kBytesWritten] = 0;
        stream.streamBaseState[stream.kLastWriteWasAsync] = 0;
        return uv['UV_ENOTSUP'];
      }
      return Reflect.apply(original, this, args);
    };
  });
}
