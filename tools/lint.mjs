// Every check that runs nothing of the product: formatting, lint, types, layers, sizes, generated files.
// `node tools/lint.mjs` checks, `node tools/lint.mjs --fix` also formats and regenerates.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { listFiles, ROOT } from './files.mjs';
import { bin, run } from './run.mjs';
import { installCommand, missingFor } from './setup.mjs';

function cppFiles() {
  const wanted = /^(?:native|test)\/.*\.(?:cc|h|c)$/;
  return listFiles(ROOT).filter((path) => wanted.test(path));
}

/** name, program, arguments; for those with a second list, what --fix runs first. */
function steps() {
  const sources = cppFiles();
  const list = [
    { name: 'biome (format and lint)', check: [bin('biome'), 'check'], fix: [bin('biome'), 'check', '--write'] },
    {
      name: 'clang-format',
      check: ['clang-format', '--dry-run', '-Werror', ...sources],
      fix: ['clang-format', '-i', ...sources],
      needs: 'clang-format',
    },
    { name: 'types', check: [bin('tsc'), '-p', 'test/tsconfig.json', '--noEmit'] },
    { name: 'layers', check: ['node', 'tools/check-layers.mjs'] },
    { name: 'tidy', check: ['node', 'tools/tidy.mjs'] },
    { name: 'docs/tcp-ip.md', check: ['node', 'tools/check-claims.mjs'] },
    {
      name: 'docs/options.md',
      check: ['node', 'tools/build-docs.mjs', '--check'],
      fix: ['node', 'tools/build-docs.mjs'],
    },
  ];
  if (existsSync(join(ROOT, 'tools/build-xdp.mjs'))) {
    list.push({ name: 'steering program', check: ['node', 'tools/build-xdp.mjs', '--check'], needs: 'clang' });
  }
  return list;
}

/** A formatter can have much to say; the first of it is enough to act on. */
function cut(output) {
  const text = output.trimEnd();
  return text.length <= 4000 ? text : `${text.slice(0, 4000)}\n... (npm run format mends formatting)`;
}

/** @returns {Promise<{passed: number, failed: number}>} */
export async function lint({ fix = false, log = console.log } = {}) {
  const counts = { passed: 0, failed: 0 };
  const missing = missingFor(['lint']);
  for (const step of steps()) {
    const absent = missing.filter((need) => need.package === step.needs);
    if (absent.length > 0) {
      counts.failed++;
      log(`not ok ${step.name}: ${step.needs} is missing: ${installCommand(absent)}`);
      continue;
    }
    if (fix && step.fix !== undefined) await run(step.fix[0], step.fix.slice(1));
    const { code, output } = await run(step.check[0], step.check.slice(1), { env: { FORCE_COLOR: '0' } });
    counts[code === 0 ? 'passed' : 'failed']++;
    log(code === 0 ? `ok ${step.name}` : `not ok ${step.name}\n${cut(output)}`);
  }
  return counts;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { passed, failed } = await lint({ fix: process.argv.includes('--fix') });
  console.log(`${passed} passed, ${failed} failed`);
  process.exit(failed === 0 ? 0 : 1);
}
