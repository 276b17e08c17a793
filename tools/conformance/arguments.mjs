// The command line of the conformance run.
import { parseArgs } from 'node:util';
import { PORTS } from './modes.mjs';
import { PREFIXES } from './node-tests.mjs';

export const USAGE = `usage: npm run conformance -- [options]
Runs the tests of Node's own tree twice, plain and with all loopback traffic through the stack, and compares.

  --tree DIR          a tree of Node's source instead of the one of the distribution's source package
  --node BINARY       the Node to test; default: the one that runs this command
  --node-version N    fetches that version (22, 24.1.0 ...) from npm and tests it
  --prefix A,B        only these of ${PREFIXES.join(', ')}
  --only NAME,NAME    only tests with NAME in their file name
  --every N           only every N-th of those, for a look
  --jobs N            tests at a time, 1 to 10; default 2
  --timeout SECONDS   for one run of one test; default 60
  --lean              plain Node runs only what fails under millrace, nobody what is expected to differ: half the time
  --port NAME         loopback, or ring: port dpdk over a ring of DPDK's that gives back what it is sent
  --none              hooks installed, nothing accelerated: must equal plain Node
  --json FILE         writes every result
  --docs              writes the table and the exceptions to docs/compatibility.md
  --help`;

/** @returns the options, or `{ problem }` with what is wrong. */
export function parseArguments(args) {
  try {
    const { values } = parseArgs({
      args,
      options: {
        tree: { type: 'string' },
        node: { type: 'string' },
        'node-version': { type: 'string' },
        prefix: { type: 'string', multiple: true },
        only: { type: 'string', multiple: true },
        every: { type: 'string', default: '1' },
        jobs: { type: 'string', default: '2' },
        timeout: { type: 'string', default: '60' },
        lean: { type: 'boolean', default: false },
        port: { type: 'string', default: 'loopback' },
        none: { type: 'boolean', default: false },
        json: { type: 'string' },
        docs: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    });
    return check(values);
  } catch (error) {
    return { problem: error.message };
  }
}

function check(values) {
  const prefixes = split(values.prefix) ?? PREFIXES;
  const unknown = prefixes.find((prefix) => !PREFIXES.includes(prefix));
  if (unknown !== undefined) return { problem: `no prefix '${unknown}'; there are ${PREFIXES.join(', ')}` };
  const jobs = Number(values.jobs);
  if (!Number.isInteger(jobs) || jobs < 1 || jobs > 10) return { problem: '--jobs is 1 to 10' };
  const every = Number(values.every);
  if (!Number.isInteger(every) || every < 1) return { problem: '--every is 1 or more' };
  const timeoutSeconds = Number(values.timeout);
  if (!(timeoutSeconds > 0)) return { problem: '--timeout is a number of seconds' };
  if (values.node !== undefined && values['node-version'] !== undefined) {
    return { problem: '--node and --node-version exclude each other' };
  }
  if (!Object.hasOwn(PORTS, values.port)) return { problem: `--port is ${Object.keys(PORTS).join(' or ')}` };
  const some = values.only !== undefined || values.prefix !== undefined || every > 1;
  const complete = !some && !values.none && !values.lean && values.port === 'loopback';
  if (values.docs && !complete) {
    return { problem: '--docs needs a whole run: no --prefix, --only, --every, --lean, --port or --none' };
  }
  return {
    ...values,
    nodeVersion: values['node-version'],
    prefixes,
    only: split(values.only),
    every,
    jobs,
    timeoutSeconds,
    complete,
  };
}

function split(list) {
  return list?.flatMap((text) => text.split(',')).filter((text) => text !== '');
}
