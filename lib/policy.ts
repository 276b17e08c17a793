/**
 * Which sockets are accelerated. `MILLRACE_ACCELERATE` is a list of rules, separated by spaces or commas:
 *
 *     [!]protocol[:operation[:address:port]]
 *
 * protocol `tcp`, `udp` or `*`; operation `listen`, `connect`, `bind` or `*`; address an IPv4 or IPv6 address, a prefix
 * (10.0.0.0/8, [2001:db8::]/32) or `*`; port a number, a range (5432-5433) or `*`. What is left out is `*`.
 * For listen and bind the address is the local one as the program gave it (0.0.0.0 or :: when it gave none), for
 * connect the remote one. A UDP socket asks once for its bind; one that is not accelerated by that asks `connect` for
 * each destination of connect() or send(), and one that is, sends everywhere but where a rule excludes `connect`. The last rule that matches decides; `!` decides against. Where no rule matches, a socket is
 * accelerated if the list is empty or begins with an exclusion, and otherwise not.
 */
import { formatBits, matchesPrefix, parseAddress, parsePrefix, type Prefix } from './policy-address';

export type Protocol = 'tcp' | 'udp';
export type Operation = 'listen' | 'connect' | 'bind';

/** A compiled list of rules. */
export interface Policy {
  /** True when no rule can exclude anything: the answer is always yes. */
  readonly everything: boolean;
  /** Is this socket to be accelerated? A text that is no IP address matches only rules with address `*`. */
  wants(protocol: Protocol, operation: Operation, address: string, port: number): boolean;
  /** Does the last rule that matches decide against it? Where no rule matches, nothing is excluded. */
  excludes(protocol: Protocol, operation: Operation, address: string, port: number): boolean;
  /** Could {@link Policy.wants} say yes for some address and port? */
  mayWant(protocol: Protocol, operation: Operation): boolean;
}

/** A rule that cannot be understood. */
export class PolicyError extends Error {
  override readonly name = 'PolicyError';
  /** The rule as it was written. */
  readonly rule: string;
  /** Its place in the list, from 1. */
  readonly position: number;
  /** What would have been accepted in its place. */
  readonly allowed: string;

  constructor(rule: string, position: number, problem: string, allowed: string) {
    super(`rule ${position} '${rule}': ${problem}`);
    this.rule = rule;
    this.position = position;
    this.allowed = allowed;
  }
}

export const RULE_FORM =
  '[!]protocol[:operation[:address:port]] with tcp|udp|*, listen|connect|bind|*, an address, prefix or *, a port, range or *';

interface Rule {
  readonly accept: boolean;
  readonly protocol: Protocol | '*';
  readonly operation: Operation | '*';
  readonly prefix: Prefix | null;
  readonly portFirst: number;
  readonly portLast: number;
}

const PROTOCOLS = ['tcp', 'udp', '*'] as const;
const OPERATIONS = ['listen', 'connect', 'bind', '*'] as const;

/** Compiles the text of `MILLRACE_ACCELERATE`. @throws PolicyError that names the rule. */
export function compilePolicy(text: string): Policy {
  const rules = text
    .split(/[\s,]+/)
    .filter((rule) => rule !== '')
    .map((rule, index) => parseRule(rule, index + 1));
  const otherwise = rules[0] === undefined || !rules[0].accept;
  // From the last to the first: the first match of the search is the last of the list.
  const search = [...rules].reverse();
  const everything = rules.every((rule) => rule.accept) && (otherwise || rules.some(matchesAll));
  const needsAddress = rules.some((rule) => rule.prefix !== null);
  const decide = (protocol: Protocol, operation: Operation, address: string, port: number): boolean | null => {
    const bits = needsAddress ? parseAddress(address) : null;
    for (const rule of search) {
      if (!concerns(rule, protocol, operation)) continue;
      if (port < rule.portFirst || port > rule.portLast) continue;
      if (rule.prefix !== null && (bits === null || !matchesPrefix(rule.prefix, bits))) continue;
      return rule.accept;
    }
    return null;
  };
  return {
    everything,
    wants: (...question) => everything || (decide(...question) ?? otherwise),
    excludes: (...question) => !everything && decide(...question) === false,
    mayWant: (protocol, operation) =>
      everything || otherwise || rules.some((rule) => rule.accept && concerns(rule, protocol, operation)),
  };
}

function concerns(rule: Rule, protocol: Protocol, operation: Operation): boolean {
  return (
    (rule.protocol === '*' || rule.protocol === protocol) && (rule.operation === '*' || rule.operation === operation)
  );
}

function matchesAll(rule: Rule): boolean {
  const anyPort = rule.portFirst === 0 && rule.portLast === 65535;
  return rule.protocol === '*' && rule.operation === '*' && rule.prefix === null && anyPort;
}

function parseRule(text: string, position: number): Rule {
  const fail = (problem: string, allowed: string): never => {
    throw new PolicyError(text, position, problem, allowed);
  };
  const accept = !text.startsWith('!');
  const fields = splitRule(accept ? text : text.slice(1)) ?? fail('wrong number of fields', RULE_FORM);
  const [protocolText, operationText = '*', addressText = '*', portText = '*'] = fields;
  const protocol = PROTOCOLS.find((known) => known === protocolText);
  if (protocol === undefined) return fail(`protocol '${protocolText}'`, 'tcp, udp or *');
  const operation = OPERATIONS.find((known) => known === operationText);
  if (operation === undefined) return fail(`operation '${operationText}'`, 'listen, connect, bind or *');
  if (protocol === 'tcp' && operation === 'bind') return fail('tcp has no bind', 'tcp:listen, tcp:connect or tcp:*');
  if (protocol === 'udp' && operation === 'listen') return fail('udp has no listen', 'udp:bind, udp:connect or udp:*');
  const prefix = addressText === '*' ? null : parsePrefix(addressText);
  if (prefix === undefined) {
    return fail(`address '${addressText}'`, 'an IPv4 or IPv6 address, a prefix such as 10.0.0.0/8, or *');
  }
  if (prefix?.hostBits) {
    return fail(`address '${addressText}' has bits behind its prefix`, formatBits(prefix));
  }
  const ports = parsePorts(portText);
  if (ports === undefined) return fail(`port '${portText}'`, '0 to 65535, a rising range such as 5432-5433, or *');
  return { accept, protocol, operation, prefix, portFirst: ports[0], portLast: ports[1] };
}

/** One, two or four fields. The port is always the last, so an IPv6 address needs no brackets (but may have them). */
function splitRule(body: string): string[] | undefined {
  const first = body.indexOf(':');
  if (first < 0) return [body];
  const second = body.indexOf(':', first + 1);
  if (second < 0) return [body.slice(0, first), body.slice(first + 1)];
  const last = body.lastIndexOf(':');
  if (last === second) return undefined;
  return [body.slice(0, first), body.slice(first + 1, second), body.slice(second + 1, last), body.slice(last + 1)];
}

function parsePorts(text: string): [number, number] | undefined {
  if (text === '*') return [0, 65535];
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text);
  if (match === null) return undefined;
  const first = Number(match[1]);
  const last = match[2] === undefined ? first : Number(match[2]);
  return first <= last && last <= 65535 ? [first, last] : undefined;
}
