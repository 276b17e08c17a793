/** What MILLRACE_DEBUG tells, line by line: whose a socket is, and why. */
import type { Operation, Protocol } from './policy';

export type Verdict = 'ours' | 'ours, and the kernel listens beside' | 'ours, and the kernel receives beside' | Kernels;
type Kernels = `the kernel's: ${string}` | `fails: ${string}`;

const DOING = { listen: 'listen on', connect: 'connect to', bind: 'bind to' } as const;

/** For listen and bind the address is the local one, for connect the remote one. */
export function tell(protocol: Protocol, operation: Operation, address: string, port: number, verdict: Verdict): void {
  process.stderr.write(`millrace: ${protocol} ${DOING[operation]} ${address} port ${port}: ${verdict}\n`);
}
