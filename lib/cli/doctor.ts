/** `millrace doctor`: what this machine and user can do, and the command that mends each gap. */
import { loadOptions } from '../config';
import { CAPABILITIES, type InterfaceFacts, type MachineFacts, readMachine } from '../machine';
import { type PortReadiness, readiness } from '../readiness';
import { environmentFor, parseFlags } from './flags';
import { UsageError } from './usage';

/** Prints the findings. @returns 0 when the port that was asked for is usable, or any port when none was; else 1 */
export function doctorCommand(args: readonly string[], print: (text: string) => void): number {
  const { variables, own, rest } = parseFlags(args, ['--json']);
  if (rest.length > 0) throw new UsageError(`doctor takes no argument, and there is '${rest[0]}'`);
  const options = loadOptions({ env: environmentFor(variables, process.env) });
  const machine = readMachine();
  const ports = readiness(machine, options.interface);
  if (own.has('--json'))
    print(`${JSON.stringify({ machine: jsonable(machine), named: options.interface, ports }, null, 2)}\n`);
  else print(asText(machine, ports));
  const asked = ports.filter((port) => options.port === 'none' || port.port === options.port);
  return asked.some((port) => port.usable) ? 0 : 1;
}

/** JSON has no Infinity: an unlimited memlock is null there. */
function jsonable(machine: MachineFacts): object {
  return { ...machine, memlockBytes: Number.isFinite(machine.memlockBytes) ? machine.memlockBytes : null };
}

/** The findings for a person. */
export function asText(machine: MachineFacts, ports: readonly PortReadiness[]): string {
  const lines = [
    `system        ${machine.platform} ${machine.kernel} ${machine.arch}, Node ${machine.node}`,
    `addon         ${describeAddon(machine)}`,
    `capabilities  ${Object.keys(CAPABILITIES)
      .map((name) => `${name} ${machine.capabilities.includes(name) ? 'yes' : 'no'}`)
      .join(', ')}`,
    `memory lock   ${Number.isFinite(machine.memlockBytes) ? `${machine.memlockBytes} bytes` : 'unlimited'}`,
    `bpf           ${describeBpf(machine)}`,
    `huge pages    ${machine.hugePages.free} free of ${machine.hugePages.total}, ${machine.hugePages.sizeKib} KiB each (not needed)`,
    'interfaces',
    ...machine.interfaces.map((one) => `  ${describeInterface(one)}`),
    'ports',
    ...ports.flatMap(describePort),
  ];
  return `${lines.join('\n')}\n`;
}

function describeAddon(machine: MachineFacts): string {
  const { file, origin, problem } = machine.addon;
  const where = file === null ? 'neither compiled nor prebuilt for this platform' : `${origin}, ${file}`;
  return problem === null ? `${where}, loads` : `${where}, does not load: ${problem}`;
}

function describeBpf(machine: MachineFacts): string {
  const allowed = machine.capabilities.includes('CAP_BPF') || machine.capabilities.includes('CAP_SYS_ADMIN');
  if (!allowed) return 'not allowed: neither CAP_BPF nor CAP_SYS_ADMIN';
  return machine.seccomp ? 'allowed by capability, but a seccomp filter is active' : 'allowed';
}

function describeInterface(one: InterfaceFacts): string {
  const xdp = one.xdpProgram === null ? '' : `, XDP program ${one.xdpProgram} attached`;
  const checksum =
    one.txChecksumOffload === null ? '' : `, tx checksum offload ${one.txChecksumOffload ? 'on' : 'off'}`;
  const queues = `${one.rxQueues} receive and ${one.txQueues} transmit queues`;
  return `${one.name}: ${one.driver || 'no driver'}, ${one.up ? 'up' : 'down'}, MTU ${one.mtuBytes}, ${queues}${checksum}${xdp}`;
}

function describePort(port: PortReadiness): string[] {
  const head = `  ${port.port}: ${port.usable ? `usable: ${port.why}` : 'not usable'}`;
  const lines = port.gaps.flatMap((gap, index) => {
    const what = `    ${gap.level}: ${gap.what}`;
    // One command often mends several gaps: it is said behind the last of them.
    return port.gaps[index + 1]?.mend === gap.mend ? [what] : [what, `      mend: ${gap.mend}`];
  });
  return [head, ...lines];
}
