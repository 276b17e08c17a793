/** `millrace flows`: the steering rules of running programs, asked of the programs themselves. */
import { readFileSync } from 'node:fs';
import { getSystemErrorName } from 'node:util';
import type { Binding } from '../binding';
import { UsageError } from './usage';

/** One rule (native/stack/inspection.cc). Where nothing counts by rule, `packets` and `bytes` are left out. */
export interface FlowRule {
  /** Who looks: `xdp`, `rte_flow` or `software`. */
  readonly by: string;
  readonly kind: 'our-flow' | 'kernel-flow' | 'local' | 'port-block' | 'icmp-error';
  readonly family: 'ipv4' | 'ipv6' | 'both';
  /** 6 TCP, 17 UDP, 1 ICMP, 58 ICMPv6. */
  readonly protocol: number;
  /** Left out: any address of the interface. */
  readonly address?: string;
  readonly port?: number;
  /** 0xffff: that port; 0xffc0: the 64 from it on. */
  readonly portMask?: number;
  readonly remoteAddress?: string;
  readonly remotePort?: number;
  readonly icmpType?: number;
  /** Empty: by whatever queue, or the kernel's. */
  readonly queues: readonly number[];
  readonly rss: boolean;
  /** Rules of the device's that stand for this one. */
  readonly deviceRules: number;
  readonly packets?: number;
  readonly bytes?: number;
  readonly words: string;
}

/** What steers one interface of one stack. */
export interface SteeredInterface {
  readonly interface: string;
  /** Packets by decision, since the start; with XDP of all programs that share the interface. */
  readonly kinds: Readonly<Record<string, number>>;
  readonly rules: readonly FlowRule[];
  /** There are more rules than are listed. */
  readonly more: boolean;
  readonly refused: readonly { readonly rule: string; readonly times: number }[];
}

/** One stack: a program has one, and one more for each worker thread. */
export interface SteeredProgram {
  readonly pid: number;
  readonly stack: number;
  readonly command: string;
  readonly ports: readonly { readonly name: string; readonly mode: string }[];
  readonly interfaces: readonly SteeredInterface[];
  /** Why nothing is known of it. */
  readonly problem?: string;
}

const PATIENCE_MS = 2000;
const DESK = /@(millrace\/flows\/(\d+)\/(\d+))$/;

/** Prints the rules. @returns 0; 1 when a program does not answer, or one that was named is not there */
export function flowsCommand(
  args: readonly string[],
  print: (text: string) => void,
  ask: Binding['ask'] = (desk, patienceMs) => {
    const { loadBinding } = require('../binding') as typeof import('../binding');
    return loadBinding().ask(desk, patienceMs);
  },
  sockets: () => string = () => readFileSync('/proc/net/unix', 'utf8'),
): number {
  const named = args.filter((arg) => arg !== '--json');
  const wrong = named.find((arg) => !/^[1-9]\d*$/.test(arg));
  if (wrong !== undefined) throw new UsageError(`flows takes --json and process ids, and there is '${wrong}'`);
  const pids = named.map(Number);
  const programs = desksOf(sockets())
    .filter(({ pid }) => pids.length === 0 || pids.includes(pid))
    .map(({ desk, pid, stack }) => programOf(pid, stack, ask(desk, PATIENCE_MS)))
    .filter((program): program is SteeredProgram => program !== null);
  const missing = pids.filter((pid) => !programs.some((program) => program.pid === pid));
  if (args.includes('--json')) print(`${JSON.stringify({ programs }, null, 2)}\n`);
  else print(asText(programs, missing));
  return missing.length > 0 || programs.some(({ problem }) => problem !== undefined) ? 1 : 0;
}

/** The desks that /proc/net/unix lists: of this network namespace. */
export function desksOf(sockets: string): { desk: string; pid: number; stack: number }[] {
  return sockets
    .split('\n')
    .flatMap((line) => {
      const [, desk, pid, stack] = DESK.exec(line) ?? [];
      return desk === undefined ? [] : [{ desk, pid: Number(pid), stack: Number(stack) }];
    })
    .sort((a, b) => a.pid - b.pid || a.stack - b.stack);
}

