/**
 * The closing phase of libuv's loop, which comes behind the callbacks of setImmediate. A handle's close callback belongs
 * there: a timer that is due in the next round must find it done.
 */
import type { Engine } from '../../lib/engine';

let requested = false;
let closing: (() => void)[] = [];
let following: (() => void)[] = [];
let followingNow: (() => void)[] = [];

/**
 * Calls `close`, with no scope, in the closing phase of this round of the loop: the last first, which is libuv's order.
 * What it posts runs in the same phase.
 */
export function whenClosing(engine: Engine, close: () => void): void {
  request(engine);
  closing.push(close);
}

/** Calls `callback` when this round of the loop is over and everything that closes in it has closed. */
export function afterRound(engine: Engine, callback: () => void): void {
  request(engine);
  following.push(callback);
}

function request(engine: Engine): void {
  if (requested) return;
  requested = true;
  engine.atRoundEnd(runClosing, runFollowing);
}

function runClosing(): void {
  // What closes from now on closes in the next round.
  requested = false;
  followingNow = following;
  following = [];
  const due = closing.reverse();
  closing = [];
  for (const run of due) run();
}

function runFollowing(): void {
  const due = followingNow;
  followingNow = [];
  for (const run of due) run();
}
