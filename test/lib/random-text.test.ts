/**
 * The parsers of people's words, options and rules, over texts that nobody would write: a seeded generator, so that a
 * failure names its text and comes again. What is refused is refused with the error that the documentation promises.
 */
import t from 'tap';
import { parseFlags } from '../../lib/cli/flags';
import { loadOptions } from '../../lib/config';
import { OptionError, UnknownOptionError } from '../../lib/errors';
import { formatValue, OPTION_NAMES, type OptionName, variableOf } from '../../lib/options';
import { compilePolicy, PolicyError } from '../../lib/policy';

/** Mulberry32. */
class Dice {
  #state: number;

  constructor(seed: number) {
    this.#state = seed;
  }

  below(bound: number): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let z = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    z = (z + Math.imul(z ^ (z >>> 7), 61 | z)) ^ z;
    return Math.floor((((z ^ (z >>> 14)) >>> 0) / 4294967296) * bound);
  }

  pick<T>(values: readonly T[]): T {
    return values[this.below(values.length)] as T;
  }
}

const PROTOCOLS = ['tcp', 'udp', '*'] as const;
const OPERATIONS = ['listen', 'connect', 'bind', '*'] as const;
const ADDRESSES = ['*', '10.0.0.1', '10.0.0.0/8', '10.128.0.0/9', '0.0.0.0/0', '[2001:db8::1]', '[2001:db8::]/32'];
const ASKED = ['10.0.0.1', '10.200.0.1', '11.0.0.1', '2001:db8::1', '2001:db8::2', '2001:db9::1', '::ffff:10.0.0.1'];
const WORDS = [
  'tcp',
  'udp',
  '*',
  ':',
  '!',
  ',',
  ' ',
  '[',
  ']',
  '/',
  '-',
  '8',
  '80',
  '65536',
  '10.0.0.1',
  '::',
  'listen',
];
const SCRAPS = [
  ...WORDS,
  'connect',
  '\u0000',
  '\u{1f600}',
  'é',
  '%',
  '"',
  "'",
  '{',
  '0x',
  '1e9',
  '-1',
  'on',
  'off',
  'auto',
];

interface Rule {
  accept: boolean;
  protocol: (typeof PROTOCOLS)[number];
  operation: (typeof OPERATIONS)[number];
  address: string;
  ports: readonly [number, number];
}

function randomRule(dice: Dice): Rule {
  const protocol = dice.pick(PROTOCOLS);
  const allowed = OPERATIONS.filter(
    (o) => !(protocol === 'tcp' && o === 'bind') && !(protocol === 'udp' && o === 'listen'),
  );
  const first = dice.below(200);
  const ports = dice.pick([[0, 65535] as const, [first, first] as const, [first, first + dice.below(200)] as const]);
  return { accept: dice.below(3) > 0, protocol, operation: dice.pick(allowed), address: dice.pick(ADDRESSES), ports };
}

function textOf({ accept, protocol, operation, address, ports }: Rule): string {
  const range = ports[1] === 65535 ? '*' : ports[0] === ports[1] ? `${ports[0]}` : `${ports[0]}-${ports[1]}`;
  return `${accept ? '' : '!'}${protocol}:${operation}:${address}:${range}`;
}

/** The first bits of an address as a text of 0 and 1; written without any of the product's code. */
function bitsOf(address: string): string {
  const plain = address.replace('::ffff:', '');
  if (plain.includes('.'))
    return `4${plain
      .split('.')
      .map((part) => Number(part).toString(2).padStart(8, '0'))
      .join('')}`;
  const [head = '', tail = ''] = plain.split('::');
  const left = head.split(':').filter((group) => group !== '');
  const right = tail.split(':').filter((group) => group !== '');
  const groups = [...left, ...Array.from({ length: 8 - left.length - right.length }, () => '0'), ...right];
  return `6${groups.map((group) => Number.parseInt(group, 16).toString(2).padStart(16, '0')).join('')}`;
}

function covers(rule: string, address: string): boolean {
  if (rule === '*') return true;
  const [network = '', length] = rule.replace(/[[\]]/g, '').split('/');
  const bits = bitsOf(network);
  return bitsOf(address).startsWith(length === undefined ? bits : bits.slice(0, 1 + Number(length)));
}

