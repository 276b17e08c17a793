// `npm run ecosystem`: real packages with real peers, plain and through the stack, compared. See --help and
// docs/compatibility.md.
import { existsSync } from 'node:fs';
import { setUp } from '../setup.mjs';
import { parseArguments, USAGE } from './arguments.mjs';
import { installPackages } from './install.mjs';
import { REGISTER, runRow } from './row.mjs';
import { tableOf, writeDocument } from './tables.mjs';

function report({ row, runs, problems }, seconds) {
  const sides = runs.map(({ side, connections, segments, seconds: took }) => {
    const used = side === 'none' ? '' : `, ${connections} connections, ${segments} segments`;
    return `${side} (${took.toFixed(1)} s${used})`;
  });
  console.log(`${problems.length === 0 ? 'ok    ' : 'not ok'} ${row.name} ${seconds} s: ${sides.join(', ')}`);
  for (const problem of problems) console.log(problem.replaceAll(/^/gm, '    '));
}

async function matrix(options) {
  const missing = await setUp(['e2e', ...options.rows.map((row) => `ecosystem-${row.server}`)]);
  if (missing.length > 0) return 2;
  const programs = await installPackages();
  const log = options.verbose ? console.log : () => {};
  const results = [];
  for (const row of options.rows) {
    const start = performance.now();
    const result = await runRow(row, programs, log);
    results.push(result);
    report(result, ((performance.now() - start) / 1000).toFixed(1));
  }
  console.log(`\n${tableOf(results).join('\n')}\n`);
  const failed = results.filter(({ problems }) => problems.length > 0).length;
  console.log(`${results.length - failed} rows passed, ${failed} failed`);
  if (options.docs) writeDocument(results, process.versions.node, options);
  return failed === 0 ? 0 : 1;
}

async function main() {
  const options = parseArguments(process.argv.slice(2));
  if (options.problem !== undefined || options.help) {
    console.log(options.problem === undefined ? USAGE : `${options.problem}\n${USAGE}`);
    return options.problem === undefined ? 0 : 2;
  }
  if (options.list) {
    for (const row of options.rows) console.log(`${row.name}\t${row.server ?? ''}\t${row.checks}`);
    return 0;
  }
  if (process.getuid?.() !== 0) {
    console.log('needs root, for network namespaces');
    return 2;
  }
  if (!existsSync(REGISTER)) {
    console.log('not built: npm run compile');
    return 2;
  }
  return matrix(options);
}

process.exitCode = await main();
