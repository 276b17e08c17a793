// Style that a script can hold: sizes, words that must not stay, headers, a test for every source.
// `node tools/tidy.mjs [root]`.
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { finish, listFiles, ROOT } from './files.mjs';
import { longFunctionsOfCpp, longFunctionsOfTypeScript } from './function-length.mjs';
import { coveredElsewhere, isTypesOnly, UNTESTED } from './untested.mjs';

const LINES_MAX = { source: 600, test: 1000, tool: 400 };
const FUNCTION_LINES_MAX = 70;

// Written in pieces, so that this file does not contain what it forbids.
const UNFINISHED = new RegExp(`\\b(?:${['TO' + 'DO', 'FIX' + 'ME', 'XX' + 'X', 'HA' + 'CK'].join('|')})\\b`);
const WORDS = [
  [UNFINISHED, 'unfinished work: do it or write an issue', /./],
  [new RegExp(`\\bnot ${'implemented'}\\b`, 'i'), 'unfinished work', /^(?:native|lib|compat)\//],
  [
    new RegExp(`(?:^|[^\\w./-])/(?:${['wo' + 'rk', 'ro' + 'ot', 'ho' + 'me'].join('|')})/`),
    'a path of one machine',
    /./,
  ],
  [new RegExp(`\\.(?:on${'ly'}|sk${'ip'})\\(`), 'a test that is singled out or left out', /^test\/.*\.ts$/],
  [/^\s*using namespace std;/, 'names are written with std::', /^(?:native|test)\/.*\.(?:h|cc)$/],
  [
    /\b(?:s?rand|strcpy|strcat|sprintf|alloca|setjmp)\s*\(/,
    'a function with a better replacement',
    /^native\/.*\.(?:h|cc)$/,
  ],
  [/\bthrow\s|\bdynamic_cast\b|\btypeid\b/, 'no exceptions and no RTTI', /^native\/.*\.(?:h|cc)$/],
  [
    /\bstd::(?:random_device|mt19937)|\bsystem_clock\b/,
    'randomness and time are parameters',
    /^native\/(?!addon).*\.(?:h|cc)$/,
  ],
];

const TEXT =
  /\.(?:ts|mts|mjs|cjs|js|json|md|cc|h|c|txt|yml|yaml|gyp|cmake|sh|toml)$|(?:^|\/)(?:\.ci\/run|CMakeLists\.txt|LICENSE|\.[a-z-]+)$/;

/** All problems under `root`, one line each. */
export function tidy(root) {
  const files = listFiles(root);
  const present = new Set(files);
  const problems = [];
  for (const path of files) {
    if (!TEXT.test(path)) continue;
    const text = readFileSync(join(root, path), 'utf8');
    if (/(?:^|\/)package-lock\.json$/.test(path)) {
      if (/"resolved":/.test(text))
        problems.push(`${path}: names a registry; npm config set omit-lockfile-registry-resolved true`);
      continue;
    }
    problems.push(...checkWords(path, text), ...checkSize(path, text), ...checkHeader(path, text));
    problems.push(...checkTested(path, text, present));
  }
  if (root === ROOT) {
    for (const path of Object.entries(UNTESTED).flat()) {
      if (!present.has(path) && !files.some((file) => file.startsWith(path)))
        problems.push(`tools/untested.mjs: ${path} does not exist`);
    }
  }
  return problems;
}

function checkWords(path, text) {
  const problems = [];
  for (const [index, line] of text.split('\n').entries()) {
    for (const [pattern, why, where] of WORDS) {
      if (where.test(path) && pattern.test(line)) {
        problems.push(`${path}:${index + 1}: '${pattern.exec(line)[0].trim()}': ${why}`);
      }
    }
    if (/[ \t]$/.test(line) && !path.endsWith('.md')) problems.push(`${path}:${index + 1}: white space at the end`);
  }
  if (text !== '' && !text.endsWith('\n')) problems.push(`${path}: no newline at the end`);
  return problems;
}

function checkSize(path, text) {
  const kind = /^(?:native|lib|compat)\//.test(path)
    ? 'source'
    : /^test\//.test(path)
      ? 'test'
      : /^tools\//.test(path)
        ? 'tool'
        : null;
  if (kind === null || !/\.(?:ts|mts|mjs|js|cc|h|c)$/.test(path) || isGenerated(text)) return [];
  const problems = [];
  const lines = text.split('\n').length - 1;
  if (lines > LINES_MAX[kind])
    problems.push(`${path}: ${lines} lines, at most ${LINES_MAX[kind]}: split it by what it does`);
  if (kind !== 'source') return problems;
  const find = /\.(?:cc|h|c)$/.test(path) ? longFunctionsOfCpp : longFunctionsOfTypeScript;
  for (const { name, line, lines: length } of find(text, FUNCTION_LINES_MAX)) {
    problems.push(`${path}:${line}: ${name} has ${length} lines, at most ${FUNCTION_LINES_MAX}`);
  }
  return problems;
}

function isGenerated(text) {
  return (
    /^(?:\/\/|\/\*).{0,200}\b[Gg]enerated\b/s.test(text.slice(0, 400)) && /\bdo not edit\b/i.test(text.slice(0, 400))
  );
}

function checkHeader(path, text) {
  if (!/^native\/.*\.(?:h|cc)$/.test(path)) return [];
  const problems = [];
  if (!/^(?:\/\/|\/\*) SPDX-License-Identifier: MIT\n/.test(text))
    problems.push(`${path}:1: begins without its SPDX line`);
  if (path.endsWith('.h') && !/^#pragma once$/m.test(text)) problems.push(`${path}: no #pragma once`);
  return problems;
}

function checkTested(path, text, present) {
  if (!/^(?:lib|compat)\/.*\.ts$/.test(path) || coveredElsewhere(path) || isTypesOnly(text)) return [];
  const test = `test/${path.replace(/\.ts$/, '.test.ts')}`;
  return present.has(test) ? [] : [`${path}: no ${test} (or say in tools/untested.mjs which test covers it)`];
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  finish('tidy', tidy(resolve(process.argv[2] ?? ROOT)));
}
