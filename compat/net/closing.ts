/**
 * The closing phase of libuv's loop, which comes behind the callbacks of setImmediate. A handle's close callback belongs
 * there, and only a handle of libuv that closes leads there: one for all that close in a round of the loop.
 */
import { internals } from '../internals';

const { TCP } = internals();
/** TCPConstants.SOCKET */
const SOCKET = 0;

let waiting: (() => void)[] = [];

/** Calls `callback` in the closing phase of this round of the loop, which does not end before. */
export function whenClosing(callback: () => void): void {
  if (waiting.push(callback) > 1) return;
  new TCP(SOCKET).close(() => {
    const due = waiting;
    waiting = [];
    for (const run of due) run();
  });
}
