/**
 * Users of a handle that take it for a libuv handle, which ours is not. Patched when the first handle of ours is about
 * to exist.
 */
import { types } from 'node:util';
import type { Internals } from '../internals';
import { replaceMethod } from '../replace';
import { linkOf } from './handle';

interface Resettable {
  _handle: unknown;
  connecting: boolean;
  once(event: string, listener: () => void): void;
  _reset(): void;
}

export function patchUsers(internals: Internals): void {
  patchResetAndDestroy();
  patchSendHandle(internals);
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
