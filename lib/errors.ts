/**
 * Every error class that the library throws by itself. Errors of sockets are Node's own (made by Node from an errno)
 * and have no class here.
 */

/** Common to all: `code` is stable, the message is one line for a person. */
abstract class MillraceError extends Error {
  abstract readonly code: string;
}

/** A wrong option, wherever it was given. */
export class OptionError extends MillraceError {
  override readonly name = 'OptionError';
  readonly code = 'ERR_MILLRACE_OPTION';
  /** The option as its source spells it: `MILLRACE_SPIN_US`, `--spin-us` or `spinUs in millrace.config.json`. */
  readonly option: string;
  /** The value as it was given. */
  readonly value: unknown;
  /** What would have been accepted, in words. */
  readonly allowed: string;

  constructor(option: string, value: unknown, allowed: string, detail?: string) {
    const because = detail === undefined ? '' : `: ${detail}`;
    super(oneLine(`${option} is ${show(value)}${because}; allowed: ${allowed}`));
    this.option = option;
    this.value = value;
    this.allowed = allowed;
  }
}

/** An option or a configuration key that does not exist. */
export class UnknownOptionError extends MillraceError {
  override readonly name = 'UnknownOptionError';
  readonly code = 'ERR_MILLRACE_OPTION';
  readonly option: string;

  constructor(option: string, where: string, nearest: string | undefined) {
    const hint = nearest === undefined ? '' : `did you mean ${nearest}? `;
    super(oneLine(`${option} is not an option of millrace (${where}); ${hint}npx millrace options lists them`));
    this.option = option;
  }
}

/** Nothing can be accelerated here and `MILLRACE_REQUIRE=1` says that this is not acceptable. */
export class UnavailableError extends MillraceError {
  override readonly name = 'UnavailableError';
  readonly code = 'ERR_MILLRACE_UNAVAILABLE';
  /** What is missing: a capability by name, an interface, the addon. */
  readonly missing: readonly string[];

  constructor(message: string, missing: readonly string[]) {
    super(oneLine(message));
    this.missing = missing;
  }
}

/** A named interface does not exist. */
export class InterfaceError extends MillraceError {
  override readonly name = 'InterfaceError';
  readonly code = 'ERR_MILLRACE_INTERFACE';
  readonly interface: string;

  constructor(interfaceName: string, existing: readonly string[]) {
    super(oneLine(`there is no interface ${show(interfaceName)}; those that exist: ${existing.join(', ') || 'none'}`));
    this.interface = interfaceName;
  }
}

function oneLine(text: string): string {
  return text.replace(/\s*[\r\n]+\s*/g, ' ');
}

/** A value as it appears in a message: quoted when it is text, cut when it is long. */
export function show(value: unknown): string {
  const text = typeof value === 'string' ? `'${value}'` : (JSON.stringify(value) ?? String(value));
  return text.length > 120 ? `${text.slice(0, 117)}...` : text;
}
