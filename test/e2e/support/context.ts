// SPDX-License-Identifier: MIT
// What every end-to-end test begins with: how it runs (E2E_MODE: millrace, or kernel to check the test itself against
// plain Node), whether it can run here at all, and a lab that goes when the test ends.

import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import type { Test } from 'tap';
import type { Lab, LabOptions, Mode, NodeJob, Stats } from '../../../tools/lab/lab.js';

export type { Job } from '../../../tools/lab/jobs.js';
export type { Lab, Mode, NodeJob, Side, Stats } from '../../../tools/lab/lab.js';

/** The package's folder, whether this file runs from its source or from dist/. */
export const root = ((): string => {
  let folder = __dirname;
  while (!existsSync(path.join(folder, 'package.json'))) folder = path.dirname(folder);
  return folder;
})();

// Plain JavaScript, shared with the benchmark and the demo; not compiled, so not beside this file in dist/.
const plain = createRequire(path.join(root, 'package.json'));
const { openLab, register, port } = plain('./tools/lab/lab.js') as typeof import('../../../tools/lab/lab.js');
const { nativeTool } = plain('./tools/lab/native-tools.js') as typeof import('../../../tools/lab/native-tools.js');
export const { sleep } = plain('./tools/lab/jobs.js') as typeof import('../../../tools/lab/jobs.js');
export const { pattern, patternHash } = plain('./test/e2e/apps/pattern.js') as typeof import('../apps/pattern.js');

/** Over which port, and what it has. */
export { port };

/** How the programs under test run. */
export const mode: Mode = process.env['E2E_MODE'] === 'kernel' ? 'kernel' : 'millrace';

/** What of a program is on the fast path. */
type Kind = 'clusters' | 'threads' | 'opens';
export const isFast = (kind: Kind): boolean => mode === 'millrace' && port[kind];

/** Bytes of the big transfers. */
export const transferBytes = Number(process.env['E2E_BYTES'] ?? 100e6);

export const app = (name: string): string => path.join(root, 'test/e2e/apps', `${name}.js`);
export const example = (name: string): string => path.join(root, 'examples', `${name}.js`);
export const load = (): string => nativeTool('load');
export const flood = (): string => nativeTool('flood');
export const attack = (): string => nativeTool('attack');
export const talk = (): string => nativeTool('talk');

function missing(commands: readonly string[]): string[] {
  const found = (command: string): boolean => {
    const folders = `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`.split(':');
    return folders.some((folder) => existsSync(path.join(folder, command)));
  };
  return commands.filter((command) => !found(command));
}

/** Why a lab cannot be opened here, or false. In CI that is an error: nothing is skipped there. */
export function cannotOpenLab(...commands: string[]): string | false {
  const reasons: string[] = [];
  if (process.platform !== 'linux') reasons.push('needs Linux');
  if (process.getuid?.() !== 0) reasons.push('needs root for network namespaces');
  const absent = missing(['ip', 'ethtool', 'ping', 'ss', 'sysctl', 'g++', ...commands]);
  if (absent.length > 0) reasons.push(`needs ${absent.join(', ')}`);
  return verdict(reasons);
}

/** Why these tests cannot run here, or false: the same for tests of the package. */
export function cannotRun(...commands: string[]): string | false {
  if (mode === 'millrace' && !existsSync(register)) return verdict(['needs the built package (npm run build:ts)']);
  return cannotOpenLab(...commands);
}

function verdict(reasons: readonly string[]): string | false {
  if (reasons.length === 0) return false;
  if (process.env['CI']) throw new Error(`end-to-end tests cannot run: ${reasons.join('; ')}`);
  return reasons.join('; ');
}

/** A lab for the time of a test. */
export async function lab(t: Test, options: LabOptions = {}): Promise<Lab> {
  const opened = await openLab(options);
  t.teardown(() => opened.close());
  return opened;
}

/** A lab for programs whose workers of this kind may be the kernel's: then the kernel has the wire. */
export async function labOfWorkers(t: Test, kind: Kind, queues: number): Promise<Lab> {
  const home = await lab(t, { queues });
  if (!isFast(kind)) await home.memory?.pass(false);
  return home;
}

