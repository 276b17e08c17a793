/**
 * The closing phase of libuv's loop, which comes behind the callbacks of setImmediate. A handle's close callback belongs
 * there, and only a handle of libuv that closes leads there: one for all that close in a round of the loop.
 */
import { internals } from '../internals';

const { TCP } = internals();
/** TCPConstants.SOCKET */
const SOCKET = 0;

let closing: (() => void)[] = [];
let following: (() => void)[] = [];

/** Calls `close` in the closing phase of this round of the loop: the last first, which is libuv's order. */
export function whenClosing(close: () => void): void {
  request();
  closing.push(close);
}

/** Calls `callback` when this round of the loop is over and everything that closes in it has closed. */
export function afterRound(callback: () => void): void {
  request();
  following.push(callback);
}

function request(): void {
  if (closing.length > 0 || following.length > 0) return;
  new TCP(SOCKET).close(() => {
    const due = [...closing.reverse(), ...following];
    closing = [];
    following = [];
    for (const run of due) run();
  });
}
