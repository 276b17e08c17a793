// Every script, test and attack that docs/tcp-ip.md names must exist. Run by `npm run lint`.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { listFiles, ROOT } from './files.mjs';

const DOCUMENT = 'docs/tcp-ip.md';
const ATTACKS = 'test/e2e/attack-rows.test.ts';

/** Titles of doctest cases, adjacent string literals put together. */
function titlesOf(path) {
  const text = readFileSync(path, 'utf8').replace(/"\s*\n\s*"/g, '');
  return [...text.matchAll(/TEST_CASE\(\s*"([^"]*)"/g)].map((match) => match[1]);
}

function attackNames() {
  const text = readFileSync(join(ROOT, ATTACKS), 'utf8');
  return new Set([...text.matchAll(/^ {2}'?([a-z0-9-]+)'?: /gm)].map((match) => match[1]));
}

/** @returns {(claim: string) => boolean} whether what is named exists */
function finder() {
  const scripts = listFiles(ROOT)
    .filter((path) => path.startsWith('test/scripts/') && path.endsWith('.mrs'))
    .map((path) => path.slice('test/scripts/'.length, -'.mrs'.length));
  const attacks = attackNames();
  return (claim) => {
    const [place, title] = claim.split(/: (.*)/s);
    if (place === 'attack-rows') return attacks.has(title);
    if (place.endsWith('.test.ts')) {
      const path = join(ROOT, 'test', place);
      return existsSync(path) && (title === undefined || readFileSync(path, 'utf8').includes(title));
    }
    if (title !== undefined) {
      const path = join(ROOT, 'test/native', place);
      return existsSync(path) && titlesOf(path).some((found) => found.includes(title));
    }
    if (!place.endsWith('*')) return scripts.includes(place);
    return scripts.some((script) => script.startsWith(place.slice(0, -1)));
  };
}

/** The claims of each row of each table, by the row's line. */
export function claims(text) {
  const found = [];
  for (const [index, line] of text.split('\n').entries()) {
    const cells = line.split('|').map((cell) => cell.trim());
    if (cells.length !== 6 || cells[4] === 'shown by' || /^-+$/.test(cells[4])) continue;
    found.push({ line: index + 1, names: [...cells[4].matchAll(/`([^`]+)`/g)].map((match) => match[1]) });
  }
  return found;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const exists = finder();
  let failures = 0;
  for (const { line, names } of claims(readFileSync(join(ROOT, DOCUMENT), 'utf8'))) {
    const missing = names.length === 0 ? ['a row without a test'] : names.filter((name) => !exists(name));
    for (const name of missing) console.log(`${DOCUMENT}:${line}: ${name}`);
    failures += missing.length;
  }
  process.exit(failures === 0 ? 0 : 1);
}
