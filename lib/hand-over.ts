/** Leaving the fast path: the kernel goes on with a connection in mid-stream. */
import { facade, outcome } from './facade';

const HINTS = {
  EPERM: 'needs CAP_NET_ADMIN',
  ENOTCONN: 'the socket is not connected yet, or no longer',
} as const;

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
  return outcome(facade()?.handOver?.(socket) ?? null, 'handOver', HINTS);
}
