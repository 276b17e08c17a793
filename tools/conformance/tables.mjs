// What the run prints, and what it writes to docs/compatibility.md.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../files.mjs';

export const DOCUMENT = join(ROOT, 'docs/compatibility.md');
export const README = join(ROOT, 'README.md');

/** Of rows that are no prefixes. */
const NAMES = { all: 'all', 'async-hooks': 'async-hooks/*', elsewhere: 'elsewhere' };

function share(part, whole) {
  return whole === 0 ? '-' : `${((100 * part) / whole).toFixed(0)} %`;
}

function total(rows) {
  const sum = { prefix: 'all', tests: 0, skipped: 0, passedPlain: 0, passedHooked: 0, used: 0 };
  for (const row of rows) for (const key of Object.keys(sum)) if (key !== 'prefix') sum[key] += row[key];
  return sum;
}

/** The table as lines of Markdown, which also reads well in a terminal. */
export function tableOf(rows) {
  const cells = [['tests', 'number', 'skipped', 'passed plain', 'passed under millrace', 'of these through the stack']];
  for (const row of [...rows, total(rows)]) {
    const name = NAMES[row.prefix] ?? `test-${row.prefix}-*`;
    const numbers = [row.tests, row.skipped, row.passedPlain, row.passedHooked];
    cells.push([name, ...numbers.map(String), `${row.used} (${share(row.used, row.passedHooked)})`]);
  }
  const widths = cells[0].map((_, column) => Math.max(...cells.map((line) => line[column].length)));
  const lines = cells.map((line) => {
    const padded = line.map((cell, column) =>
      column === 0 ? cell.padEnd(widths[column]) : cell.padStart(widths[column]),
    );
    return `| ${padded.join(' | ')} |`;
  });
  const rule = widths.map((width, column) => (column === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`));
  lines.splice(1, 0, `| ${rule.join(' | ')} |`);
  return lines;
}

/** The list of exceptions as Markdown. */
export function exceptionsOf(expectations) {
  const lines = ['| test | Node | why it differs |', '| --- | --- | --- |'];
  for (const { test, nodes, without, reason } of expectations) {
    const where = without === undefined ? nodes.join(', ') : `${nodes.join(', ')} without ${without}`;
    lines.push(`| \`${test}\` | ${where} | ${reason.replaceAll('|', '\\|')} |`);
  }
  return lines;
}

/** Replaces what stands between `<!-- name -->` and `<!-- /name -->`. @throws Error when there is no such part */
export function replacePart(text, name, lines) {
  const opening = `<!-- ${name} -->\n`;
  const start = text.indexOf(opening);
  const end = text.indexOf(`<!-- /${name} -->`);
  if (start < 0 || end < start) throw new Error(`the document has no part '${name}'`);
  return `${text.slice(0, start + opening.length)}${lines.join('\n')}\n${text.slice(end)}`;
}

/** The summary with the line of one version of Node put in its place; a line for another release of it goes. */
export function summaryWith(text, version, rows) {
  const all = total(rows);
  const numbers = [all.tests, all.passedPlain, all.passedHooked, all.used, all.passedPlain - all.passedHooked];
  const major = (line) => Number(/^\| (\d+)\./.exec(line)?.[1]);
  const line = `| ${[version, ...numbers].join(' | ')} |`;
  const part = /<!-- node tests -->\n([\s\S]*?)<!-- \/node tests -->/.exec(text)?.[1] ?? '';
  const kept = part.split('\n').filter((other) => /^\| \d/.test(other) && major(other) !== major(line));
  return replacePart(text, 'node tests', [
    '| Node | tests | pass plain | pass under millrace | through the stack | differ |',
    '|---|---:|---:|---:|---:|---:|',
    ...[...kept, line].sort((a, b) => major(a) - major(b)),
  ]);
}

/** Writes the table of one major version of Node, the exceptions, and the line in the README. */
export function writeDocument({ version, major, treeVersion, rows, expectations, path = DOCUMENT, readme = README }) {
  const heading = [`Node ${version}, tests of ${treeVersion}:`, ''];
  let text = readFileSync(path, 'utf8');
  text = replacePart(text, `node ${major}`, [...heading, ...tableOf(rows)]);
  text = replacePart(text, 'exceptions', exceptionsOf(expectations));
  writeFileSync(path, text);
  writeFileSync(readme, summaryWith(readFileSync(readme, 'utf8'), version, rows));
}
