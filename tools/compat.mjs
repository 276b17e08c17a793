// `npm run test:compat`: the tests of the facade on another Node than the one that runs this. See --help.
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { findNode } from './conformance/node-binary.mjs';
import { ROOT } from './files.mjs';
import { runTap } from './test-groups.mjs';

const USAGE = `usage: npm run test:compat -- [options]
Runs test/compat, or what of it is named, on a Node of one's choice.

  --node-version N   fetches that version (22, 24.1.0 ...) from npm; may be given several times
  --node BINARY      that one; default: the one that runs this command
  --only NAME        only the files with NAME in their name; may be given several times
  --jobs N           files at a time; default 2
  --help`;

const TESTS = 'dist/test/compat';

function readArguments(args) {
  try {
    const { values } = parseArgs({
      args,
      options: {
        'node-version': { type: 'string', multiple: true },
        node: { type: 'string' },
        only: { type: 'string', multiple: true },
        jobs: { type: 'string', default: '2' },
        help: { type: 'boolean', default: false },
      },
    });
    const jobs = Number(values.jobs);
    if (!Number.isInteger(jobs) || jobs < 1) return { problem: '--jobs is 1 or more' };
    if (values.node !== undefined && values['node-version'] !== undefined) {
      return { problem: '--node and --node-version exclude each other' };
    }
    return { ...values, jobs };
  } catch (error) {
    return { problem: error.message };
  }
}

function filesOf(only) {
  const directory = join(ROOT, TESTS);
  if (!existsSync(directory)) return [];
  const names = readdirSync(directory, { recursive: true }).filter((name) => name.endsWith('.test.js'));
  const wanted = names.filter((name) => only === undefined || only.some((part) => name.includes(part)));
  return wanted.sort().map((name) => join(TESTS, name));
}

async function runOn(choice, files, jobs) {
  const node = await findNode(choice, join(ROOT, '.cache/conformance'));
  const result = await runTap(files, { jobs, timeoutSeconds: 300, node: node.path });
  for (const text of result.report) console.log(text);
  for (const reason of result.skipped) console.log(`skipped: ${reason}`);
  const { passed, failed, skipped } = result;
  console.log(`Node ${node.version}: ${passed} passed, ${failed} failed, ${skipped.length} skipped`);
  return failed === 0 && passed > 0;
}

async function main() {
  const options = readArguments(process.argv.slice(2));
  if (options.problem !== undefined || options.help) {
    console.log(options.problem === undefined ? USAGE : `${options.problem}\n${USAGE}`);
    return options.problem === undefined ? 0 : 2;
  }
  const files = filesOf(options.only);
  if (files.length === 0) {
    console.log(`nothing to run in ${TESTS}: npm run compile && npx tsc -p test/tsconfig.json`);
    return 2;
  }
  const versions = options['node-version'] ?? [undefined];
  let good = true;
  for (const nodeVersion of versions) {
    good = (await runOn({ node: options.node, nodeVersion }, files, options.jobs)) && good;
  }
  return good ? 0 : 1;
}

process.exitCode = await main();
