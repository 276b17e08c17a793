// The command line of the ecosystem's matrix.
import { parseArgs } from 'node:util';
import { ROWS } from './rows.mjs';

export const USAGE = `usage: npm run ecosystem -- [options]
Runs programs over real packages against real peers across a veth pair, each under plain Node and under millrace on
every side where it can be, and compares what they record. Needs root.

  --only A,B     only these rows
  --list         the rows
  --docs         writes the table, or with --only these rows of it, to docs/compatibility.md
  --verbose      shows what each program records
  --help`;

/** @returns the options, or `{ problem }` with what is wrong. */
export function parseArguments(args) {
  let values;
  try {
    ({ values } = parseArgs({
      args,
      options: {
        only: { type: 'string', multiple: true },
        list: { type: 'boolean', default: false },
        docs: { type: 'boolean', default: false },
        verbose: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    }));
  } catch (error) {
    return { problem: error.message };
  }
  const only = values.only?.flatMap((text) => text.split(',')).filter((text) => text !== '');
  const unknown = only?.find((name) => !ROWS.some((row) => row.name === name));
  if (unknown !== undefined) return { problem: `no row '${unknown}'; --list shows them` };
  return {
    ...values,
    complete: only === undefined,
    rows: only === undefined ? ROWS : ROWS.filter((row) => only.includes(row.name)),
  };
}
