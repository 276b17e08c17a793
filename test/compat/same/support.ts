/** What the programs of this folder share. Nothing here knows of millrace. */
import type * as net from 'node:net';
import type { AddressInfo } from 'node:net';

export type Log = (text: string) => void;
/** A program that says by `log` what it sees; the kernel's log is the truth. */
export type Scenario = (log: Log) => void;

/** Listens on a port that is free, and tells which. */
export function serve(server: net.Server, then: (port: number) => void): void {
  server.listen(0, '127.0.0.1', () => then((server.address() as AddressInfo).port));
}

/** Logs every event of a socket that a program can see. */
export function watch(log: Log, name: string, socket: net.Socket): void {
  for (const event of ['lookup', 'connect', 'ready', 'end', 'finish', 'timeout', 'drain'] as const) {
    socket.on(event, () => log(`${name} ${event}`));
  }
  socket.on('data', (data) => log(`${name} data ${data.length}`));
  socket.on('close', (hadError) => log(`${name} close ${hadError}`));
  socket.on('error', (error: NodeJS.ErrnoException) => log(`${name} error ${error.code} ${error.syscall}`));
}

/** Logs of several parties, each in its own order: how they mix is a matter of what one poll of the kernel finds. */
export function parties(log: Log): (name: string) => Log {
  const logs = new Map<string, string[]>();
  process.on('exit', () => {
    for (const name of [...logs.keys()].sort()) for (const text of logs.get(name) ?? []) log(`${name} ${text}`);
  });
  return (name) => {
    const texts = logs.get(name) ?? [];
    logs.set(name, texts);
    return (text) => texts.push(text);
  };
}

/** By which a callback enters its async context where hooks are enabled: ours by the one, Node's by the other. */
const ENTRANCE = /^\s+at \w+\.(?:runInAsyncScope|callbackTrampoline) /;

/** An error's class, message and stack without what differs from run to run. */
export function summary(error: NodeJS.ErrnoException): string {
  const lines = (error.stack ?? '').split('\n').filter((line) => /^\s+at /.test(line));
  const frames = lines.filter((line) => !ENTRANCE.test(line));
  const places = frames.map((line) => line.replace(/:\d+:\d+/g, '').trim());
  return `${error.name} ${error.code} ${error.errno} ${error.syscall} ${error.message.replace(/\d{4,}/g, 'N')} ${places.join(' | ')}`;
}

/** Every own field of an error, ports left out. */
export function fields(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const own = Object.entries(error).map(([key, value]) => {
    if (Array.isArray(value)) return `${key}=[${value.map(fields).join('; ')}]`;
    return `${key}=${/port/i.test(key) ? typeof value : String(value)}`;
  });
  return `${error.constructor.name} "${error.message.replace(/\d{4,}/g, 'N')}" ${own.join(' ')}`;
}

/** Runs the program that the command line names. */
export function main(scenarios: Record<string, Scenario>): void {
  const name = process.argv[2];
  if (name !== undefined) scenarios[name]?.((text) => console.log(text));
}
