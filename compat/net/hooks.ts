/**
 * The hooks on Node's TCP handle. For a socket that is not ours each is one question of policy and the original; what
 * they need for ours is loaded when the first one comes.
 */
import type { Gate } from '../gate';
import { type Internals, ownerSymbolOf, type Request, type TcpHandle } from '../internals';
import { replaceMethod } from '../replace';
import { isUsable } from '../self-test';
import type { TryListen } from './cluster';
import { hookTls } from './tls';

/** UV_TCP_IPV6ONLY */
const IPV6_ONLY = 1;

/** Listening handles of IPv6 alone. */
const ipv6Only = new WeakSet<object>();
/** Kernel handles which a consumer in C++ has asked for while they were connecting (http2 does). */
const probed = new WeakSet<object>();

/**
 * Methods that programs replace on the prototype of Node's class to see them called. Those of our handles call what stands
 * there, and what Node had there serves ours too.
 */
const WATCHED = ['ref', 'unref', 'setNoDelay', 'setKeepAlive'] as const;

interface Ours {
  readonly linkOf: typeof import('./handle').linkOf;
  readonly connectOurs: typeof import('./connect').connectOurs;
  readonly listenOurs: typeof import('./listen').listenOurs;
  readonly isOthers: typeof import('./listen').isOthers;
}

let loaded: Ours | null = null;

/** Loads what sockets of ours need. Called when net is loaded, for only net has handles made. */
function ours(internals: Internals): Ours {
  if (loaded === null) {
    const { linkOf } = require('./handle') as typeof import('./handle');
    const { connectOurs } = require('./connect') as typeof import('./connect');
    const { isOthers, listenOurs } = require('./listen') as typeof import('./listen');
    const { patchUsers } = require('./users') as typeof import('./users');
    patchUsers(internals);
    loaded = { connectOurs, isOthers, linkOf, listenOurs };
  }
  return loaded;
}

export function hookTcp(internals: Internals, gate: Gate): TryListen {
  const { prototype } = internals.TCP;
  hookConnect(internals, gate, 'connect');
  hookConnect(internals, gate, 'connect6');
  // Methods, which have no `prototype`, as Node's have none.
  replaceMethod(prototype, 'bind6', (original) => {
    const hook = {
      bind6(this: TcpHandle, ...args: [string, number, number?]) {
        if (args[2] !== undefined && (args[2] & IPV6_ONLY) !== 0) ipv6Only.add(this);
        return Reflect.apply(original, this, args);
      },
    };
    return hook.bind6;
  });
  replaceMethod(prototype, 'listen', (original) => {
    const hook = {
      listen(this: TcpHandle, ...args: [number]) {
        const kernel = () => Reflect.apply(original, this, args) as number;
        return tryListen(internals, gate, this, args[0], ipv6Only.has(this), kernel) ?? kernel();
      },
    };
    return hook.listen;
  });
  for (const name of WATCHED) hookWatched(prototype, name);
  hookIsStreamBase(internals);
  if (internals.tls !== null) hookTls(internals.tls, internals.TCP);
  return (...args) => tryListen(internals, gate, ...args);
}

function hookConnect(internals: Internals, gate: Gate, name: 'connect' | 'connect6'): void {
  replaceMethod(internals.TCP.prototype, name, (original) => {
    const hook = {
      [name](this: TcpHandle, ...args: [Request, string, number]) {
        const [request, address, port] = args;
        if (gate.wants('tcp', 'connect', address, port)) {
          const result = tryConnect(internals, gate, this, request, address, port);
          if (result !== null) return result;
        }
        return Reflect.apply(original, this, args);
      },
    };
    return hook[name] as (...args: unknown[]) => unknown;
  });
}

function hookWatched(prototype: TcpHandle, name: (typeof WATCHED)[number]): void {
  replaceMethod(prototype, name, (original) => {
    const hook = {
      [name](this: TcpHandle, ...args: [never, never, never?, never?]) {
        const link = loaded?.linkOf(this);
        return link === undefined ? Reflect.apply(original, this, args) : link[name](...args);
      },
    };
    return hook[name] as (...args: unknown[]) => unknown;
  });
}

function tryConnect(
  internals: Internals,
  gate: Gate,
  handle: TcpHandle,
  request: Request,
  address: string,
  port: number,
): number | null {
  // Without an owner symbol net is not loaded: code that uses the binding itself.
  if (ownerSymbolOf(internals.TCP) === undefined || !isUsable(internals)) return null;
  const engine = gate.acquire();
  if (engine === null) return null;
  return ours(internals).connectOurs(engine, handle, request, address, port, probed.has(handle));
}

function tryListen(
  internals: Internals,
  gate: Gate,
  handle: TcpHandle,
  backlog: number,
  onlyIpv6: boolean,
  kernel: () => number,
): number | null {
  const out: { address?: string; port?: number } = {};
  if (ownerSymbolOf(internals.TCP) === undefined || handle.getsockname(out) !== 0) return null;
  if (!gate.wants('tcp', 'listen', out.address ?? '', out.port ?? 0) || !isUsable(internals)) return null;
  const { isOthers, listenOurs } = ours(internals);
  // Asked first: an engine that is opened for nothing takes queues from those who need them.
  if (isOthers(handle, gate.sharesPorts)) {
    gate.leave(
      'tcp',
      'listen',
      out.address ?? '',
      out.port ?? 0,
      'its connections go to other processes, or are shared',
    );
    return null;
  }
  const engine = gate.acquire();
  return engine === null ? null : listenOurs(engine, handle, onlyIpv6, backlog, kernel);
}

/** http2's client asks before the socket has connected, and does not ask the handle that takes the place of this. */
function hookIsStreamBase(internals: Internals): void {
  Object.defineProperty(internals.TCP.prototype, 'isStreamBase', {
    configurable: true,
    enumerable: true,
    get(this: object) {
      const symbol = ownerSymbolOf(internals.TCP);
      if (symbol !== undefined) {
        const owner = (this as Record<symbol, unknown>)[symbol] as { connecting?: boolean } | undefined;
        if (owner?.connecting === true) probed.add(this);
      }
      return true;
    },
  });
}
