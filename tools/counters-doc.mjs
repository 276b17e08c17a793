// docs/counters.md from the sources: the lists X(name, meaning) of the layers, and Stack::each_counter, which names the
// group of each list and adds counters of its own.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { listFiles } from './files.mjs';

const TEXT = '((?:"(?:[^"\\\\]|\\\\.)*"[\\s\\\\]*)+)';

/** Adjacent string literals as one. */
function unquote(literals) {
  return [...literals.matchAll(/"((?:[^"\\]|\\.)*)"/g)].map((match) => match[1].replace(/\\(.)/g, '$1')).join('');
}

/** name of the macro -> [[name, meaning], ...] */
function readLists(root) {
  const lists = new Map();
  for (const path of listFiles(root).filter((file) => /^native\/.*\.h$/.test(file))) {
    const text = readFileSync(join(root, path), 'utf8');
    for (const [, macro, body] of text.matchAll(/^#define (MILLRACE_\w+_COUNTERS)\(X\)((?:[^\n]*\\\n)*[^\n]*)/gm)) {
      const entries = [...body.matchAll(new RegExp(`\\bX\\(\\s*(\\w+)\\s*,[\\s\\\\]*${TEXT}\\)`, 'g'))];
      lists.set(
        macro,
        entries.map(([, name, meaning]) => [name, unquote(meaning)]),
      );
    }
  }
  return lists;
}

/** [[group, name, meaning], ...] in the order in which the stack reports them. */
export function readCounters(root) {
  const lists = readLists(root);
  const text = readFileSync(join(root, 'native/stack/stack.h'), 'utf8');
  const pattern = new RegExp(
    `visit\\("(\\w+)",\\s*(?:"(\\w+)",\\s*${TEXT}|#name,\\s*meaning,[^\\n]*\\n\\s*(MILLRACE_\\w+_COUNTERS)\\(X\\))`,
    'g',
  );
  return [...text.matchAll(pattern)].flatMap(([, group, name, meaning, macro]) => {
    if (macro === undefined) return [[group, name, unquote(meaning)]];
    const list = lists.get(macro);
    if (list === undefined || list.length === 0) throw new Error(`native/stack/stack.h: no entries of ${macro} found`);
    return list.map(([entry, what]) => [group, entry, what]);
  });
}

export function countersAsMarkdown(root) {
  const counters = readCounters(root);
  const groups = [...new Set(counters.map(([group]) => group))];
  const lines = [
    '# Counters',
    '',
    'Written from the sources by `npm run docs`. `require("millrace").stats()` returns them, and `MILLRACE_REPORT=<file>`',
    'writes them as JSON when the program ends. They count from the start of the stack.',
  ];
  for (const group of groups) {
    lines.push('', `## ${group}`, '', '| counter | meaning |', '|---|---|');
    const rows = counters.filter(([of]) => of === group);
    lines.push(...rows.map(([, name, meaning]) => `| \`${name}\` | ${meaning.replaceAll('|', '\\|')} |`));
  }
  return `${lines.join('\n')}\n`;
}
