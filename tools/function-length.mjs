// Functions that are longer than a limit, in C++ (by braces: the sources are formatted) and TypeScript (by its parser).
import ts from 'typescript';
import { lineAt, withoutComments } from './files.mjs';

/** [{name, line, lines}] of functions with more than `max` lines, from signature to closing brace. */
export function longFunctionsOfTypeScript(text, max) {
  const source = ts.createSourceFile('x.ts', text, ts.ScriptTarget.ES2022, true);
  const found = [];
  const visit = (node) => {
    if (ts.isFunctionLike(node) && node.body !== undefined) {
      const first = source.getLineAndCharacterOfPosition(node.getStart()).line;
      const last = source.getLineAndCharacterOfPosition(node.getEnd()).line;
      const lines = last - first + 1;
      if (lines > max) found.push({ name: node.name?.getText() ?? 'a function', line: first + 1, lines });
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

/** The same for C++: a body is the first block with parentheses in front that is not inside of another one. */
export function longFunctionsOfCpp(text, max) {
  const code = withoutComments(text).replace(/^[ \t]*#(?:[^\n]*\\\n)*[^\n]*/gm, (match) =>
    match.replace(/[^\n]/g, ' '),
  );
  const found = [];
  const open = [];
  let statement = 0;
  for (let at = 0; at < code.length; at++) {
    const char = code[at];
    if (char === '{') {
      const head = code.slice(statement, at);
      const inside = open.some((block) => block.body);
      open.push({ body: !inside && isSignature(head), start: statement + head.search(/\S|$/), head });
      statement = at + 1;
    } else if (char === '}') {
      const block = open.pop();
      statement = at + 1;
      if (block?.body !== true) continue;
      const first = lineAt(code, block.start);
      const lines = lineAt(code, at) - first + 1;
      if (lines > max) found.push({ name: nameOf(block.head), line: first, lines });
    } else if (char === ';' || (char === ':' && /\b(?:public|private|protected)\s*$/.test(code.slice(statement, at)))) {
      statement = at + 1;
    }
  }
  return found;
}

function isSignature(head) {
  return head.includes('(') && !/^\s*(?:namespace|enum|union|extern)\b/.test(head) && !/=\s*$/.test(head);
}

function nameOf(head) {
  return /([~\w:]+)\s*\(/.exec(head)?.[1] ?? 'a function';
}
