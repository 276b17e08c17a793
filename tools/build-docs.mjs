// Writes what docs/ has from the sources: options.md from the registry of options, counters.md from the lists of
// counters. With --check only says whether they are up to date.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { countersAsMarkdown } from './counters-doc.mjs';
import { ROOT } from './files.mjs';
import { bin, run } from './run.mjs';

/** Compiles into a place of its own, so that a check never meets half-written files of another build. */
async function optionsAsMarkdown() {
  const output = join(ROOT, '.cache/docs');
  const compiled = await run(bin('tsc'), ['-p', 'tsconfig.json', '--outDir', output, '--declaration', 'false']);
  if (compiled.code !== 0) throw new Error(compiled.output);
  return createRequire(import.meta.url)(join(output, 'lib/cli/print-options.js')).optionsAsMarkdown();
}

function present(path) {
  try {
    return readFileSync(join(ROOT, path), 'utf8');
  } catch {
    return '';
  }
}

const documents = { 'docs/options.md': await optionsAsMarkdown(), 'docs/counters.md': countersAsMarkdown(ROOT) };
const stale = Object.entries(documents).filter(([path, text]) => present(path) !== text);
if (process.argv.includes('--check')) {
  for (const [path] of stale) console.error(`${path} is not what the sources say: run "npm run docs"`);
  if (stale.length > 0) process.exit(1);
} else {
  mkdirSync(join(ROOT, 'docs'), { recursive: true });
  for (const [path, text] of stale) writeFileSync(join(ROOT, path), text);
}
