/**
 * Users of a handle that take it for a libuv handle, which ours is not. Patched when the first handle of ours is about
 * to exist.
 */
import { types } from 'node:util';
import { type Internals, internals, ownerSymbolOf, ownSymbol } from '../internals';
import { replaceMethod } from '../replace';
import { linkOf } from './handle';
import { KernelConnection } from './kernel-connection';
import { type Link, openLinks } from './link';
import { listenNoMore } from './listen';
import { ownerOf, setAsyncId } from './upcall';

interface Resettable {
  _handle: unknown;
  connecting: boolean;
  once(event: string, listener: () => void): void;
  _reset(): void;
}

export function patchUsers(internals: Internals): void {
  patchResetAndDestroy();
  patchSendHandle(internals);
  patchStdio();
  patchTransfer();
  patchListings();
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

/**
 * Sockets that move to another thread (Node 24 and later). A connection becomes the kernel's first; a server takes only
 * the kernel's listener along.
 */
function patchTransfer(): void {
  const { Server, Socket } = require('node:net') as typeof import('node:net');
  const list = ownSymbol(Socket.prototype, 'messaging_transfer_list_symbol');
  if (list !== undefined) {
    replaceMethod(Socket.prototype, list, (original) => {
      return function (this: Transferable) {
        if (linkOf(this._handle) !== undefined && isFresh(this)) takeKernelHandle(this);
        return Reflect.apply(original, this, []);
      };
    });
  }
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

/**
 * What keeps the process alive, as it tells programs that look for what they have forgotten to close, or close what is
 * left: Node lists handles of libuv only.
 */
function patchListings(): void {
  const referenced = () => [...openLinks()].filter((link) => link.referenced);
  const add = (name: string, list: () => readonly unknown[]) => {
    if (typeof (process as unknown as Record<string, unknown>)[name] !== 'function') return;
    replaceMethod(process, name, (original) => {
      const hook = {
        [name]() {
          return [...(Reflect.apply(original, process, []) as unknown[]), ...list()];
        },
      };
      return hook[name] as () => unknown;
    });
  };
  add('_getActiveHandles', () => referenced().map((link) => ownerOf(link.handle) ?? link.handle));
  add('getActiveResourcesInfo', () => referenced().map(() => 'TCPSocketWrap'));
}

interface Transferable {
  _handle: unknown;
  readonly connecting: boolean;
  readonly destroyed: boolean;
  readonly bytesRead: number;
  readonly bytesWritten: number;
  readonly readableLength: number;
  readonly writableLength: number;
}

/** What Node asks of a socket that is to move, apart from the class of its handle: otherwise it refuses. */
function isFresh(socket: Transferable): boolean {
  const { connecting, destroyed, bytesRead, bytesWritten, readableLength, writableLength } = socket;
  return !connecting && !destroyed && bytesRead + bytesWritten + readableLength + writableLength === 0;
}

/** The socket gets the kernel's handle itself, without ours in between. */
function takeKernelHandle(socket: Transferable): void {
  const link = linkOf(socket._handle);
  if (link === undefined || link.leave() !== 0) return;
  const kernel = link.release();
  const owner = ownerSymbolOf(internals().TCP);
  if (kernel === null || owner === undefined) return;
  kernel[owner] = socket;
  kernel.reading = false;
  socket._handle = kernel;
  setAsyncId(socket as unknown as Record<PropertyKey, unknown>, kernel);
}

/**
 * Sending a socket to another process: C++ would take the handle for one of libuv, unchecked. The connection leaves for
 * the kernel, and the kernel's handle goes.
 */
function patchSendHandle({ Pipe, stream }: Internals): void {
  // A message as JSON, and one with `serialization: 'advanced'`.
  for (const name of ['writeUtf8String', 'writeBuffer']) {
    replaceMethod(Pipe.prototype, name, (original) => {
      const hook = {
        [name](this: object, ...args: [object, unknown, unknown?]) {
          const sent = args[2];
          const link = args.length > 2 ? linkOf(sent) : undefined;
          if (link !== undefined) {
            // Sent away for good: what comes from now on is the other process's to read.
            if ((ownerOf(sent as object) as { _handle?: unknown } | undefined)?._handle !== sent)
              link.setReading(false);
            const errno = link.leave();
            if (errno !== 0) {
              stream.streamBaseState[stream.kBytesWritten] = 0;
              stream.streamBaseState[stream.kLastWriteWasAsync] = 0;
              return errno;
            }
            share(link);
            args[2] = link.kernel;
          }
          return Reflect.apply(original, this, args);
        },
      };
      return hook[name] as (...args: unknown[]) => unknown;
    });
  }
}

function share(link: Link): void {
  if (link.connection instanceof KernelConnection) link.connection.share();
}

interface StdioSocket {
  _handle: { reading?: boolean } | null;
}

/** A socket as the stdin, stdout or stderr of a child: Node takes it by its handle, which must be the kernel's then. */
function patchStdio(): void {
  const { ChildProcess } = require('node:child_process') as typeof import('node:child_process');
  replaceMethod(ChildProcess.prototype as object, 'spawn', (original) => {
    return function spawn(this: object, ...args: [{ stdio?: unknown }, ...unknown[]]) {
      const stdio = args[0]?.stdio;
      const sockets = Array.isArray(stdio) ? (stdio as unknown[]).filter(isOurs) : [];
      const handles = sockets.map((socket) => socket._handle);
      for (const socket of sockets) {
        const link = linkOf(socket._handle);
        if (link === undefined || link.leave() !== 0) continue;
        share(link);
        // As Node does to the handle of such a socket.
        link.setReading(false);
        if (socket._handle !== null) socket._handle.reading = false;
        socket._handle = link.kernel;
      }
      try {
        return Reflect.apply(original, this, args);
      } finally {
        for (const [i, socket] of sockets.entries()) socket._handle = handles[i] ?? null;
      }
    };
  });
}

function isOurs(value: unknown): value is StdioSocket {
  return typeof value === 'object' && value !== null && linkOf((value as { _handle?: unknown })._handle) !== undefined;
}

/** What is below a socket: its handle, or, through TLS, the handle under that. */
export function linkUnder(socket: { _handle?: unknown }): Link | undefined {
  let handle = socket._handle;
  while (typeof handle === 'object' && handle !== null) {
    const link = linkOf(handle);
    if (link !== undefined) return link;
    handle = (handle as { _parent?: unknown })._parent;
  }
  return undefined;
}

/** null: the kernel's already; 0, or a negative errno with which nothing has changed. */
export function leaveFastPath(socket: object): number | null {
  const link = linkUnder(socket);
  return link === undefined || link.kernel !== null ? null : link.leave();
}
