/**
 * Does what is below net behave as the facade needs it? Asked once, before the first socket of ours; if the answer is
 * no, all sockets stay with the kernel and one line says why.
 */
import type { Internals } from './internals';

let verdict: boolean | undefined;

/** True when sockets can be accelerated on this Node. Says why not, once. */
export function isUsable(internals: Internals): boolean {
  if (verdict === undefined) {
    const problem = findProblem(internals);
    verdict = problem === null;
    if (problem !== null) reportUnusable(problem);
  }
  return verdict;
}

/** The one line on stderr. */
export function reportUnusable(problem: string): void {
  process.stderr.write(`millrace: all sockets stay with the kernel: ${problem} (Node ${process.version})\n`);
}

function findProblem(internals: Internals): string | null {
  try {
    return tryStream(internals);
  } catch (error) {
    return `Node's JSStream cannot be used (${error instanceof Error ? error.message : String(error)})`;
  }
}

/** One message up, both ways, through a subclass as handle.ts makes it. */
function tryStream({ JSStream, stream, uv }: Internals): string | null {
  const Base = JSStream as unknown as {
    new (): { onread: unknown; readBuffer(data: Uint8Array): void; emitEOF(): void };
  };
  class Probe extends Base {
    readonly #mark = 1;
    get isStreamBase(): boolean {
      return this.#mark === 1;
    }
  }
  const probe = new Probe();
  const state = stream.streamBaseState;
  const seen: number[] = [];
  probe.onread = (data: ArrayBuffer | undefined) => {
    seen.push(state[stream.kReadBytesOrError] as number, data === undefined ? -1 : data.byteLength);
  };
  if (!probe.isStreamBase) return "a subclass of Node's JSStream loses its properties";
  probe.readBuffer(new Uint8Array(3));
  state[stream.kReadBytesOrError] = 5;
  state[stream.kArrayBufferOffset] = 0;
  (probe.onread as (data: ArrayBuffer) => void)(new ArrayBuffer(5));
  probe.emitEOF();
  const [size, , direct, length, end] = seen;
  if (size !== 3 || direct !== 5 || length !== 5 || end !== uv['UV_EOF']) {
    return "Node's JSStream does not hand up what it is given";
  }
  return null;
}
