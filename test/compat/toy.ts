/** Installs the facade over a toy engine; the tests of this folder import it before anything else. */
import { install } from '../../compat/install';
import { ToyEngine, type ToyOptions } from './toy-engine';

export interface Toy {
  readonly engine: ToyEngine;
  /** Whether sockets are offered to the engine. */
  wanted: boolean;
}

export function installToy(options: ToyOptions = {}): Toy {
  const toy = { engine: new ToyEngine(options), wanted: true };
  install({ acquire: () => toy.engine, wants: () => toy.wanted });
  return toy;
}
