// The files of a tree, for the checks: what git knows or would add, or everything when it is no git checkout.
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The repository that this tool is part of. */
export const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));

const NOT_SOURCES = new Set(['node_modules', 'dist', 'build', '.git', '.tap', '.cache']);

/** Paths relative to `root`, with forward slashes, sorted. */
export function listFiles(root) {
  if (existsSync(join(root, '.git'))) {
    const args = ['-C', root, 'ls-files', '-z', '--cached', '--others', '--exclude-standard'];
    const names = execFileSync('git', args, { encoding: 'utf8', maxBuffer: 1 << 26 }).split('\0');
    return [...new Set(names)].filter((name) => name !== '' && existsSync(join(root, name))).sort();
  }
  return walk(root, root).sort();
}

function walk(root, directory) {
  return readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
    const path = join(directory, entry.name);
    if (entry.isDirectory())
      return NOT_SOURCES.has(entry.name) || entry.name.startsWith('build-') ? [] : walk(root, path);
    return [relative(root, path)];
  });
}

/** Blanks out comments and the inside of string literals; line numbers and columns stay. */
export function withoutComments(text, { keepStrings = false } = {}) {
  const blank = (match) => match.replace(/[^\n]/g, ' ');
  return text.replace(
    /\/\/[^\n]*|\/\*[\s\S]*?\*\/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\[\s\S]|[^`\\])*`/g,
    (match, offset, whole) => {
      if (match.startsWith('/')) return blank(match);
      // A digit separator of C++ (65'536) is no quote.
      if (match.startsWith("'") && /[0-9a-fA-F]/.test(whole[offset - 1] ?? '') && /^'[0-9a-fA-F]/.test(match))
        return match;
      return keepStrings ? match : match[0] + blank(match.slice(1, -1)) + match.at(-1);
    },
  );
}

/** 1-based line of an offset. */
export function lineAt(text, offset) {
  let line = 1;
  for (let at = text.indexOf('\n'); at >= 0 && at < offset; at = text.indexOf('\n', at + 1)) line++;
  return line;
}

/** Prints what a check found and ends the process: 0 when nothing. */
export function finish(name, problems) {
  for (const problem of problems) console.error(problem);
  console.log(problems.length === 0 ? `${name}: ok` : `${name}: ${problems.length} problem(s)`);
  process.exit(problems.length === 0 ? 0 : 1);
}
