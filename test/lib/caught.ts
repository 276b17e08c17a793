/** What `run` throws; an error of its own when it throws nothing. */
export function caught(run: () => unknown): Error {
  try {
    run();
  } catch (error) {
    if (error instanceof Error) return error;
    throw new Error(`not an Error was thrown: ${String(error)}`);
  }
  throw new Error('nothing was thrown');
}
