// `npm run conformance`: Node's own tests, plain and through the stack, compared. See --help and docs/compatibility.md.
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { ROOT } from '../files.mjs';
import { parseArguments, USAGE } from './arguments.mjs';
import { compareAll, differs, tally } from './compare.mjs';
import { expectedHere, expectedOn, judge, readExpectations } from './expectations.mjs';
import { findNode } from './node-binary.mjs';
import { listTests } from './node-tests.mjs';
import { fetchTree } from './source-tree.mjs';
import { tableOf, writeDocument } from './tables.mjs';

const OUTPUT_LINES = 25;
/** The exit code that says that there was nothing to run: 1 is a difference, 2 a wrong use. */
const NO_TESTS = 3;

function endOf(output) {
  const lines = output.trimEnd().split('\n').slice(-OUTPUT_LINES);
  return lines.map((line) => `    ${line}`).join('\n');
}

function versionOfTree(tree) {
  const header = join(tree, 'src/node_version.h');
  if (!existsSync(header)) return basename(tree).replace(/^node-/, '');
  const text = readFileSync(header, 'utf8');
  return ['MAJOR', 'MINOR', 'PATCH'].map((part) => new RegExp(`NODE_${part}_VERSION (\\d+)`).exec(text)?.[1]).join('.');
}

function progress(result) {
  if (result.plain === 'fail') console.log(`fails plain  ${result.test}`);
  else if (differs(result)) console.log(`differs      ${result.test}`);
}

/** What CI shows: one line, for the plain runs that a table compares with have not been made. */
function reportLean(judged, results) {
  for (const result of judged.unexpected) console.log(`\ndiffers: ${result.test}\n${endOf(result.output)}`);
  for (const result of judged.unsteady) console.log(`unsteady: ${result.test}: passed when run again alone`);
  const passed = results.filter(({ hooked }) => hooked === 'pass').length;
  const others = results.length - passed - judged.unexpected.length;
  console.log(`${passed} passed, ${judged.unexpected.length} failed, ${others} not counted`);
}

function report(judged, rows, { none, major, complete }) {
  for (const result of judged.unexpected) {
    console.log(`\ndiffers: ${result.test} (plain ${result.plain}, here ${result.hooked})\n${endOf(result.output)}`);
  }
  for (const result of judged.unsteady) {
    console.log(`\nunsteady: ${result.test}: differed once, not when run again\n${endOf(result.output)}`);
  }
  for (const { test, reason } of judged.expected) console.log(`\nexpected: ${test}: ${reason}`);
  for (const { test } of judged.stale)
    console.log(`\nno longer differs on Node ${major}, so mend expectations: ${test}`);
  console.log(`\n${tableOf(rows).join('\n')}\n`);
  const counts = Object.entries(judged).filter(([, list]) => Array.isArray(list));
  console.log(`differences: ${counts.map(([name, list]) => `${list.length} ${name}`).join(', ')}`);
  if (judged.tooMany && complete) console.log('more than 1 % of the tests are expected to differ');
  if (none && rows.some(({ used }) => used > 0)) console.log('something used the stack although nothing should');
}

async function fetchOrSay(cache, major) {
  try {
    return await fetchTree(cache, major);
  } catch (error) {
    console.log(`Node's tests could not be fetched: ${error.message}`);
    return null;
  }
}

async function compare(options, scratch) {
  const cache = join(ROOT, '.cache/conformance');
  const node = await findNode(options, cache);
  const tree = options.tree === undefined ? await fetchOrSay(cache, node.major) : resolve(options.tree);
  if (tree === null) return NO_TESTS;
  const treeVersion = versionOfTree(tree);
  // With nothing accelerated there is no reason to differ, but for tests that look for the preload itself.
  const listed = readExpectations();
  const expectations = options.none ? listed.filter(({ always }) => always === true) : expectedHere(listed);
  const known = expectedOn(node.major, expectations);
  const all = listTests(tree, options.prefixes, options.only).filter((_, index) => index % options.every === 0);
  const tests = options.lean ? all.filter(({ name }) => !known.has(name)) : all;
  console.log(`Node ${node.version}, ${tests.length} tests of ${treeVersion}`);
  if (tests.length === 0) return 2;
  const context = { tree, node: node.path, scratch, timeoutSeconds: options.timeoutSeconds, port: options.port };
  const results = await compareAll(tests, context, { ...options, known }, progress);
  const judged = judge(results, expectations, node.major);
  const rows = tally(results);
  if (options.json !== undefined) {
    const content = { node: node.version, tree: treeVersion, none: options.none, rows, results };
    writeFileSync(options.json, `${JSON.stringify(content, null, 1)}\n`);
  }
  if (options.lean) reportLean(judged, results);
  else report(judged, rows, { ...options, major: node.major });
  // Not all of `node`: its path is the binary's.
  const { version, major } = node;
  if (options.docs) writeDocument({ version, major, treeVersion, rows, expectations: listed });
  const stackUnused = options.none && rows.some(({ used }) => used > 0);
  const bad = judged.unexpected.length > 0 || judged.stale.length > 0 || (judged.tooMany && options.complete);
  return bad || stackUnused ? 1 : 0;
}

async function main() {
  const options = parseArguments(process.argv.slice(2));
  if (options.problem !== undefined || options.help) {
    console.log(options.problem === undefined ? USAGE : `${options.problem}\n${USAGE}`);
    return options.problem === undefined ? 0 : 2;
  }
  if (!existsSync(join(ROOT, 'dist/compat/register.js'))) {
    console.log('not built: npm run compile');
    return 2;
  }
  const scratch = mkdtempSync(join(tmpdir(), 'millrace-'));
  try {
    return await compare(options, scratch);
  } catch (error) {
    console.log(error.message);
    return 2;
  } finally {
    rmSync(scratch, { recursive: true, force: true, maxRetries: 3 });
  }
}

process.exitCode = await main();
