/**
 * What the facade is given: a cheap question of policy, asked for every socket, and the engine, asked for only when the
 * answer was yes.
 */
import type { Engine } from '../lib/engine';

export interface Gate {
  /**
   * Might this socket be accelerated? Cheap, starts nothing. For listen and bind the address is the local one, for
   * connect the remote one.
   */
  wants(protocol: 'tcp' | 'udp', operation: 'listen' | 'connect' | 'bind', address: string, port: number): boolean;
  /** Could {@link Gate.wants} say yes for some address and port? */
  mayWant(protocol: 'tcp' | 'udp', operation: 'listen' | 'connect' | 'bind'): boolean;
  /** A socket that was wanted is the kernel's all the same: `why`, for people who ask. */
  leave(protocol: 'tcp' | 'udp', operation: 'listen' | 'bind', address: string, port: number, why: string): void;
  /**
   * Can this process listen through the engine on a port that other processes have too? Not where the engine reaches
   * nothing but this process. (Where it could reach further and may not, {@link Gate.acquire} says why.)
   */
  readonly sharesPorts: boolean;
  /** The running engine; null when there is none, which whoever knows the reason has said once. */
  acquire(): Engine | null;
}