function decide(rules: readonly Rule[], protocol: string, operation: string, address: string, port: number): boolean {
  let verdict = rules[0] === undefined || !rules[0].accept;
  for (const rule of rules) {
    const concerns = rule.protocol === '*' || rule.protocol === protocol;
    if (!concerns || (rule.operation !== '*' && rule.operation !== operation)) continue;
    if (port < rule.ports[0] || port > rule.ports[1] || !covers(rule.address, address)) continue;
    verdict = rule.accept;
  }
  return verdict;
}

function scraps(dice: Dice, most: number): string {
  return Array.from({ length: dice.below(most) }, () => dice.pick(SCRAPS)).join('');
}

void t.test('rules: every decision is that of a second implementation', async (t) => {
  const dice = new Dice(1);
  for (let n = 0; n < 4000; n++) {
    const rules = Array.from({ length: dice.below(6) }, () => randomRule(dice));
    const text = rules.map(textOf).join(dice.pick([' ', ',', '\n, ']));
    const policy = compilePolicy(text);
    for (let question = 0; question < 12; question++) {
      const protocol = dice.pick(['tcp', 'udp'] as const);
      const operation = dice.pick(['connect', protocol === 'tcp' ? 'listen' : 'bind'] as const);
      const address = dice.pick(ASKED);
      const port = dice.below(400);
      const expected = decide(rules, protocol, operation, address, port);
      if (policy.wants(protocol, operation, address, port) === expected) continue;
      t.fail(`"${text}" about ${protocol} ${operation} ${address} ${port}: not ${expected}`);
    }
  }
  t.pass('48,000 questions');
});

void t.test('rules: any text is understood or refused by name and place', async (t) => {
  const dice = new Dice(2);
  let refused = 0;
  for (let n = 0; n < 40_000; n++) {
    const text = scraps(dice, 9);
    try {
      compilePolicy(text).wants('tcp', 'connect', dice.pick(ASKED), dice.below(65_536));
    } catch (error) {
      refused++;
      if (error instanceof PolicyError && error.position >= 1 && text.includes(error.rule) && error.allowed !== '')
        continue;
      t.fail(`${JSON.stringify(text)}: ${String(error)}`);
    }
  }
  t.ok(refused > 10_000 && refused < 40_000, `${refused} refused`);
});

void t.test('options: any value is refused by its name, or comes back from what is printed of it', async (t) => {
  const dice = new Dice(3);
  let taken = 0;
  for (let n = 0; n < 8000; n++) {
    const name: OptionName = dice.pick(OPTION_NAMES);
    const value = dice.below(3) > 0 ? scraps(dice, 4) : String(dice.below(100_000));
    const load = (text: string) =>
      loadOptions({ env: { [variableOf(name)]: text }, directory: '/nonexistent-directory' });
    try {
      const options = load(value);
      taken++;
      const printed = formatValue(name, options[name]);
      // An empty variable is one that is not set.
      if (printed === '' || value === '') continue;
      const again = load(printed);
      if (JSON.stringify(again[name]) !== JSON.stringify(options[name]))
        t.fail(`${name} '${value}' printed as '${printed}'`);
    } catch (error) {
      if (error instanceof OptionError && error.message.includes(variableOf(name))) continue;
      t.fail(`${name} ${JSON.stringify(value)}: ${String(error)}`);
    }
  }
  t.ok(taken > 500, `${taken} taken`);
});

void t.test('flags: any arguments are understood or refused', async (t) => {
  const dice = new Dice(4);
  const flags = ['--port', '--interface', '--spin-us', '--accelerate', '--', '-', '--no-', '--port=', '--x', 'node'];
  for (let n = 0; n < 20_000; n++) {
    const args = Array.from({ length: dice.below(6) }, () => (dice.below(2) > 0 ? dice.pick(flags) : scraps(dice, 4)));
    try {
      parseFlags(args);
    } catch (error) {
      if (error instanceof OptionError || error instanceof UnknownOptionError) continue;
      t.fail(`${JSON.stringify(args)}: ${String(error)}`);
    }
  }
  t.pass('20,000 command lines');
});
