/**
 * The kinds of value an option can have. A kind reads what a person wrote, as text (variables, flags) or as a JSON
 * value (millrace.config.json), and says in words what it accepts.
 */

import { parseAddress, parsePrefix } from './policy-address';

/** Thrown by {@link Kind.read}; loading turns it into an OptionError that names the option and its source. */
export class ValueError extends Error {
  /** What would have been accepted, when it is narrower than {@link Kind.allowed}. */
  readonly allowed: string | undefined;

  constructor(problem: string, allowed?: string) {
    super(problem);
    this.allowed = allowed;
  }
}

export interface Kind<T> {
  /** One word for tables: switch, integer, choice, list, text, file. */
  readonly type: string;
  /** What is accepted, in words. */
  readonly allowed: string;
  /** True when a flag without a value means "on". */
  readonly bare: boolean;
  /** @throws ValueError */
  read(value: unknown): T;
  /** The value as a variable would carry it: read(format(x)) is x. */
  format(value: T): string;
}

const ON = new Set(['on', '1', 'true', 'yes']);
const OFF = new Set(['off', '0', 'false', 'no']);

/** One of the spellings of on and off. */
export function isSwitchValue(word: string): boolean {
  const text = word.toLowerCase();
  return ON.has(text) || OFF.has(text);
}

/** on or off, in the usual spellings. */
export function toggle(): Kind<boolean> {
  return {
    type: 'switch',
    allowed: 'on or off (also 1/0, true/false, yes/no)',
    bare: true,
    read(value) {
      if (typeof value === 'boolean') return value;
      const text = String(value).trim().toLowerCase();
      if (ON.has(text)) return true;
      if (OFF.has(text)) return false;
      throw new ValueError('neither on nor off');
    },
    format: (value) => (value ? 'on' : 'off'),
  };
}

export function choice<const T extends string>(values: readonly T[]): Kind<T> {
  return {
    type: 'choice',
    allowed: values.join(', '),
    bare: false,
    read(value) {
      const text = typeof value === 'string' ? value.trim().toLowerCase() : value;
      const found = values.find((known) => known === text);
      if (found === undefined) throw new ValueError('not one of the values');
      return found;
    },
    format: (value) => value,
  };
}

export interface IntegerRange {
  readonly min: number;
  readonly max: number;
  readonly powerOfTwo?: boolean;
}

/** An integer within bounds, both included. */
export function integer(range: IntegerRange): Kind<number> {
  const what = range.powerOfTwo === true ? 'a power of two' : 'an integer';
  return {
    type: 'integer',
    allowed: `${what} from ${range.min} to ${range.max}`,
    bare: false,
    read: (value) => readInteger(value, range),
    format: String,
  };
}

/** An integer within bounds, or `auto`: the stack chooses. */
export function integerOrAuto(range: IntegerRange): Kind<number | 'auto'> {
  const plain = integer(range);
  return {
    type: 'integer',
    allowed: `auto or ${plain.allowed}`,
    bare: false,
    read: (value) => (isAuto(value) ? 'auto' : plain.read(value)),
    format: String,
  };
}

function isAuto(value: unknown): boolean {
  return typeof value === 'string' && value.trim().toLowerCase() === 'auto';
}

function readInteger(value: unknown, range: IntegerRange): number {
  const text = typeof value === 'number' ? String(value) : value;
  if (typeof text !== 'string' || !/^\s*[+-]?\d{1,15}\s*$/.test(text)) throw new ValueError('not an integer');
  const number = Number(text);
  if (number < range.min) throw new ValueError('too small');
  if (number > range.max) throw new ValueError('too large');
  if (range.powerOfTwo === true && !Number.isInteger(Math.log2(number))) throw new ValueError('no power of two');
  return number;
}

