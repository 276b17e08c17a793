/** The counters of the running stack, as an object and as a file at exit. */
import { writeFileSync } from 'node:fs';
import type { PortReport } from './binding';
import type { RefusedRule, StackEngine } from './stack';

export interface Stats {
  /** False when everything is the kernel's. */
  readonly accelerated: boolean;
  readonly pid: number;
  readonly ports: PortReport[];
  /** group -> counter -> value since the start; docs/counters.md has a line of meaning for each. */
  readonly counters: Record<string, Record<string, number>>;
  /** Steering rules that could not be had, in words with the reason; the newest of an interface last. */
  readonly refusedRules: RefusedRule[];
}

export function statsOf(engine: StackEngine | null): Stats {
  return {
    accelerated: engine !== null,
    pid: process.pid,
    ports: engine?.ports() ?? [],
    counters: engine?.counters() ?? {},
    refusedRules: engine?.refusedRules() ?? [],
  };
}

/** Writes the counters as JSON when the program ends; `%p` in the name is the process id. */
export function writeReportAtExit(engine: StackEngine, file: string): void {
  // In front: a listener that calls process.exit() is the last to be called.
  process.prependListener('exit', () => {
    const name = file.replaceAll('%p', String(process.pid));
    try {
      writeFileSync(name, `${JSON.stringify(statsOf(engine), null, 2)}\n`);
    } catch (error) {
      // The program has ended, and well or not: that is not ours to say.
      process.stderr.write(`millrace: cannot write the report ${name}: ${(error as Error).message}\n`);
    }
  });
}
