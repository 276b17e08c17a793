// Writes docs/options.md from the registry of options; with --check only says whether it is up to date.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { ROOT } from './files.mjs';
import { bin, run } from './run.mjs';

const target = join(ROOT, 'docs/options.md');
// A place of its own, so that a check never meets half-written files of another build.
const output = join(ROOT, '.cache/docs');
const compiled = await run(bin('tsc'), ['-p', 'tsconfig.json', '--outDir', output, '--declaration', 'false']);
if (compiled.code !== 0) {
  console.error(compiled.output);
  process.exit(1);
}
const { optionsAsMarkdown } = createRequire(import.meta.url)(join(output, 'lib/cli/print-options.js'));
const text = optionsAsMarkdown();

if (process.argv.includes('--check')) {
  let present = '';
  try {
    present = readFileSync(target, 'utf8');
  } catch {
    // Not there is not up to date.
  }
  if (present !== text) {
    console.error('docs/options.md is not what the registry says: run "npm run docs"');
    process.exit(1);
  }
} else {
  mkdirSync(join(ROOT, 'docs'), { recursive: true });
  writeFileSync(target, text);
}