/** Free text that `check` may refuse. A JSON list of texts is the same text with spaces between. */
export function text(type: string, allowed: string, check: (value: string) => void = () => {}): Kind<string> {
  return {
    type,
    allowed,
    bare: false,
    read(value) {
      const parts = Array.isArray(value) ? value : [value];
      if (!parts.every((part) => typeof part === 'string')) throw new ValueError('not text');
      const joined = parts.join(' ').trim();
      check(joined);
      return joined;
    },
    format: (value) => value,
  };
}

/** The name of a file; empty means none. */
export function file(): Kind<string> {
  return text('file', 'the name of a file', (value) => {
    if (value.includes('\0')) throw new ValueError('holds a NUL');
  });
}

/** Items separated by commas, each of which `isItem`; kept as one text. */
export function items(type: string, allowed: string, isItem: (item: string) => boolean): Kind<string> {
  const plain = text(type, allowed);
  return {
    ...plain,
    read(value) {
      const parts = plain.read(Array.isArray(value) ? value.join(',') : value).split(/\s*,\s*/);
      const wrong = parts.find((part) => part !== '' && !isItem(part));
      if (wrong !== undefined) throw new ValueError(`'${wrong}' is not understood`);
      return parts.filter((part) => part !== '').join(',');
    },
  };
}

/** An address with its prefix length. */
export function isPrefix(item: string): boolean {
  const prefix = /^[^[\]]+\/\d+$/.test(item) ? parsePrefix(item) : undefined;
  return prefix !== undefined && prefix.length > 0;
}

/** An address with the link address of who has it. */
export function isNeighbor(item: string): boolean {
  const [address = '', link = '', ...rest] = item.split('=');
  const known = !address.includes('%') && parseAddress(address) !== null;
  return known && rest.length === 0 && /^[\da-f]{2}(?::[\da-f]{2}){5}$/i.test(link);
}

/** Names of network interfaces, separated by commas. */
export function interfaces(): Kind<readonly string[]> {
  return {
    type: 'list',
    allowed: 'names of network interfaces, separated by commas',
    bare: false,
    read(value) {
      const parts: unknown[] = Array.isArray(value) ? value : String(value).split(',');
      const names = parts.map((part) => (typeof part === 'string' ? part.trim() : '')).filter((name) => name !== '');
      if (Array.isArray(value) && names.length !== value.length) throw new ValueError('not all of them are names');
      for (const name of names) {
        if (Buffer.byteLength(name) > 15 || /[\s/:\0]/.test(name) || name === '.' || name === '..') {
          throw new ValueError(`'${name}' cannot be the name of an interface`);
        }
      }
      return [...new Set(names)];
    },
    format: (value) => value.join(','),
  };
}

const SHARE = '(?:0|1|0?\\.\\d+|1\\.0*|\\d{1,2}(?:\\.\\d+)?%|100%)';
/** One item of the fault wrapper's language (native/port/wrap/fault_config.h, which reads it for good). */
const FAULT = new RegExp(
  `^(?:(?:(?:rx|tx)\\.)?(?:(?:drop|dup|reorder|corrupt|delay|cut)=${SHARE}|cut` +
    '|(?:drop|dup|reorder|corrupt|delay|cut)_at=[1-9]\\d*|(?:reorder|delay|cut|jitter)_us=\\d{1,8})|seed=\\d+|off)$',
);

/** Faults for the fault wrapper: `drop=0.01,reorder=2%,tx.delay_us=500`. */
export function faults(): Kind<string> {
  const allowed =
    'items separated by commas: drop, dup, reorder, corrupt, delay, cut (a share of the frames: 0.01 or 1%), drop_at, dup_at, reorder_at, corrupt_at, delay_at, cut_at (the n-th frame, once), reorder_us, delay_us (1000; delay_us alone: every frame), cut_us (how long nothing passes; not given: to the end; cut alone: from the start), jitter_us, each with rx. or tx. before it for one direction; seed; off';
  return text('faults', allowed, (value) => {
    const items = value === '' ? [] : value.split(',');
    const wrong = items.find((item) => !FAULT.test(item));
    if (wrong !== undefined) throw new ValueError(`'${wrong}' is not understood`);
  });
}
