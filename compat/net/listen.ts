/**
 * listen(): the kernel's listener stays and the engine's stands beside it, both feed the same server. The kernel's keeps
 * the port reserved, its reference keeps the loop alive, and it takes whatever does not come by the fast path.
 */
import type { Connection, Engine, Listener, SocketAddress, Upcall } from '../../lib/engine';
import { asyncIdOf, type AsyncScope, scopeOf } from '../async-scope';
import type { AddressOut, TcpHandle } from '../internals';
import { chosenFor } from './chosen';
import { linkOf, SocketHandle } from './handle';
import { ownerOf } from './upcall';

interface Beside {
  /** undefined: no longer. */
  readonly listener: () => Listener | undefined;
  /** Leaves the kernel's alone. */
  readonly end: () => void;
}

/** Kernel handles with an engine's listener beside them. */
const listening = new WeakMap<object, Beside>();

interface Server {
  _handle?: unknown;
  listeners?(event: string): unknown[];
}

/**
 * Listens through the engine and the kernel. null: by the kernel alone, and nothing was done; otherwise what listen()
 * returns.
 */
export function listenOurs(
  engine: Engine,
  kernel: TcpHandle,
  ipv6Only: boolean,
  backlog: number,
  listenInKernel: () => number,
): number | null {
  const out: AddressOut = {};
  if (kernel.getsockname(out) !== 0 || !out.port) return null;
  const local = out as SocketAddress;
  const dualStack = local.family === 'IPv6' && !ipv6Only;
  let closed = false;
  let keepAtExit = () => {};
  const listener = engine.listen(local, dualStack, backlog, {
    onConnection: (connection) => {
      if (closed) return refuse(connection);
      // Somebody has taken the handle from its server, to hand its connections to others: only kernel ones will do.
      if ((ownerOf(kernel) as Server | undefined)?._handle !== kernel) {
        end();
        return refuse(connection);
      }
      return accept(engine, kernel, scope, connection, () => closed);
    },
  });
  // Whether the address is free is the kernel's to say: with reusePort it lets several listen, of which one is ours.
  if (listener === null || typeof listener === 'number') return null;
  const scope = scopeOf(engine, 'TCPSERVERWRAP', kernel);
  listener.context = scope.context;
  const congestion = chosenFor(ownerOf(kernel));
  if (congestion !== undefined) listener.setCongestion(congestion);
  const end = () => {
    if (closed) return;
    closed = true;
    keepAtExit();
    listener.close();
    // Behind what may be posted in it still.
    engine.post(0, () => scope.end() as undefined);
  };
  const errno = listenInKernel();
  if (errno !== 0) {
    end();
    return errno;
  }
  // The stand-in of a cluster worker has none: the descriptor is the primary's.
  const descriptor: number | undefined = kernel.fd;
  if (descriptor !== undefined && descriptor >= 0) keepAtExit = engine.closeAtExit(descriptor);
  listening.set(kernel, { listener: () => (closed ? undefined : listener), end });
  const close = kernel.close;
  Object.defineProperty(kernel, 'close', {
    configurable: true,
    writable: true,
    value: function (this: TcpHandle, ...args: [(() => void)?]) {
      if (this === kernel) end();
      return Reflect.apply(close, this, args);
    },
  });
  return 0;
}

/** The kernel alone listens from now on. */
export function listenNoMore(kernel: unknown): void {
  if (typeof kernel === 'object' && kernel !== null) listening.get(kernel)?.end();
}

/** The engine's listener, while it listens beside this one of the kernel's. */
export function listenerBeside(kernel: object): Listener | undefined {
  return listening.get(kernel)?.listener();
}

function accept(
  engine: Engine,
  kernel: TcpHandle,
  scope: AsyncScope,
  connection: Connection,
  isClosed: () => boolean,
): () => Upcall {
  const handle = new SocketHandle(engine, null);
  linkOf(handle)?.accept(connection, asyncIdOf(kernel));
  return () => {
    // Read at this moment: cluster and others put their own in place of net's.
    const { onconnection } = kernel;
    if (!isClosed() && typeof onconnection === 'function') {
      return scope.bindAll(onconnection, kernel, [0, handle]);
    }
    handle.reset();
    return undefined;
  };
}

function refuse(connection: Connection): () => Upcall {
  connection.abort();
  return () => undefined;
}

/**
 * A handle whose connections are none of the engine's: without a server, or with a second one (both share what it has);
 * that of cluster's primary, which hands its connections to the workers as kernel handles; and a worker's, where the
 * engine cannot share a port between processes.
 */
export function isOthers(kernel: TcpHandle, sharesPorts: boolean): boolean {
  const server = ownerOf(kernel) as Server | undefined;
  if (server === undefined || listening.has(kernel)) return true;
  const cluster = require('node:cluster') as import('node:cluster').Cluster;
  if (cluster.isWorker) return !sharesPorts;
  if (Object.keys(cluster.workers ?? {}).length === 0) return false;
  // The server that the primary makes for its workers has a function of this name as its only listener. A program's own
  // that looks like it is served by the kernel: nothing is lost.
  const listeners = server.listeners?.('connection') ?? [];
  return listeners.length === 1 && (listeners[0] as { name?: string }).name === 'fail';
}
