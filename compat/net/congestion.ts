/** setCongestion(): at once where there is a connection or a listener of ours, else when there is one. */
import type { Congestion } from '../../lib/engine';
import { internals } from '../internals';
import { remember } from './chosen';
import { listenerBeside } from './listen';
import { linkUnder } from './users';

interface Target {
  readonly _handle?: unknown;
  readonly destroyed?: boolean;
  readonly pending?: boolean;
}

/** null: the kernel's; 0, or a negative errno. */
export function chooseCongestion(target: Target, name: Congestion): number | null {
  const { Server } = require('node:net') as typeof import('node:net');
  if (target instanceof Server) return chooseForServer(target as Target & object, name);
  const link = linkUnder(target);
  if (link !== undefined) return link.setCongestion(name);
  if (target.destroyed === true) return internals().uv['UV_ENOTCONN'] as number;
  if (target.pending !== true) return null;
  remember(target, name);
  for (let handle = target._handle; typeof handle === 'object' && handle !== null; ) {
    remember(handle, name);
    handle = (handle as { _parent?: unknown })._parent;
  }
  return 0;
}

function chooseForServer(server: Target, name: Congestion): number | null {
  remember(server, name);
  const handle = server._handle;
  if (typeof handle !== 'object' || handle === null) return 0;
  return listenerBeside(handle)?.setCongestion(name) ?? null;
}
