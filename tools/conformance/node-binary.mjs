// The Node that is tested: the one that runs this, one that is named, or one from npm's node-linux-* packages.
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../run.mjs';

/** @returns {Promise<{path: string, version: string, major: number}>} version without the v */
export async function findNode({ node, nodeVersion }, cache, log = console.log) {
  let path = node ?? process.execPath;
  if (nodeVersion !== undefined) path = await installNode(nodeVersion, cache, log);
  const { code, output } = await run(path, ['-p', 'process.versions.node']);
  const version = /^\d+\.\d+\.\d+\S*$/m.exec(output)?.[0];
  if (code !== 0 || version === undefined) throw new Error(`${path} is no Node that runs here:\n${output}`);
  return { path, version, major: Number.parseInt(version, 10) };
}

async function installNode(wanted, cache, log) {
  if (!/^\d+(?:\.\d+){0,2}$/.test(wanted)) throw new Error(`--node-version ${wanted}: not of the form 22 or 22.1.0`);
  const name = `node-linux-${process.arch}`;
  const directory = join(cache, `binary-${wanted}`);
  const path = join(directory, 'node_modules', name, 'bin/node');
  if (existsSync(path)) return path;
  log(`fetching Node ${wanted}`);
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, 'package.json'), '{ "private": true }\n');
  const args = ['install', '--no-save', '--no-audit', '--no-fund', '--ignore-scripts', `${name}@${wanted}`];
  const { code, output } = await run('npm', args, { cwd: directory });
  if (code !== 0 || !existsSync(path)) throw new Error(`npm could not install ${name}@${wanted}:\n${output}`);
  return path;
}
