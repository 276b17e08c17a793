/**
 * listen(): the kernel's listener stays and the engine's stands beside it, both feed the same server. The kernel's keeps
 * the port reserved, its reference keeps the loop alive, and it takes whatever does not come by the fast path.
 */
import type { Connection, Engine, SocketAddress } from '../../lib/engine';
import { keepStores } from '../async-stores';
import type { AddressOut, TcpHandle } from '../internals';
import { linkOf, SocketHandle } from './handle';
import { ownerOf } from './upcall';

interface Server {
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
  const owner = ownerOf(kernel) as Server | undefined;
  if (owner === undefined || isCluster(owner)) return null;
  const out: AddressOut = {};
  if (kernel.getsockname(out) !== 0 || !out.port) return null;
  const local = out as SocketAddress;
  const dualStack = local.family === 'IPv6' && !ipv6Only;
  let closed = false;
  const listener = engine.listen(local, dualStack, backlog, {
    onConnection: (connection) => (closed ? refuse(connection) : accept(engine, kernel, connection)),
  });
  if (listener === null || typeof listener === 'number') return listener;
  const context = keepStores(kernel, () => engine.createContext(kernel, 'TCPSERVERWRAP'));
  listener.context = context;
  const end = () => {
    if (closed) return;
    closed = true;
    listener.close();
    engine.freeContext(context);
  };
  const errno = listenInKernel();
  if (errno !== 0) {
    end();
    return errno;
  }
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

function accept(engine: Engine, kernel: TcpHandle, connection: Connection): () => void {
  const handle = new SocketHandle(engine);
  linkOf(handle)?.accept(connection);
  return () => {
    // Read at this moment: cluster and others put their own in place of net's.
    if (typeof kernel.onconnection === 'function') kernel.onconnection(0, handle);
    else handle.close();
  };
}

function refuse(connection: Connection): () => void {
  connection.abort();
  return () => {};
}

/**
 * A listener of the cluster module, or of one of its workers: its connections are handed to other processes, or come
 * from the primary, as kernel handles.
 */
function isCluster(server: Server): boolean {
  const cluster = require('node:cluster') as import('node:cluster').Cluster;
  if (cluster.isWorker) return true;
  const listeners = server.listeners?.('connection') ?? [];
  // The primary's shared server is made with assert.fail as its listener.
  const [only] = listeners;
  if (listeners.length !== 1 || typeof only !== 'function' || only.name !== 'fail') return false;
  return only === (require('node:assert') as typeof import('node:assert')).fail;
}
