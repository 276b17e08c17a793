// Which tests of TCP and UDP run over which port: all of them over each, as far as a port can have them.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './files.mjs';

/** Files of test/e2e that name their ports and devices themselves: they run once, whatever the port. */
export const OF_DPDK = ['dpdk', 'dpdk-shared'];
/** Instead of a file: Node's own tests of net and dgram. */
export const NODE = 'node';

const testsIn = (folder, pattern = /^(.*)\.test\.ts$/) =>
  readdirSync(join(ROOT, 'test', folder)).flatMap((name) => pattern.exec(name)?.[1] ?? []);

const E2E = testsIn('e2e').filter((name) => !OF_DPDK.includes(name));
/** Over memory a program has no interface of the kernel's but a tap of its own, which nobody else takes away. */
const OVER_MEMORY = E2E.filter((name) => name !== 'gone');
const IN_PROCESS = [
  ...testsIn('compat/loopback').map((name) => `loopback/${name}`),
  ...testsIn('compat', /^(same-.*)\.test\.ts$/),
];

/**
 * By port: the folder under test/ and the files in it. af_xdp, dpdk (DPDK's driver for AF_XDP) and memif (DPDK's shared
 * memory between two programs) run what has two programs; ring (a ring of DPDK's within one) what has both ends in one.
 */
export const SETS = {
  af_xdp: { folder: 'e2e', files: E2E },
  dpdk: { folder: 'e2e', files: E2E },
  memif: { folder: 'e2e', files: OVER_MEMORY },
  ring: { folder: 'compat', files: [...IN_PROCESS, NODE] },
};

/** A file of a set, as it was compiled. */
export const compiled = (port, name) => join('dist/test', SETS[port].folder, `${name}.test.js`);
