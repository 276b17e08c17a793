/**
 * Where options come from, in rising precedence: defaults, millrace.config.json, MILLRACE_* variables (which is how
 * `millrace run` passes its flags on), and the arguments of the programmatic interface.
 */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { OptionError, UnknownOptionError } from './errors';
import { type Kind, ValueError } from './option-kinds';
import {
  CONFIG_FILE,
  CONFIG_VARIABLE,
  OPTION_NAMES,
  type OptionName,
  type Options,
  REGISTRY,
  variableOf,
} from './options';
import { PACKET_MEMORY_BYTES_MAX, packetMemoryOf } from './packet-memory';

export interface Sources {
  /** Default: process.env. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Where millrace.config.json is looked for. Default: the working directory. */
  readonly directory?: string;
  /** Values of the programmatic interface, as in millrace.config.json. */
  readonly overrides?: Readonly<Record<string, unknown>>;
}

/** Which source a value came from. */
export type Origin = 'default' | 'file' | 'variable' | 'argument';

const PRECEDENCE: readonly Origin[] = ['default', 'file', 'variable', 'argument'];

export interface Loaded {
  readonly options: Options;
  readonly origins: Readonly<Record<OptionName, Origin>>;
  /** The configuration file that was read, or null. */
  readonly file: string | null;
}

/**
 * Reads and checks all options.
 * @throws OptionError for a value that is not allowed, UnknownOptionError for a name that does not exist
 */
export function loadOptions(sources: Sources = {}): Options {
  return loadWithOrigins(sources).options;
}

/** The same, with the source of each value. */
export function loadWithOrigins(sources: Sources = {}): Loaded {
  const env = sources.env ?? process.env;
  const collector = new Collector();
  const file = findFile(env, sources.directory ?? workingDirectory());
  if (file !== null) collector.takeObject(parseFile(file.text, file.label), 'file', (key) => `${key} in ${file.label}`);
  collector.takeVariables(env);
  if (sources.overrides !== undefined) collector.takeObject(sources.overrides, 'argument', (key) => `option ${key}`);
  const options = collector.finish();
  return { options, origins: collector.origins(), file: file === null ? null : file.path };
}

interface Given {
  readonly label: string;
  readonly origin: Origin;
  readonly given: unknown;
  readonly value: unknown;
}

/** Variables of our name that say where options or the addon (node-gyp-build's) are. */
const NO_OPTIONS: ReadonlySet<string> = new Set([CONFIG_VARIABLE, 'MILLRACE_PREBUILD']);

class Collector {
  readonly #given = new Map<OptionName, Given>();

  takeObject(values: Readonly<Record<string, unknown>>, origin: Origin, label: (key: string) => string): void {
    for (const [key, value] of Object.entries(values)) {
      if (value === undefined) continue;
      if (!isOptionName(key)) throw new UnknownOptionError(label(key), origin, nearest(key, OPTION_NAMES));
      this.#take(key, value, origin, label(key));
    }
  }

  takeVariables(env: Readonly<Record<string, string | undefined>>): void {
    for (const [variable, value] of Object.entries(env)) {
      if (!/^MILLRACE(_|$)/.test(variable) || NO_OPTIONS.has(variable)) continue;
      const name = VARIABLES.get(variable);
      if (name === undefined) {
        throw new UnknownOptionError(variable, 'variable', nearest(variable, [...VARIABLES.keys(), CONFIG_VARIABLE]));
      }
      // An empty variable is one that is not set: the way to undo an inherited one.
      if (value !== undefined && value !== '') this.#take(name, value, 'variable', variable);
    }
  }

