/**
 * Addresses between Node's text and the stack's four words (16 bytes as they lie in memory, IPv4 as IPv4-mapped IPv6).
 * Both directions are cached: a program talks to few addresses, and text is made once for each.
 */
import { HEADER } from './rings';

const CACHE_MAX = 4096;
const MAPPED_MARKER = 0xffff0000; // bytes 00 00 ff ff read as a little-endian word

/** An address as the stack has it. */
export interface AddressWords {
  readonly w0: number;
  readonly w1: number;
  readonly w2: number;
  readonly w3: number;
  readonly family: 'IPv4' | 'IPv6';
}

const parsed = new Map<string, AddressWords>();
const formatted4 = new Map<number, string>();
const formatted6 = new Map<string, string>();

function remember<K, V>(cache: Map<K, V>, key: K, value: V): V {
  if (cache.size >= CACHE_MAX) cache.clear();
  cache.set(key, value);
  return value;
}

function parseIPv4(text: string): number {
  const parts = text.split('.');
  let word = 0;
  for (let i = 3; i >= 0; i--) word = (word << 8) | (Number(parts[i]) & 0xff);
  return word >>> 0;
}

function parseIPv6(text: string): AddressWords {
  const bytes = new Uint8Array(16);
  let body = text.split('%', 1)[0] as string;
  const lastColon = body.lastIndexOf(':');
  if (body.includes('.')) {
    // The last 32 bits in dotted form.
    const tail = parseIPv4(body.slice(lastColon + 1));
    const high = (((tail & 0xff) << 8) | ((tail >>> 8) & 0xff)).toString(16);
    const low = ((((tail >>> 16) & 0xff) << 8) | (tail >>> 24)).toString(16);
    body = `${body.slice(0, lastColon + 1)}${high}:${low}`;
  }
  const [left = '', right] = body.split('::');
  const groups = (part: string): string[] => (part === '' ? [] : part.split(':'));
  const head = groups(left);
  const tail = right === undefined ? [] : groups(right);
  const put = (group: string, index: number): void => {
    const value = Number.parseInt(group, 16);
    bytes[index * 2] = value >> 8;
    bytes[index * 2 + 1] = value & 0xff;
  };
  head.forEach(put);
  tail.forEach((group, i) => {
    put(group, 8 - tail.length + i);
  });
  const words = new Uint32Array(bytes.buffer);
  return {
    w0: words[0] as number,
    w1: words[1] as number,
    w2: words[2] as number,
    w3: words[3] as number,
    family: 'IPv6',
  };
}

/** Parses a valid IPv4 or IPv6 address (as net.isIP accepts it; a zone is ignored). */
export function parseAddress(text: string): AddressWords {
  const known = parsed.get(text);
  if (known !== undefined) return known;
  const words = text.includes(':')
    ? parseIPv6(text)
    : ({ w0: 0, w1: 0, w2: MAPPED_MARKER, w3: parseIPv4(text), family: 'IPv4' } as const);
  return remember(parsed, text, words);
}

export function isMapped(words: Uint32Array, at: number): boolean {
  return words[at] === 0 && words[at + 1] === 0 && words[at + 2] === MAPPED_MARKER;
}

function formatIPv4(word: number): string {
  return `${word & 0xff}.${(word >>> 8) & 0xff}.${(word >>> 16) & 0xff}.${word >>> 24}`;
}

// RFC 5952: lower case, the longest run of two or more zero groups becomes "::".
function formatIPv6(words: Uint32Array, at: number): string {
  const groups: number[] = [];
  for (let i = 0; i < 4; i++) {
    const w = words[at + i] as number;
    groups.push(((w & 0xff) << 8) | ((w >>> 8) & 0xff), (((w >>> 16) & 0xff) << 8) | (w >>> 24));
  }
  let best = -1;
  let length = 1;
  for (let i = 0; i < 8; i++) {
    let n = 0;
    while (i + n < 8 && groups[i + n] === 0) n++;
    if (n > length) {
      best = i;
      length = n;
    }
  }
  const hex = (part: number[]): string => part.map((g) => g.toString(16)).join(':');
  if (best < 0) return hex(groups);
  return `${hex(groups.slice(0, best))}::${hex(groups.slice(best + length))}`;
}

/** The text of the address at `words[at]`; IPv4-mapped addresses as IPv4 unless `mapped` asks for ::ffff:a.b.c.d. */
export function formatAddress(words: Uint32Array, at: number, mapped = false): string {
  if (isMapped(words, at)) {
    const word = words[at + 3] as number;
    const text = formatted4.get(word) ?? remember(formatted4, word, formatIPv4(word));
    return mapped ? `::ffff:${text}` : text;
  }
  const key = `${words[at]},${words[at + 1]},${words[at + 2]},${words[at + 3]}`;
  return formatted6.get(key) ?? remember(formatted6, key, formatIPv6(words, at));
}

export function putAddress(words: Uint32Array, at: number, address: AddressWords): void {
  words[at] = address.w0;
  words[at + 1] = address.w1;
  words[at + 2] = address.w2;
  words[at + 3] = address.w3;
}

export function putRemote(words: Uint32Array, text: string): void {
  putAddress(words, HEADER.remoteAddress, parseAddress(text));
}

export function putLocal(words: Uint32Array, text: string): void {
  putAddress(words, HEADER.localAddress, parseAddress(text));
}
