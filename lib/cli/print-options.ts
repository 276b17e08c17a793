/** The registry of options as text for a terminal, as JSON and as the Markdown of docs/options.md. */
import type { Kind } from '../option-kinds';
import {
  CONFIG_FILE,
  CONFIG_VARIABLE,
  flagOf,
  formatValue,
  OPTION_NAMES,
  type OptionName,
  REGISTRY,
  variableOf,
} from '../options';

/** One option as `millrace options --json` prints it. */
export interface PrintedOption {
  readonly name: OptionName;
  readonly variable: string;
  readonly flag: string;
  readonly type: string;
  readonly allowed: string;
  readonly default: string;
  readonly unit: string;
  readonly meaning: string;
}

export function printedOptions(): PrintedOption[] {
  return OPTION_NAMES.map((name) => {
    const spec = REGISTRY[name];
    const kind = spec.kind as Kind<unknown>;
    return {
      name,
      variable: variableOf(name),
      flag: flagOf(name),
      type: kind.type,
      allowed: kind.allowed,
      default: formatValue(name, spec.default as never),
      unit: spec.unit,
      meaning: spec.meaning,
    };
  });
}

export function optionsAsText(): string {
  const blocks = printedOptions().map((option) => {
    const unit = option.unit === '' ? '' : ` ${option.unit}`;
    const standard = option.default === '' ? 'none' : `${option.default}${option.default === 'auto' ? '' : unit}`;
    return [
      `${option.variable}  ${option.flag}  "${option.name}"`,
      `    ${option.meaning}`,
      `    ${option.type}: ${option.allowed}${unit === '' ? '' : ` (${option.unit})`}; default: ${standard}`,
    ].join('\n');
  });
  return `${blocks.join('\n')}\n\n${SOURCES.join('\n')}\n`;
}

const SOURCES = [
  `Sources, the later wins: default, ${CONFIG_FILE} in the working directory (or the file that ${CONFIG_VARIABLE} names),`,
  'variable, flag of "millrace run". A variable that is empty counts as not set.',
];

export function optionsAsMarkdown(): string {
  const cell = (text: string) => (text === '' ? '' : text.replaceAll('|', '\\|'));
  const code = (text: string) => (text === '' ? '' : `\`${text}\``);
  const rows = printedOptions().map((option) => {
    const names = `${code(option.variable)}<br>${code(option.flag)}<br>${code(option.name)}`;
    const unit = option.unit === '' ? '' : ` (${option.unit})`;
    const allowed = `${option.type}: ${cell(option.allowed)}${unit}`;
    return `| ${names} | ${allowed} | ${code(option.default) || 'none'} | ${cell(option.meaning)} |`;
  });
  return `${[
    '# Options',
    '',
    'Written from the registry in lib/options.ts by `npm run docs`; `npx millrace options` prints the same.',
    '',
    `Sources, in rising precedence: the default, \`${CONFIG_FILE}\` in the working directory (or the file that`,
    `\`${CONFIG_VARIABLE}\` names), the variable, the flag of \`millrace run\`. A variable that is empty counts as not set.`,
    'A wrong value and an unknown name are errors: the command line, and a program that preloads millrace by `--require`, end with 2 and one line that says what is allowed; the API throws `ERR_MILLRACE_OPTION`.',
    '',
    '| variable, flag, key | value | default | meaning |',
    '|---|---|---|---|',
    ...rows,
    '',
    ...POLICY,
  ].join('\n')}\n`;
}

const POLICY = [
  '## Which sockets are accelerated',
  '',
  '`MILLRACE_ACCELERATE` is a list of rules, separated by spaces or commas:',
  '',
  '```',
  '[!]protocol[:operation[:address:port]]',
  '```',
  '',
  '- protocol: `tcp`, `udp` or `*`',
  '- operation: `listen`, `connect` (TCP), `bind`, `connect` (UDP) or `*`',
  '- address: an IPv4 or IPv6 address, a prefix (`10.0.0.0/8`, `[2001:db8::]/32`) or `*`. For `listen` and `bind` it is',
  '  the local address as the program gives it (`0.0.0.0` or `::` when it gives none), for `connect` the remote one.',
  '  An IPv4-mapped IPv6 address counts as IPv4.',
  '- port: a number, a range (`5432-5433`) or `*`',
  '',
  'What is left out is `*`. The last rule that matches decides, and `!` decides against. Where no rule matches, a socket',
  'is accelerated if the list is empty or begins with an exclusion, and otherwise not.',
  '',
  '| rules | accelerated |',
  '|---|---|',
  '| (none) | all that the port can reach |',
  '| `tcp` | TCP, not UDP |',
  '| `!tcp:*:*:22` | everything but port 22 |',
  '| `tcp:listen:*:8080 udp:bind` | the listener on 8080 and all bound UDP sockets |',
  '| `tcp:connect:10.0.0.0/8:5432-5433 !*:*:10.9.0.0/16:*` | connections to two ports in 10/8, but not in 10.9/16 |',
];
