/** What happens to the engine of this environment, for programs that want to know. */
import { EventEmitter } from 'eventemitter3';
import type { PortReport } from './binding';

export interface LifecycleEvents {
  /** The stack is open on these ports. */
  open: [ports: PortReport[]];
  /** Nothing is accelerated, for this reason. */
  fallback: [reason: string];
}

export const lifecycle: EventEmitter<LifecycleEvents> = new EventEmitter<LifecycleEvents>();
