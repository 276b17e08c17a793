// SPDX-License-Identifier: MIT
// The guest's kernel: Debian's own package, unpacked beside an initramfs into a cache that git ignores. Nothing of the
// machine is changed: the package is not installed.
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { ROOT } from '../files.mjs';
import { run } from '../run.mjs';

/** Debian's, by the package that depends on the newest of its series. */
const DEFAULT_KERNEL = 'linux-image-amd64';
const CACHE = join(ROOT, '.cache/guest');
const INIT = join(ROOT, 'tools/guest/init.sh');

/** What the first process needs before it has a file system to load modules from; with what these depend on. */
const FIRST_MODULES = ['virtio_pci', '9pnet_virtio', '9p', 'overlay', 'virtio_console'];

/** The archive could not be asked, or has no such kernel. */
export class KernelMissing extends Error {}

async function must(command, args, options = {}) {
  const { code, output } = await run(command, args, { timeoutSeconds: 300, ...options });
  if (code !== 0) throw new Error(`${command} ${args.join(' ')}: code ${code}\n${output.slice(-2000)}`);
  return output;
}

/** A folder made whole under another name first, so that an interrupted run leaves nothing half done. */
async function whole(folder, make) {
  if (existsSync(folder)) return;
  const scratch = `${folder}.${process.pid}`;
  rmSync(scratch, { recursive: true, force: true });
  mkdirSync(scratch, { recursive: true });
  try {
    await make(scratch);
    if (!existsSync(folder)) renameSync(scratch, folder);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** The package that one without a version stands for. */
async function newestPackage(name) {
  const text = await must('apt-cache', ['depends', name]);
  const match = /Depends: (linux-image-\S+)/.exec(text);
  if (match === null) throw new Error(`no kernel package ${name} known to apt:\n${text}`);
  return match[1];
}

async function unpack(folder, name) {
  await must('apt-get', ['download', name], { cwd: folder });
  const file = readdirSync(folder).find((entry) => entry.endsWith('.deb'));
  await must('dpkg', ['-x', join(folder, file), folder]);
  rmSync(join(folder, file));
  const version = readdirSync(join(folder, 'lib/modules'))[0];
  await must('depmod', ['-b', folder, version]);
}

async function buildInitramfs(folder, tree, version) {
  const base = join(folder, 'files');
  for (const name of ['bin', 'modules', 'proc', 'sys', 'dev', 'host', 'top', 'merged'])
    mkdirSync(join(base, name), { recursive: true });
  const busybox = ['/bin/busybox', '/usr/bin/busybox'].find(existsSync);
  copyFileSync(busybox, join(base, 'bin/busybox'));
  copyFileSync(INIT, join(base, 'init'));
  const order = [];
  for (const module of FIRST_MODULES) {
    const text = await must('modprobe', ['-d', tree, '-S', version, '--show-depends', module]);
    for (const [, path] of text.matchAll(/^insmod (\S+)/gm)) {
      const name = basename(path);
      if (order.includes(name)) continue;
      order.push(name);
      copyFileSync(path, join(base, 'modules', name));
    }
  }
  writeFileSync(join(base, 'modules/order'), `${order.join('\n')}\n`);
  const pack = 'chmod 755 init bin/busybox && find . | cpio --quiet -o -H newc -R 0:0 | gzip -1 > ../initramfs.gz';
  await must('sh', ['-c', pack], { cwd: base });
}

/**
 * A kernel by the package that always depends on the newest of its series (linux-image-amd64, linux-image-6.12-amd64),
 * from the cache, fetched when it is not there. Gives its version, its image, its tree (with lib/modules) and an
 * initramfs.
 */
export async function prepareKernel(name = DEFAULT_KERNEL, log = () => {}) {
  mkdirSync(CACHE, { recursive: true });
  const tree = join(CACHE, name);
  if (!existsSync(tree)) {
    const fetch = async () => {
      const newest = await newestPackage(name);
      log(`fetching ${newest}`);
      await whole(tree, (scratch) => unpack(scratch, newest));
    };
    // What apt knows of may be gone by now, or it knows of nothing yet.
    await fetch()
      .catch(async () => {
        await must('apt-get', ['update']);
        await fetch();
      })
      .catch((error) => {
        throw new KernelMissing(error.message);
      });
  }
  const version = readdirSync(join(tree, 'lib/modules'))[0];
  const start = join(tree, 'start');
  const stale = existsSync(start) && readFileSync(join(start, 'files/init'), 'utf8') !== readFileSync(INIT, 'utf8');
  if (stale) rmSync(start, { recursive: true, force: true });
  await whole(start, (scratch) => buildInitramfs(scratch, tree, version));
  return { version, tree, image: join(tree, 'boot', `vmlinuz-${version}`), initramfs: join(start, 'initramfs.gz') };
}
