/**
 * listen() and bind() in a worker of the cluster module. The listening socket is the primary's, and what the worker's server gets is
 * a stand-in for a handle, to which the primary sends connections. That stands for the kernel's listener here: the
 * engine's is opened beside it, on the worker's own queue, and what comes by no such queue goes the old way. A UDP socket
 * is the kernel's own, which all workers receive from.
 */
import type { OfferShared } from '../dgram/hooks';
import type { Gate } from '../gate';
import type { Internals, TcpHandle, UdpHandle } from '../internals';
import { replaceMethod } from '../replace';

/** UV_TCP_IPV6ONLY */
const IPV6_ONLY = 1;

interface Query {
  readonly address?: string | null;
  readonly flags?: number | null;
}

/** The stand-in, or the handle itself where workers share it (SCHED_NONE). */
type PrimaryHandle = Partial<TcpHandle> & object;
type Listening = (errno: number, handle: PrimaryHandle | null, ...rest: unknown[]) => void;

/** What listen() returns, or null: the kernel alone has to. */
export type TryListen = (
  handle: TcpHandle,
  backlog: number,
  ipv6Only: boolean,
  listenInKernel: () => number,
) => number | null;

/** Hooks this process's cluster module, if it is a worker's. */
export function hookCluster(internals: Internals, gate: Gate, tryListen: TryListen, offerShared: OfferShared): void {
  if (!gate.sharesPorts || !mayBeWorker()) return;
  const cluster = require('node:cluster') as import('node:cluster').Cluster & { _getServer?: unknown };
  if (!cluster.isWorker || typeof cluster._getServer !== 'function') return;
  replaceMethod(cluster, '_getServer', (original) => {
    return function _getServer(this: object, server: object, query: Query, listening: Listening) {
      const dressed: Listening = (errno, handle, ...rest) => {
        if (errno === 0 && handle !== null) dress(internals, tryListen, handle, query);
        if (errno === 0 && handle instanceof internals.UDP) {
          offerAtStart(handle, () => offerShared(handle, query.address ?? '', query.flags ?? 0));
        }
        listening(errno, handle, ...rest);
      };
      return Reflect.apply(original, this, [server, query, dressed]);
    };
  });
}

/** Without loading the module, and half of net with it, into every process that the preload reaches. */
function mayBeWorker(): boolean {
  if (process.connected === undefined) return false;
  const { moduleLoadList } = process as { moduleLoadList?: unknown };
  return !Array.isArray(moduleLoadList) || moduleLoadList.includes('NativeModule internal/cluster/child');
}

/** When it has its socket and is about to receive, and before 'listening' says that it does. */
function offerAtStart(handle: UdpHandle, offer: () => void): void {
  handle.recvStart = () => {
    Reflect.deleteProperty(handle, 'recvStart');
    offer();
    return handle.recvStart();
  };
}

/** Gives a stand-in for a TCP handle the engine's half of listen(). One for a pipe has no address. */
function dress(internals: Internals, tryListen: TryListen, handle: PrimaryHandle, query: Query): void {
  if (handle instanceof internals.TCP || typeof handle.getsockname !== 'function') return;
  const { listen } = handle;
  if (typeof listen !== 'function') return;
  const ipv6Only = ((query.flags ?? 0) & IPV6_ONLY) !== 0;
  handle.listen = function (this: TcpHandle, backlog: number) {
    const inKernel = () => Reflect.apply(listen, this, [backlog]) as number;
    return tryListen(this, backlog, ipv6Only, inKernel) ?? inKernel();
  };
}
