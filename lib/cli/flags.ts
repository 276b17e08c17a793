/** Flags of the command line: every option of the registry, as variables for the program that is started. */
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { isOptionName, nearest, readValue } from '../config';
import { OptionError, UnknownOptionError } from '../errors';
import { isSwitchValue, type Kind } from '../option-kinds';
import { CONFIG_VARIABLE, flagOf, OPTION_NAMES, type OptionName, REGISTRY, variableOf } from '../options';

export interface ParsedFlags {
  /** Variables that the flags stand for. */
  readonly variables: Readonly<Record<string, string>>;
  /** Flags of the command itself (`--json`). */
  readonly own: ReadonlySet<string>;
  /** What follows: the command to run. */
  readonly rest: readonly string[];
}

const FLAGS: ReadonlyMap<string, OptionName> = new Map(OPTION_NAMES.map((name) => [flagOf(name), name]));

/**
 * Parses flags up to the first word that is none, or `--`.
 * @param own flags without a value that belong to the command itself, with their dashes
 * @throws OptionError, UnknownOptionError
 */
export function parseFlags(args: readonly string[], own: readonly string[] = []): ParsedFlags {
  const { flags, rest } = split(args, own);
  const known = [...FLAGS.keys(), '--config'].map(
    (flag) => [flag.slice(2), { type: 'string', multiple: true }] as const,
  );
  const { values } = parseArgs({
    args: flags.filter((flag) => !own.includes(flag)),
    options: Object.fromEntries(known),
  });
  const variables: Record<string, string> = {};
  for (const [flag, name] of FLAGS) {
    const given = values[flag.slice(2)] as string[] | undefined;
    if (given === undefined) continue;
    const kind = REGISTRY[name].kind as Kind<unknown>;
    // Lists grow when their flag is repeated; of anything else the last one counts.
    const text = kind.type === 'list' || kind.type === 'rules' ? given.join(',') : (given.at(-1) ?? '');
    readValue(kind, text, flag);
    variables[variableOf(name)] = text;
  }
  const config = (values['config'] as string[] | undefined)?.at(-1);
  if (config !== undefined) variables[CONFIG_VARIABLE] = resolve(config);
  return { variables, own: new Set(flags.filter((flag) => own.includes(flag))), rest };
}

/** Cuts flags from the command behind them and gives switches without a value theirs. */
function split(args: readonly string[], own: readonly string[]): { flags: string[]; rest: string[] } {
  const flags: string[] = [];
  for (let at = 0; at < args.length; at++) {
    const word = args[at] ?? '';
    if (word === '--') return { flags, rest: args.slice(at + 1) };
    if (!word.startsWith('-')) return { flags, rest: args.slice(at) };
    const [flag = '', value] = word.split(/=(.*)/s, 2);
    if (own.includes(word)) {
      flags.push(word);
      continue;
    }
    const negated = flag.startsWith('--no-') ? FLAGS.get(`--${flag.slice(5)}`) : undefined;
    const name = negated ?? FLAGS.get(flag);
    if (name === undefined && flag !== '--config') {
      throw new UnknownOptionError(flag, 'flag', nearest(flag, [...FLAGS.keys(), '--config', ...own]));
    }
    const bare = name !== undefined && REGISTRY[name].kind.bare;
    if (negated !== undefined && (!bare || value !== undefined))
      throw new OptionError(flag, value ?? '', `${flagOf(negated)}=<value>`);
    const next = args[at + 1];
    if (bare) {
      // A switch may stand alone; a word behind it that reads like its value is one.
      const follows = negated === undefined && value === undefined && next !== undefined && isSwitchValue(next);
      if (follows) at++;
      flags.push(`${flagOf(name)}=${negated !== undefined ? 'off' : (value ?? (follows ? next : 'on'))}`);
    } else if (value !== undefined) {
      flags.push(word);
    } else if (next === undefined || next === '--' || isFlag(next, own)) {
      throw new OptionError(flag, next, allowedOf(name), 'has no value');
    } else {
      flags.push(`${flag}=${next}`);
      at++;
    }
  }
  return { flags, rest: [] };
}

/** Arguments of DPDK begin with dashes, too: only what is a flag here is no value. */
function isFlag(word: string, own: readonly string[]): boolean {
  const [flag = ''] = word.split('=', 1);
  return FLAGS.has(flag.replace(/^--no-/, '--')) || flag === '--config' || own.includes(flag);
}

function allowedOf(name: OptionName | undefined): string {
  return name === undefined || !isOptionName(name) ? 'the name of a file' : REGISTRY[name].kind.allowed;
}

/** The environment of a program under these flags: a flag that names a port or interfaces silences the other's variable. */
export function environmentFor(variables: Readonly<Record<string, string>>, env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const result: NodeJS.ProcessEnv = { ...env, ...variables };
  const port = variables[variableOf('port')];
  const named = variables[variableOf('interface')];
  const takesInterfaces = port === 'af_xdp' || port === 'dpdk';
  if (port !== undefined && !takesInterfaces && named === undefined) delete result[variableOf('interface')];
  if (named !== undefined && named !== '' && port === undefined && result[variableOf('port')] !== 'dpdk') {
    result[variableOf('port')] = 'af_xdp';
  }
  return result;
}
