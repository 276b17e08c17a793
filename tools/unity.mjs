// For binding.gyp, which compiles from nothing wherever it runs: `node tools/unity.mjs NAME FOLDER|FILE...` joins the
// sources of each layer of native/ in one file of build/unity/NAME and prints their paths. Headers are most of what a
// source costs. Of a folder that stands for a layer what needs DPDK is left out.
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Of a shared object of its own, unless they are named. */
const OF_DPDK = ['native/port/dpdk', 'native/steer/rte_flow'];

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');

function sourcesOf(place) {
  if (statSync(join(root, place)).isFile()) return [place];
  const names = readdirSync(join(root, place), { recursive: true });
  const sources = names.filter((name) => name.endsWith('.cc')).map((name) => join(place, name));
  return sources.filter((source) => !OF_DPDK.some((folder) => folder !== place && source.startsWith(`${folder}/`)));
}

const [name, ...places] = process.argv.slice(2);
const folder = join(root, 'build/unity', name);
mkdirSync(folder, { recursive: true });
const layers = new Map();
for (const source of places.flatMap(sourcesOf).sort()) {
  const layer = source.split('/')[1];
  layers.set(layer, [...(layers.get(layer) ?? []), source]);
}
for (const [layer, sources] of layers) {
  const file = join(folder, `${layer}.cc`);
  const text = sources.map((source) => `#include "${relative(folder, join(root, source))}"\n`).join('');
  // As it was: make need not compile it again.
  if (!existsSync(file) || readFileSync(file, 'utf8') !== text) writeFileSync(file, text);
  console.log(relative(root, file));
}
