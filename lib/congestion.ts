/** Congestion control by name, for one socket or for what one server accepts; and what TCP knows of a connection. */
import { inspect } from 'node:util';
import type { Congestion, ConnectionInfo } from './engine';
import { facade, outcome } from './facade';

/** In the order of tcp::CongestionControl. */
export const CONGESTIONS = ['cubic', 'newreno', 'bbr'] as const satisfies readonly Congestion[];

const HINTS = { ENOTCONN: 'the socket has ended' } as const;

/**
 * Chooses the congestion control of one connection, whatever the option `congestion` says for all. It may be called at
 * any time: before a socket connects it holds for the connection to come, in the middle of a transfer from now on.
 *
 * @param target a `net.Socket` or a `tls.TLSSocket`; or a `net.Server` (`tls.Server`, `http.Server` ...), listening or
 * not: the connections that it accepts from now on begin with it
 * @param name `'cubic'`, `'newreno'` (also by TCP_CONGESTION's name, `'reno'`) or `'bbr'`
 * @returns true: it is in force, or will be if the connection turns out to be accelerated ({@link connectionInfo} tells);
 * false: the connection, or the listener, is the kernel's, and nothing was done
 * @throws TypeError ERR_INVALID_ARG_TYPE, ERR_INVALID_ARG_VALUE; Error ENOTCONN (with Node's `code`, `errno` and
 * `syscall`) for a socket that has ended
 */
export function setCongestion(target: object, name: Congestion | 'reno'): boolean {
  checkObject('target', target);
  const wanted = name === 'reno' ? 'newreno' : name;
  if (!CONGESTIONS.includes(wanted)) {
    const known = CONGESTIONS.map((one) => `'${one}'`).join(', ');
    throw typeError(
      'ERR_INVALID_ARG_VALUE',
      `The argument 'name' must be one of: ${known}. Received ${inspect(name, { breakLength: Number.POSITIVE_INFINITY })}`,
    );
  }
  return outcome(facade()?.setCongestion?.(target, wanted) ?? null, 'setCongestion', HINTS);
}

/**
 * What TCP knows of an accelerated connection, in the terms of Linux's TCP_INFO and `ss -ti`.
 *
 * @param socket a `net.Socket` or a `tls.TLSSocket`
 * @returns null when the connection is the kernel's, has not begun or has ended
 * @throws TypeError ERR_INVALID_ARG_TYPE
 */
export function connectionInfo(socket: object): ConnectionInfo | null {
  checkObject('socket', socket);
  return facade()?.connectionInfo?.(socket) ?? null;
}

function checkObject(argument: string, value: unknown): void {
  if (typeof value === 'object' && value !== null) return;
  throw typeError(
    'ERR_INVALID_ARG_TYPE',
    `The "${argument}" argument must be of type object. Received ${inspect(value)}`,
  );
}

/** As Node makes them. */
function typeError(code: string, message: string): TypeError {
  const error = Object.assign(new TypeError(message), { code });
  if (error.stack !== undefined) error.stack = error.stack.replace(/^TypeError:/, `TypeError [${code}]:`);
  return error;
}
