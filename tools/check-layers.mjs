// Holds the layers: a table of who may include or import whom, over every source. `node tools/check-layers.mjs [root]`.
import { readFileSync } from 'node:fs';
import { dirname, join, posix, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { finish, lineAt, listFiles, ROOT, withoutComments } from './files.mjs';

/** native/<layer> may include these layers (and itself), or a single header named in full. */
const NATIVE = {
  base: [],
  wire: ['base'],
  packet: ['base', 'wire'],
  net: ['base', 'wire', 'packet', 'port/port.h'],
  udp: ['base', 'wire', 'packet', 'net'],
  tcp: ['base', 'wire', 'packet', 'net'],
  port: ['base', 'wire', 'packet'],
  steer: ['base', 'wire', 'packet'],
  control: ['base', 'wire', 'net'],
  // A shared object of its own: what is in it, and the table that the stack opens it by.
  plugin: ['base', 'wire', 'packet', 'port', 'steer'],
  stack: ['base', 'wire', 'packet', 'net', 'udp', 'tcp', 'port', 'steer', 'control', 'plugin/dpdk/abi.h'],
  testing: ['base', 'wire', 'packet', 'net', 'udp', 'tcp', 'port/port.h'],
  addon: ['base', 'wire', 'packet', 'net', 'udp', 'tcp', 'stack', 'steer', 'control', 'port/port.h'],
};

/** Protocol code has no system calls and no clock: time and packets are handed to it. */
const PURE = new Set(['wire', 'packet', 'net', 'udp', 'tcp']);
const SYSTEM =
  /^(?:sys\/|linux\/|net\/|netinet\/|arpa\/|bits\/|unistd\.h|fcntl\.h|poll\.h|pthread\.h|time\.h|ctime|chrono|thread|mutex|cstdio|iostream|fstream)/;
const NODE_HEADERS = /^(?:napi\.h|node_api\.h|js_native_api\.h|node\.h|uv\.h|v8\.h)$/;

/** Modules with sockets of their own: the library must not lean on what it replaces. */
const NODE_NETWORKING = new Set(['net', 'dgram', 'tls', 'http', 'https', 'http2']);
const LOADER = 'node-gyp-build';

/** All violations under `root`, one line each. */
export function checkLayers(root) {
  const files = listFiles(root);
  const problems = [];
  for (const path of files) {
    if (/^native\/.*\.(?:h|cc|c)$/.test(path)) problems.push(...checkNative(root, path));
    else if (/^(?:lib|compat)\/.*\.[cm]?ts$/.test(path)) problems.push(...checkScript(root, path));
  }
  return problems;
}

function checkNative(root, path) {
  const [, layer, folder] = path.split('/');
  // The program that runs in the kernel is built on its own, with the kernel's headers.
  if (path.endsWith('.bpf.c')) return [];
  const allowed = NATIVE[layer];
  if (allowed === undefined) return [`${path}: native/${layer} is not a layer of tools/check-layers.mjs`];
  const problems = [];
  const text = withoutComments(readFileSync(join(root, path), 'utf8'), { keepStrings: true });
  for (const match of text.matchAll(/^[ \t]*#[ \t]*include[ \t]*(?:"([^"]+)"|<([^>]+)>)/gm)) {
    const [, own, system] = match;
    const report = (what) => problems.push(`${path}:${lineAt(text, match.index)}: ${what}`);
    if (NODE_HEADERS.test(own ?? system)) {
      if (layer !== 'addon') report(`${own ?? system}: only native/addon knows Node and libuv`);
    } else if (system !== undefined) {
      if (PURE.has(layer) && SYSTEM.test(system))
        report(`<${system}>: ${layer} makes no system calls and has no clock`);
    } else {
      const problem = judgeInclude(layer, folder, allowed, own);
      if (problem !== null) report(problem);
    }
  }
  return problems;
}

function judgeInclude(layer, folder, allowed, own) {
  const [target, targetFolder, rest] = own.split('/');
  if (!(target in NATIVE) || targetFolder === undefined)
    return `"${own}": write includes from native/, as "layer/file.h"`;
  if (target === layer) {
    const otherPort = layer === 'port' && rest !== undefined && targetFolder !== folder;
    return otherPort ? `"${own}": one port does not know another` : null;
  }
  if (allowed.includes(target) || allowed.includes(own)) return null;
  return `"${own}": ${layer} may include ${allowed.join(', ') || 'nothing else'}`;
}

function checkScript(root, path) {
  const problems = [];
  const text = withoutComments(readFileSync(join(root, path), 'utf8'), { keepStrings: true });
  const pattern =
    /\b(?:(?:import|export)\s+(?:type\s)?(?:[\w*{}\s,$]+?\sfrom\s*)?|(?:require(?:\.resolve)?|import)\s*\(\s*)(['"])([^'"\n]+)\1/g;
  for (const match of text.matchAll(pattern)) {
    const problem = judgeImport(path, match[2]);
    if (problem !== null) problems.push(`${path}:${lineAt(text, match.index)}: ${problem}`);
  }
  return problems;
}

function judgeImport(path, target) {
  const layer = path.split('/')[0];
  if (target === LOADER || target.endsWith('.node')) {
    return path === 'lib/binding.ts' ? null : `${target}: only lib/binding.ts loads the addon`;
  }
  if (!target.startsWith('.')) {
    const module = target.replace(/^node:/, '').split('/')[0];
    return layer === 'lib' && NODE_NETWORKING.has(module) ? `${target}: lib does not use Node's own networking` : null;
  }
  const file = posix.normalize(posix.join(dirname(path), target)).replace(/\.[cm]?[jt]s$/, '');
  if (file.startsWith('..')) return `${target}: outside of the package`;
  if (layer === 'lib')
    return file === 'compat' || file.startsWith('compat/') ? `${target}: lib does not know compat` : null;
  // engine.ts is the contract between the two: types and a constant.
  const open = file === 'lib' || file === 'lib/index' || file === 'lib/engine';
  return open || !file.startsWith('lib/') ? null : `${target}: compat imports lib/index and lib/engine only`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  finish('layers', checkLayers(resolve(process.argv[2] ?? ROOT)));
}