  #take(name: OptionName, given: unknown, origin: Origin, label: string): void {
    const kind = REGISTRY[name].kind as Kind<unknown>;
    this.#given.set(name, { label, origin, given, value: readValue(kind, given, label) });
  }

  /** All options, after the rules that bind several of them. */
  finish(): Options {
    const values: Record<string, unknown> = {};
    for (const name of OPTION_NAMES) values[name] = this.#given.get(name)?.value ?? REGISTRY[name].default;
    const options = values as unknown as Options;
    const joined = { ...options, ...this.#portAndInterfaces(options) };
    this.#checkPacketMemory(joined);
    return joined;
  }

  #checkPacketMemory(options: Options): void {
    const { frames, frameBytes } = packetMemoryOf(options);
    const given = this.#given.get('frames') ?? this.#given.get('frameBytes');
    if (given === undefined || frames * frameBytes <= PACKET_MEMORY_BYTES_MAX) return;
    const other = variableOf(given === this.#given.get('frames') ? 'frameBytes' : 'frames');
    const problem = `${frames} frames of ${frameBytes} bytes are too much memory`;
    throw new OptionError(given.label, given.given, `4 GiB together with ${other}`, problem);
  }

  /** Naming an interface implies af_xdp; of two that disagree the one from the stronger source wins. */
  #portAndInterfaces(options: Options): Pick<Options, 'port' | 'interface'> {
    const port = this.#given.get('port');
    const named = this.#given.get('interface');
    if (port !== undefined && options.port === 'dpdk') {
      if (options.dpdkArgs !== '') return options;
      const allowed = `dpdk together with ${variableOf('dpdkArgs')}, which names its device`;
      throw new OptionError(port.label, port.given, allowed, 'no device is named');
    }
    if (options.interface.length === 0) {
      if (port === undefined || options.port !== 'af_xdp') return options;
      const allowed = `af_xdp together with ${variableOf('interface')}, which names its interfaces`;
      throw new OptionError(port.label, port.given, allowed, 'no interface is named');
    }
    if (port === undefined || named === undefined || options.port === 'af_xdp') return { ...options, port: 'af_xdp' };
    const stronger = PRECEDENCE.indexOf(named.origin) - PRECEDENCE.indexOf(port.origin);
    if (stronger > 0) return { ...options, port: 'af_xdp' };
    if (stronger < 0 || options.port === 'none') return { port: options.port, interface: [] };
    throw new OptionError(named.label, named.given, 'no interface, or port af_xdp', `port ${options.port} has none`);
  }

  origins(): Record<OptionName, Origin> {
    const entries = OPTION_NAMES.map((name) => [name, this.#given.get(name)?.origin ?? 'default']);
    return Object.fromEntries(entries) as Record<OptionName, Origin>;
  }
}

const VARIABLES: ReadonlyMap<string, OptionName> = new Map(OPTION_NAMES.map((name) => [variableOf(name), name]));

export function isOptionName(text: string): text is OptionName {
  return Object.hasOwn(REGISTRY, text);
}

/** Reads one value. @throws OptionError that names `label` */
export function readValue<T>(kind: Kind<T>, given: unknown, label: string): T {
  try {
    return kind.read(given);
  } catch (error) {
    if (error instanceof ValueError) throw new OptionError(label, given, error.allowed ?? kind.allowed, error.message);
    throw error;
  }
}

interface FoundFile {
  readonly path: string;
  readonly label: string;
  readonly text: string;
}

/** null: it has been removed, and programs run without one. */
function workingDirectory(): string | null {
  try {
    return process.cwd();
  } catch {
    return null;
  }
}

/** What says that there is no such file, or that nobody lets us look (--permission). */
const NOT_THERE = new Set(['ENOENT', 'ENOTDIR', 'ERR_ACCESS_DENIED']);

function findFile(env: Readonly<Record<string, string | undefined>>, directory: string | null): FoundFile | null {
  const named = env[CONFIG_VARIABLE];
  const wanted = named !== undefined && named !== '';
  if (!wanted && directory === null) return null;
  const path = resolve(directory ?? '/', wanted ? named : CONFIG_FILE);
  try {
    return { path, label: wanted ? named : CONFIG_FILE, text: readFileSync(path, 'utf8') };
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown error';
    if (!wanted && NOT_THERE.has(code)) return null;
    const label = wanted ? CONFIG_VARIABLE : CONFIG_FILE;
    throw new OptionError(label, wanted ? named : path, 'a readable JSON file', `cannot be read (${code})`);
  }
}

function parseFile(text: string, label: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new OptionError(label, text.slice(0, 40), 'a JSON object', (error as Error).message);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new OptionError(label, value, 'a JSON object of options');
  }
  return value as Record<string, unknown>;
}

/** The known name that is nearest to `name`, if one is near enough to be a likely slip. */
export function nearest(name: string, known: readonly string[]): string | undefined {
  let best: string | undefined;
  let bestDistance = Math.max(2, Math.floor(name.length / 3)) + 1;
  for (const candidate of known) {
    const distance = editDistance(name.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best;
}

/** Levenshtein's distance. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(change, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row[b.length]!;
}
