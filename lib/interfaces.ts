/** The names of network interfaces: a file of its own, because the preload asks and must load little. */
import { readFileSync } from 'node:fs';
import { InterfaceError } from './errors';

/** The names of all interfaces of this network namespace; empty where there is no /proc. */
export function interfaceNames(): string[] {
  let text: string;
  try {
    text = readFileSync('/proc/self/net/dev', 'latin1');
  } catch {
    return [];
  }
  const lines = text.split('\n').slice(2);
  return lines.map((line) => line.split(':')[0]?.trim() ?? '').filter((name) => name !== '');
}

/** @throws InterfaceError for a name that does not exist here: a mistake, not a machine that cannot accelerate */
export function checkInterfaces(names: readonly string[]): void {
  if (names.length === 0 || process.platform !== 'linux') return;
  const existing = interfaceNames();
  if (existing.length === 0) return; // no /proc: whoever opens them says what is missing
  for (const name of names) {
    if (!existing.includes(name)) throw new InterfaceError(name, existing);
  }
}
