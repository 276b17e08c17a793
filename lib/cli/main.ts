#!/usr/bin/env node
/** The command `millrace`. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { nearest } from '../config';
import { InterfaceError, OptionError, UnavailableError, UnknownOptionError } from '../errors';
import { doctorCommand } from './doctor';
import { flowsCommand } from './flows';
import { optionsAsMarkdown, optionsAsText, printedOptions } from './print-options';
import { runCommand } from './run';
import { USAGE, UsageError } from './usage';

const COMMANDS = ['run', 'doctor', 'flows', 'options', 'help', 'version'];

function print(text: string): void {
  process.stdout.write(text);
}

function optionsCommand(args: readonly string[]): number {
  const unknown = args.find((arg) => arg !== '--json' && arg !== '--markdown');
  if (unknown !== undefined) throw new UsageError(`options takes --json or --markdown, and there is '${unknown}'`);
  if (args.includes('--json')) print(`${JSON.stringify(printedOptions(), null, 2)}\n`);
  else print(args.includes('--markdown') ? optionsAsMarkdown() : optionsAsText());
  return 0;
}

function version(): string {
  const file = join(__dirname, '..', '..', '..', 'package.json');
  const { version: text } = JSON.parse(readFileSync(file, 'utf8')) as { version: string };
  return text;
}

async function main(args: readonly string[]): Promise<number> {
  const [command, ...rest] = args;
  switch (command) {
    case 'run':
      return runCommand(rest);
    case 'doctor':
      return doctorCommand(rest, print);
    case 'flows':
      return flowsCommand(rest, print);
    case 'options':
      return optionsCommand(rest);
    case 'help':
    case '--help':
    case '-h':
      print(USAGE);
      return 0;
    case 'version':
    case '--version':
    case '-v':
      print(`${version()}\n`);
      return 0;
    case undefined:
      throw new UsageError('there is no command');
    default: {
      const near = nearest(command, COMMANDS);
      throw new UsageError(`there is no command '${command}'${near === undefined ? '' : `; did you mean ${near}?`}`);
    }
  }
}

function report(error: unknown): number {
  if (error instanceof UsageError) {
    process.stderr.write(`millrace: ${error.message}\n\n${USAGE}`);
    return 2;
  }
  const wrong = error instanceof OptionError || error instanceof UnknownOptionError || error instanceof InterfaceError;
  if (wrong || error instanceof UnavailableError) {
    process.stderr.write(`millrace: ${error.message}\n`);
    return wrong ? 2 : 1;
  }
  throw error;
}

main(process.argv.slice(2)).then(
  (code) => {
    process.exitCode = code;
  },
  (error: unknown) => {
    process.exitCode = report(error);
  },
);
