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
      row.server ?? 'Node',
      outcome(result, 'client'),
      outcome(result, 'server'),
      steps === undefined ? 0 : steps.client.length + steps.server.length,
      row.checks,
    ];
    out.push(`| ${cells.join(' | ')} |`);
  }
  return out;
}

/** Writes the table between its markers in docs/compatibility.md. */
export function writeDocument(results, nodeVersion) {
  const text = readFileSync(DOCUMENT, 'utf8');
  writeFileSync(DOCUMENT, replacePart(text, 'ecosystem', [`Node ${nodeVersion}:`, '', ...tableOf(results)]));
}
