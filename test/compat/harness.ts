/**
 * Installs the facade for the tests of this folder, which import it before anything else: over the toy engine, or, when a
 * file of loopback/ asks for it, over the real one with its in-process port. Counts what goes through either.
 */
import { install } from '../../compat/install';
import { acquireEngine } from '../../lib/index';
import type { DatagramSocket, Engine } from '../../lib/engine';
import { ToyEngine, type ToyOptions } from './toy-engine';

/** Set by the files in loopback/. */
export const REAL = process.env['TEST_ENGINE'] === 'real';

export interface Harness {
  /** Connections and datagrams that the engine took. */
  connections: number;
  datagrams: number;
  /** What must be back at 0 in the end. */
  holds: number;
  contexts: number;
  /** Whether sockets are offered to the engine. */
  wanted: boolean;
  /** null over the real engine. */
  readonly toy: ToyEngine | null;
}

export function installEngine(options: ToyOptions = {}): Harness {
  const toy = REAL ? null : new ToyEngine(options);
  const harness: Harness = { connections: 0, datagrams: 0, holds: 0, contexts: 0, wanted: true, toy };
  let engine: Engine | null = null;
  const acquire = () => {
    if (engine === null) {
      engine = toy ?? acquireEngine();
      if (engine === null) throw new Error('there is no engine');
      count(engine, harness);
    }
    return engine;
  };
  install({ acquire, wants: () => harness.wanted, mayWant: () => harness.wanted, leave: () => {}, sharesPorts: false });
  return harness;
}

/** Puts counters around the methods of the engine. */
function count(engine: Engine, harness: Harness): void {
  const inner = {
    connect: engine.connect.bind(engine),
    bind: engine.bind.bind(engine),
    createContext: engine.createContext.bind(engine),
    freeContext: engine.freeContext.bind(engine),
    hold: engine.hold.bind(engine),
  };
  engine.connect = (...args) => {
    const connection = inner.connect(...args);
    if (connection !== null) harness.connections++;
    return connection;
  };
  engine.bind = (...args) => {
    const socket = inner.bind(...args);
    if (typeof socket === 'object' && socket !== null) countDatagrams(socket, harness);
    return socket;
  };
  engine.createContext = (resource, type) => {
    harness.contexts++;
    return inner.createContext(resource, type);
  };
  engine.freeContext = (context) => {
    harness.contexts--;
    inner.freeContext(context);
  };
  engine.hold = (on) => {
    harness.holds += on ? 1 : -1;
    inner.hold(on);
  };
}

function countDatagrams(socket: DatagramSocket, harness: Harness): void {
  const send = socket.send.bind(socket);
  const sendConnected = socket.sendConnected.bind(socket);
  socket.send = (...args) => {
    const sent = send(...args);
    if (sent >= 0) harness.datagrams++;
    return sent;
  };
  socket.sendConnected = (...args) => {
    // An engine may do the one by the other.
    const before = harness.datagrams;
    const sent = sendConnected(...args);
    if (sent >= 0) harness.datagrams = before + 1;
    return sent;
  };
}