/** null: the program has gone meanwhile. */
function programOf(pid: number, stack: number, answer: string | number): SteeredProgram | null {
  const program = { pid, stack, command: commandOf(pid), ports: [], interfaces: [] };
  if (typeof answer === 'number') {
    const code = getSystemErrorName(answer);
    if (code === 'ECONNREFUSED') return null;
    if (code === 'ETIMEDOUT') {
      return { ...program, problem: "it does not answer: another user's, or its event loop has been busy" };
    }
    return { ...program, problem: `it cannot be asked: ${code}` };
  }
  const parsed = parse(answer);
  if (parsed === null) return { ...program, problem: 'its answer makes no sense: another version of millrace?' };
  return { ...program, ...parsed };
}

/** null: not what a stack of this version says. */
function parse(answer: string): Pick<SteeredProgram, 'ports' | 'interfaces'> | null {
  let parsed: Partial<SteeredProgram> | null;
  try {
    parsed = JSON.parse(answer) as Partial<SteeredProgram> | null;
  } catch {
    return null;
  }
  const { ports, interfaces } = parsed ?? {};
  if (!Array.isArray(ports) || !Array.isArray(interfaces)) return null;
  const whole = (interfaces as Partial<SteeredInterface>[]).every(
    ({ kinds, rules, refused }) => typeof kinds === 'object' && Array.isArray(rules) && Array.isArray(refused),
  );
  return whole ? { ports, interfaces } : null;
}

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').filter(Boolean).join(' ');
  } catch {
    return '';
  }
}

/** The rules for a person. */
export function asText(programs: readonly SteeredProgram[], missing: readonly number[] = []): string {
  const lines = programs.flatMap(programLines);
  for (const pid of missing) lines.push(`process ${pid}: has no steering rules in this network namespace`);
  if (lines.length === 0) {
    lines.push(
      'no program steers packets in this network namespace (of another one: ip netns exec NAME npx millrace flows)',
    );
  }
  return `${lines.map(printable).join('\n')}\n`;
}

/** What a device or another program said must not move the cursor. */
function printable(line: string): string {
  return line.replaceAll(/\p{Cc}/gu, '?');
}

function programLines(program: SteeredProgram): string[] {
  const command = program.command.length > 60 ? `${program.command.slice(0, 60)}...` : program.command;
  const head = `process ${program.pid}, stack ${program.stack}: ${command}`;
  if (program.problem !== undefined) return [head, `  ${program.problem}`];
  const ports = program.ports.map((port) => `  port ${port.name}: ${port.mode}`);
  return [head, ...ports, ...program.interfaces.flatMap(interfaceLines)];
}

const OURS = { ours_flow: 'flows', ours_local: 'local ports', ours_block: 'port blocks', ours_icmp: 'ICMP errors' };
const KERNELS = {
  kernel_flow: 'its flows',
  kernel_fragment: 'fragments',
  kernel_malformed: 'malformed',
  kernel_other: 'no rule',
};

function interfaceLines(one: SteeredInterface): string[] {
  const counts = (names: Readonly<Record<string, string>>): string =>
    Object.entries(names)
      .map(([name, words]) => `${words} ${one.kinds[name] ?? 0}`)
      .join(', ');
  const rows = one.rules.map((rule) => [KINDS[rule.kind] ?? rule.kind, rule.by, hitsOf(rule), wordsOf(rule)]);
  const shared = one.rules.some(({ by }) => by === 'xdp')
    ? ' (of all programs on the interface; XDP counts by kind)'
    : '';
  return [
    `  interface ${one.interface}`,
    `    packets for us${shared}: ${counts(OURS)}; undeliverable ${one.kinds['undeliverable'] ?? 0}`,
    `    packets for the kernel: ${counts(KERNELS)}`,
    ...table(rows).map((line) => `    ${line}`),
    ...(one.more ? ['    and more'] : []),
    ...one.refused.map(({ rule, times }) => `    refused${times > 1 ? ` ${times} times` : ''}: ${rule}`),
  ];
}

const KINDS: Readonly<Record<string, string>> = {
  'our-flow': 'flow',
  'kernel-flow': "kernel's flow",
  local: 'local port',
  'port-block': 'port block',
  'icmp-error': 'ICMP error',
};

function hitsOf(rule: FlowRule): string {
  return rule.packets === undefined ? 'by kind' : `${rule.packets} packets, ${rule.bytes ?? 0} bytes`;
}

function wordsOf(rule: FlowRule): string {
  return rule.deviceRules > 1 ? `${rule.words} (${rule.deviceRules} rules of the device)` : rule.words;
}

/** Columns as wide as their widest cell. */
function table(rows: readonly (readonly string[])[]): string[] {
  const widths = [0, 1, 2].map((column) => Math.max(0, ...rows.map((row) => row[column]?.length ?? 0)));
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}
