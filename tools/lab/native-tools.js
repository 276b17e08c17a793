// SPDX-License-Identifier: MIT
// Compiles the small native helpers of test/tools on demand into build/tools, which git ignores.
'use strict';

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const root = path.resolve(__dirname, '../..');
const kFlags = ['-std=c++20', '-O2', '-g', '-Wall', '-Wextra', '-fno-exceptions', '-fno-rtti', '-pthread'];

/** Path of the helper `name`, compiled from test/tools/<name>*.cc when it is missing or older than a source. */
function nativeTool(name) {
  const folder = path.join(root, 'test/tools');
  const all = fs.readdirSync(folder);
  const sources = all.filter((file) => file === `${name}.cc` || (file.startsWith(`${name}_`) && file.endsWith('.cc')));
  if (sources.length === 0) throw new Error(`no helper named ${name} in ${folder}`);
  const inputs = [...sources, ...all.filter((file) => file.endsWith('.h'))];
  const newest = Math.max(...inputs.map((file) => fs.statSync(path.join(folder, file)).mtimeMs));
  const output = path.join(root, 'build/tools', name);
  if (fs.existsSync(output) && fs.statSync(output).mtimeMs >= newest) return output;
  fs.mkdirSync(path.dirname(output), { recursive: true });
  const scratch = `${output}.${process.pid}`;
  const args = [...kFlags, '-I', folder, '-o', scratch, ...sources.map((file) => path.join(folder, file))];
  execFileSync(process.env.CXX ?? 'g++', args, { stdio: ['ignore', 'inherit', 'inherit'], timeout: 180000 });
  fs.renameSync(scratch, output);
  return output;
}

module.exports = { nativeTool };