/** All numbers of a counter object, with nested names joined by dots. */
export function flatten(stats: Stats, prefix = ''): Map<string, number> {
  const flat = new Map<string, number>();
  for (const [name, value] of Object.entries(stats)) {
    if (typeof value === 'number') flat.set(prefix + name, value);
    else if (typeof value === 'object' && value !== null) {
      for (const [inner, number] of flatten(value as Stats, `${prefix}${name}.`)) flat.set(inner, number);
    }
  }
  return flat;
}

/** Sum of the counters whose last name matches. */
export function count(stats: Stats, name: RegExp): number {
  let sum = 0;
  for (const [full, value] of flatten(stats)) if (name.test(full.split('.').at(-1) ?? '')) sum += value;
  return sum;
}

/** Counters that are not zero, in one line. */
export function summary(stats: Stats): string {
  return [...flatten(stats)]
    .filter(([, value]) => value !== 0)
    .map(([name, value]) => `${name}=${value}`)
    .join(' ');
}

/** Ends a program under test and says its counters; under millrace there must be some. */
export async function stopAndReport(t: Test, home: Lab, job: NodeJob): Promise<Stats | null> {
  const stats = await home.finalStats(job);
  if (job.mode === 'millrace') {
    t.ok(stats, 'a report of counters was written at exit');
    if (stats) t.comment(`counters: ${summary(stats)}`);
  }
  t.equal(job.stderr, '', 'nothing on stderr');
  return stats;
}

/** By which a worker is refused that the port has nothing for. */
const REFUSALS = {
  clusters:
    /^millrace: sockets stay with the kernel: port dpdk serves one process, and this is a cluster worker; allowed: /,
  threads:
    /^millrace: sockets stay with the kernel: worker threads share a DPDK device over net_af_xdp only, and net_memif0 /,
};

/** Nothing on stderr, or, where the port has no fast path for such workers, one line for each (`workers`) that says why. */
export function complainsRightly(t: Test, stderr: string, kind: 'clusters' | 'threads', workers?: number): void {
  if (mode === 'kernel' || port[kind]) {
    t.equal(stderr, '', 'nothing on stderr');
    return;
  }
  const lines = stderr.split('\n').filter(Boolean);
  t.same(
    lines.filter((line) => !REFUSALS[kind].test(line)),
    [],
    `nothing on stderr but why ${kind} are the kernel's`,
  );
  if (workers !== undefined) t.equal(lines.length, workers, 'one line for each worker');
  else t.ok(lines.length > 0, 'which is said');
}

export interface Certificates {
  readonly ca: string;
  readonly key: string;
  readonly cert: string;
}

/** A certificate authority and a server certificate for both addresses of the mill, made now. */
export function makeCertificates(home: Lab): Certificates {
  const file = (name: string): string => path.join(home.folder, name);
  const openssl = (...args: string[]): void => void execFileSync('openssl', args, { stdio: 'pipe', timeout: 20000 });
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  openssl(
    'req',
    '-x509',
    ...curve,
    '-keyout',
    file('ca.key'),
    '-out',
    file('ca.pem'),
    '-days',
    '2',
    '-subj',
    '/CN=lab authority',
    '-addext',
    'basicConstraints=critical,CA:TRUE',
    '-addext',
    'keyUsage=critical,keyCertSign',
  );
  openssl(
    'req',
    ...curve,
    '-keyout',
    file('server.key'),
    '-out',
    file('server.csr'),
    '-subj',
    '/CN=lab server',
    '-addext',
    `subjectAltName=IP:${home.mill.ipv4},IP:${home.mill.ipv6},IP:${home.peer.ipv4},IP:${home.peer.ipv6},DNS:lab.test`,
  );
  openssl(
    'x509',
    '-req',
    '-in',
    file('server.csr'),
    '-CA',
    file('ca.pem'),
    '-CAkey',
    file('ca.key'),
    '-CAcreateserial',
    '-out',
    file('server.pem'),
    '-days',
    '2',
    '-copy_extensions',
    'copyall',
  );
  return { ca: file('ca.pem'), key: file('server.key'), cert: file('server.pem') };
}
