/** Leaving the fast path: the kernel goes on with a connection in mid-stream. */
import { getSystemErrorName } from 'node:util';

/** What compat/install.ts leaves here, of whichever copy of the package. */
const INSTALLED = Symbol.for('millrace.facade.installed');

interface Facade {
  handOver?(socket: object): number | null;
}

const HINTS: Readonly<Record<string, string>> = {
  EPERM: 'needs CAP_NET_ADMIN',
  ENOTCONN: 'the socket is not connected yet, or no longer',
};

/**
 * Makes the kernel go on with an accelerated connection in mid-stream. The socket stays what it is, and so does whatever
 * reads through it (TLS, http, http2): no byte is lost and the peer notices nothing. There is no way back. For a
 * connection whose both ends are in this process both leave.
 *
 * @param socket a `net.Socket` or a `tls.TLSSocket`
 * @returns false when the connection was the kernel's already
 * @throws Error with Node's `code`, `errno` and `syscall` when it cannot be; nothing has changed then. EPERM: without
 * CAP_NET_ADMIN; ENOTCONN: not connected; EAGAIN: the other end is in this process and has not been accepted yet;
 * otherwise what the kernel said
 */
export function handOver(socket: object): boolean {
  const facade = (globalThis as Record<symbol, unknown>)[INSTALLED] as Facade | undefined;
  const errno = facade?.handOver?.(socket) ?? null;
  if (errno === null) return false;
  if (errno === 0) return true;
  const code = getSystemErrorName(errno);
  const hint = HINTS[code];
  const error = new Error(`handOver ${code}${hint === undefined ? '' : `: ${hint}`}`);
  throw Object.assign(error, { errno, code, syscall: 'handOver' });
}
