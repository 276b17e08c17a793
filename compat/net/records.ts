/**
 * Where the program survives exceptions, so many records of TLS are handed up one by one: the handshake's, and the first
 * with bytes. What a listener throws at the end of the handshake must be told before the bytes behind it come up: C++
 * between them and us cannot do it.
 */
import { survivesExceptions } from './thrown';
import { isWrapped } from './upcall';

const SINGLE_RECORDS = 12;
const RECORD_HEADER_BYTES = 5;

/** How many of these bytes go up to a consumer in C++ together, which has had some `pieces`. */
export function piece(handle: object, bytes: Uint8Array, pieces: number): number {
  const length = bytes.byteLength;
  if (pieces >= SINGLE_RECORDS || !isWrapped(handle) || !survivesExceptions()) return length;
  if (length < RECORD_HEADER_BYTES) return length;
  return Math.min(length, RECORD_HEADER_BYTES + ((bytes[3] as number) << 8) + (bytes[4] as number));
}
