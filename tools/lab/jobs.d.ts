import type { ChildProcess } from 'node:child_process';

export interface Outcome {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
  elapsedMs: number;
}

export interface RunOptions {
  timeoutMs?: number;
  env?: Record<string, string>;
  cwd?: string;
  input?: string | Buffer;
}

export interface SpawnOptions {
  env?: Record<string, string>;
  cwd?: string;
  name?: string;
  stdin?: 'ignore' | 'pipe';
}

export class Job {
  constructor(command: string, args: readonly string[], options?: SpawnOptions);
  readonly name: string;
  readonly pid: number | undefined;
  readonly child: ChildProcess;
  readonly stdout: string;
  readonly stderr: string;
  readonly running: boolean;
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly exit: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  describe(): string;
  waitFor(pattern: RegExp, timeoutMs?: number, from?: number): Promise<RegExpExecArray>;
  ask<T = Record<string, unknown>>(line: string, timeoutMs?: number): Promise<T>;
  finish(timeoutMs?: number): Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  kill(signal?: NodeJS.Signals): void;
  stop(signal?: NodeJS.Signals, patienceMs?: number): Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
}

export function run(command: string, args: readonly string[], options?: RunOptions): Promise<Outcome>;
export function must(command: string, args: readonly string[], options?: RunOptions): Promise<string>;
export function sleep(ms: number): Promise<void>;
export function cleanEnvironment(extra?: Record<string, string>): Record<string, string>;
