/**
 * IP addresses as numbers, for the rules of policy.ts. IPv4-mapped IPv6 addresses (::ffff:a.b.c.d) are IPv4 here, as
 * they are on the wire.
 */

/** An address: one 32-bit word for IPv4, four for IPv6. */
export type AddressBits = readonly number[];

export interface Prefix {
  readonly words: AddressBits;
  readonly length: number;
  /** Bits behind the prefix are set: almost surely a slip. */
  readonly hostBits: boolean;
}

/** The bits of an address (a zone such as %eth0 is ignored), or null when the text is none. */
export function parseAddress(text: string): AddressBits | null {
  const zone = text.indexOf('%');
  const plain = zone < 0 ? text : text.slice(0, zone);
  if (!plain.includes(':')) {
    const word = parseIpv4(plain);
    return word === null ? null : [word];
  }
  const words = parseIpv6(plain);
  return words === null ? null : unmap(words);
}

/** A prefix or a single address, with or without brackets around the address or the whole; undefined when it is none. */
export function parsePrefix(text: string): Prefix | undefined {
  const match = /^\[?([0-9a-fA-F:.]+)\]?(?:\/(\d{1,3}))?\]?$/.exec(text);
  if (match === null || !bracketsAgree(text)) return undefined;
  const address = match[1] ?? '';
  const raw = address.includes(':') ? parseIpv6(address) : wrap(parseIpv4(address));
  if (raw === null) return undefined;
  const bits = raw.length * 32;
  const given = match[2] === undefined ? bits : Number(match[2]);
  if (given > bits) return undefined;
  const words = given >= 96 ? unmap(raw) : raw;
  const length = words.length === raw.length ? given : given - 96;
  const hostBits = words.some((word, index) => (word & ~maskOf(length, index)) !== 0);
  return { words, length, hostBits };
}

export function matchesPrefix(prefix: Prefix, bits: AddressBits): boolean {
  if (prefix.words.length !== bits.length) return false;
  for (let index = 0; index < bits.length; index++) {
    const mask = maskOf(prefix.length, index);
    if (((prefix.words[index]! ^ bits[index]!) & mask) !== 0) return false;
  }
  return true;
}

/** The prefix with the bits behind it cleared, as text. */
export function formatBits(prefix: Prefix): string {
  const words = prefix.words.map((word, index) => (word & maskOf(prefix.length, index)) >>> 0);
  if (words.length === 1)
    return `${[24, 16, 8, 0].map((shift) => (words[0]! >>> shift) & 255).join('.')}/${prefix.length}`;
  const groups = words.flatMap((word) => [word >>> 16, word & 0xffff]).map((group) => group.toString(16));
  const text = groups.join(':').replace(/(?:^|:)0(?::0)+(?::|$)/, '::');
  return `[${text}]/${prefix.length}`;
}

/** The mask of word `index` under a prefix of `length` bits. */
function maskOf(length: number, index: number): number {
  const bits = Math.min(32, Math.max(0, length - index * 32));
  return bits === 0 ? 0 : -1 << (32 - bits);
}

function bracketsAgree(text: string): boolean {
  const opens = text.startsWith('[');
  return opens ? text.split(']').length === 2 : !text.includes(']');
}

function wrap(word: number | null): number[] | null {
  return word === null ? null : [word];
}

function unmap(words: readonly number[]): AddressBits {
  return words.length === 4 && words[0] === 0 && words[1] === 0 && words[2] === 0xffff ? [words[3]!] : words;
}

function parseIpv4(text: string): number | null {
  const parts = text.split('.');
  if (parts.length !== 4) return null;
  let word = 0;
  for (const part of parts) {
    if (!/^(?:0|[1-9]\d{0,2})$/.test(part) || Number(part) > 255) return null;
    word = (word << 8) | Number(part);
  }
  return word >>> 0;
}

function parseIpv6(text: string): number[] | null {
  const halves = text.split('::');
  if (halves.length > 2) return null;
  const head = parseGroups(halves[0]!, halves.length === 1);
  const tail = halves.length === 2 ? parseGroups(halves[1]!, true) : [];
  if (head === null || tail === null) return null;
  const missing = 8 - head.length - tail.length;
  if (halves.length === 1 ? missing !== 0 : missing < 1) return null;
  const groups = [...head, ...new Array<number>(missing).fill(0), ...tail];
  return [0, 2, 4, 6].map((at) => ((groups[at]! << 16) | groups[at + 1]!) >>> 0);
}

/** 16-bit groups of one side of `::`; an IPv4 tail counts as two and is allowed only at the very end. */
function parseGroups(text: string, endsAddress: boolean): number[] | null {
  if (text === '') return [];
  const groups: number[] = [];
  const parts = text.split(':');
  for (const [index, part] of parts.entries()) {
    if (part.includes('.')) {
      const word = endsAddress && index === parts.length - 1 ? parseIpv4(part) : null;
      if (word === null) return null;
      groups.push(word >>> 16, word & 0xffff);
    } else {
      if (!/^[0-9a-fA-F]{1,4}$/.test(part)) return null;
      groups.push(Number.parseInt(part, 16));
    }
  }
  return groups;
}
