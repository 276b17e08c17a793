// The matrix as a table, for the terminal and for docs/compatibility.md.
import { readFileSync, writeFileSync } from 'node:fs';
import { DOCUMENT, replacePart } from '../conformance/tables.mjs';
import { VERSIONS } from './install.mjs';

/** How a run under millrace went, with the connections that its stack had. */
function outcome(result, side) {
  if (!result.row.sides.includes(side)) return '-';
  const run = result.runs.find((one) => one.side === side);
  const failed = result.problems.some((text) => text.startsWith(`millrace as ${side}`));
  return run === undefined || failed ? 'differs' : `same (${run.connections})`;
}

/** The table as lines of Markdown. */
export function tableOf(results) {
  const out = [
    '| packages | peer | as client | as server | results compared | what they check |',
    '| --- | --- | --- | --- | ---: | --- |',
  ];
  for (const result of results) {
    const { row, runs } = result;
    const names = row.packages.map((name) => `${name} ${VERSIONS[name]}`).join(', ');
    const steps = runs[0]?.steps;
    const cells = [
      names + (row.note === undefined ? '' : ` (${row.note})`),
      row.server ?? row.front ?? 'Node',
      outcome(result, 'client'),
      outcome(result, 'server'),
      steps === undefined ? 0 : steps.client.length + steps.server.length,
      row.checks,
    ];
    out.push(`| ${cells.join(' | ')} |`);
  }
  return out;
}

/** What names a row in the table: its packages. */
const nameOf = (line) => line.split(' | ', 1)[0];

/** The table with the lines of `results` in it, instead of what it said of these rows before. */
export function tableWith(table, results) {
  const fresh = new Map(tableOf(results).map((line) => [nameOf(line), line]));
  return table.map((line) => fresh.get(nameOf(line)) ?? line);
}

/** Writes the table between its markers in docs/compatibility.md; of a part of the rows, these alone. */
export function writeDocument(results, nodeVersion, { complete }) {
  const text = readFileSync(DOCUMENT, 'utf8');
  const before = /<!-- ecosystem -->\n([\s\S]*?)\n<!-- \/ecosystem -->/.exec(text)?.[1].split('\n') ?? [];
  const heading = `Node ${nodeVersion}:`;
  if (!complete && before[0] !== heading) throw new Error('the table is of another Node: --docs needs a whole run');
  const lines = complete ? [heading, '', ...tableOf(results)] : tableWith(before, results);
  writeFileSync(DOCUMENT, replacePart(text, 'ecosystem', lines));
}
