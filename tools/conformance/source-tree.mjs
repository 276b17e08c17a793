// Node's source tree with its tests, from the distribution's source package: found by apt, with its own lists and cache,
// so that nothing of the machine's package management changes and no privilege is needed.
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../run.mjs';

/** Releases of the distribution that carry a source package of Node. */
const SUITES = ['trixie', 'testing', 'sid', 'experimental'];

/** What tests need of the tree. */
const PARTS = ['test', 'deps/v8/tools'];

/** The tests of Node's `major`, or of the newest release before it. @returns {Promise<string>} the tree's folder */
export async function fetchTree(cache, major, log = console.log) {
  const have = treesIn(cache).find((tree) => tree.major === major);
  if (have !== undefined) return have.path;
  const apt = await prepareApt(join(cache, 'apt'), log);
  const wanted = candidates(await availableVersions(apt), major);
  for (const version of wanted) {
    const path = join(cache, `node-${upstreamOf(version)}`);
    if (existsSync(path) || (await fetchVersion(version, path, apt, log))) return path;
  }
  throw new Error(`of Node ${major} and older ones no source package could be fetched (${wanted.length} on offer)`);
}

/** The lists of a mirror can name what it does not, or no longer, have: false then. */
async function fetchVersion(version, path, apt, log) {
  const upstream = upstreamOf(version);
  log(`fetching the source of Node ${upstream}`);
  const download = `${path}.download`;
  mkdirSync(download, { recursive: true });
  const args = [...apt, 'source', '--download-only', `nodejs=${version}`];
  const { output } = await run('apt-get', args, { cwd: download });
  // The status counts every part of the package; apt gives a file its name only when its checksum is right.
  const tarball = readdirSync(download).find((name) => /^nodejs_[^_]*\.orig\.tar\.\w+$/.test(name));
  if (tarball === undefined) log(`the mirror has it not:\n${output.trimEnd().split('\n').slice(-2).join('\n')}`);
  else await unpack(join(download, tarball), path);
  rmSync(download, { recursive: true });
  return tarball !== undefined;
}

function treesIn(cache) {
  if (!existsSync(cache)) return [];
  return readdirSync(cache)
    .map((name) => /^node-((\d+)\.\d+\.\d+)$/.exec(name))
    .filter((match) => match !== null)
    .map((match) => ({ path: join(cache, match[0]), major: Number(match[2]) }));
}

/** Of package versions such as `20.19.2+dfsg-1` those of `major` and below, the newest first. */
export function candidates(versions, major) {
  return [...new Set(versions)]
    .map((version) => ({ version, numbers: upstreamOf(version).split('.').map(Number) }))
    .filter(({ numbers }) => numbers.length === 3 && numbers[0] <= major)
    .sort((a, b) => b.numbers[0] - a.numbers[0] || b.numbers[1] - a.numbers[1] || b.numbers[2] - a.numbers[2])
    .map(({ version }) => version);
}

export function upstreamOf(version) {
  return /^(?:\d+:)?(\d+(?:\.\d+)*)/.exec(version)?.[1] ?? '';
}

/** Lists and cache of its own, from the mirror that this machine is set up for. @returns options for apt */
async function prepareApt(directory, log) {
  const mirror = await findMirror();
  const keyring = '/usr/share/keyrings/debian-archive-keyring.gpg';
  for (const part of ['lists/partial', 'cache/archives/partial']) mkdirSync(join(directory, part), { recursive: true });
  const sources = join(directory, 'sources.list');
  const signed = existsSync(keyring) ? ` [signed-by=${keyring}]` : '';
  writeFileSync(sources, SUITES.map((suite) => `deb-src${signed} ${mirror} ${suite} main\n`).join(''));
  const settings = {
    'Dir::Etc::SourceList': sources,
    'Dir::Etc::SourceParts': '/dev/null',
    'Dir::State::Lists': join(directory, 'lists'),
    'Dir::Cache': join(directory, 'cache'),
    'Acquire::Languages': 'none',
  };
  if (process.getuid?.() === 0) settings['APT::Sandbox::User'] = 'root';
  const options = Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
  log('reading the list of source packages');
  await must('apt-get', [...options, 'update', '--error-on=any']);
  return options;
}

async function findMirror() {
  const { code, output } = await run('apt-get', ['indextargets', '--format', '$(REPO_URI)', 'Created-By: Packages']);
  const mirrors = code === 0 ? output.split('\n').filter((line) => /^https?:\/\/.*\/debian\/?$/.test(line)) : [];
  if (mirrors[0] === undefined) throw new Error('apt names no Debian mirror: give a tree with --tree');
  return mirrors[0];
}

async function availableVersions(apt) {
  const output = await must('apt-cache', [...apt, 'showsrc', '--only-source', 'nodejs']);
  return [...output.matchAll(/^Version: (\S+)$/gm)].map((match) => match[1]);
}

async function unpack(tarball, path) {
  const partial = `${path}.partial`;
  rmSync(partial, { recursive: true, force: true });
  mkdirSync(partial, { recursive: true });
  const wanted = PARTS.map((part) => `*/${part}/*`);
  const args = ['-xf', tarball, '-C', partial, '--strip-components=1', '--wildcards', ...wanted];
  await run('tar', args); // Its status also tells of a part that this version does not have.
  if (!existsSync(join(partial, 'test/common/index.js'))) throw new Error(`${tarball} holds no tests`);
  renameSync(partial, path);
}

async function must(command, args, options = {}) {
  const { code, output } = await run(command, args, { timeoutSeconds: 600, ...options });
  if (code !== 0) throw new Error(`${command} ${args.at(-1)} failed:\n${output.slice(-2000)}`);
  return output;
}
