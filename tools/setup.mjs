// What the checks and tests need beyond npm: installs it from Debian when it may, and says what is missing when not.
// `node tools/setup.mjs` does only that.
import { accessSync, constants, existsSync, rmSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { run } from './run.mjs';

/** A package, the program or file that shows that it is there, and the groups of tests that need it. */
const NEEDS = [
  { package: 'g++', program: 'g++', groups: ['build', 'native', 'sim', 'threads', 'fuzz', 'e2e', 'bench', 'guest'] },
  { package: 'make', program: 'make', groups: ['build'] },
  { package: 'python3', program: 'python3', groups: ['build'] },
  { package: 'pkg-config', program: 'pkg-config', groups: ['build', 'native'] },
  { package: 'libdpdk-dev', file: '/usr/include/dpdk/rte_ethdev.h', groups: ['build', 'native', 'e2e', 'guest'] },
  { package: 'cmake', program: 'cmake', groups: ['native', 'sim', 'threads', 'fuzz'] },
  { package: 'ninja-build', program: 'ninja', groups: ['native', 'sim', 'threads', 'fuzz'] },
  { package: 'doctest-dev', file: '/usr/include/doctest/doctest.h', groups: ['native', 'threads'] },
  { package: 'clang-format', program: 'clang-format', groups: ['lint'] },
  { package: 'clang', program: 'clang', groups: ['lint', 'native', 'sim', 'fuzz'] },
  { package: 'libbpf-dev', file: '/usr/include/bpf/bpf_helpers.h', groups: ['lint'] },
  { package: 'iproute2', program: 'ip', groups: ['e2e', 'demo', 'bench', 'guest'] },
  { package: 'ethtool', program: 'ethtool', groups: ['e2e', 'demo', 'bench', 'guest'] },
  { package: 'curl', program: 'curl', groups: ['e2e', 'demo', 'guest'] },
  { package: 'wrk', program: 'wrk', groups: ['e2e', 'demo', 'bench'] },
  { package: 'nginx-light', program: 'nginx', groups: ['e2e'] },
  { package: 'redis-server', program: 'redis-server', groups: ['e2e'] },
  { package: 'redis-tools', program: 'redis-cli', groups: ['e2e'] },
  { package: 'iperf3', program: 'iperf3', groups: ['e2e'] },
  { package: 'nghttp2-client', program: 'h2load', groups: ['e2e'] },
  { package: 'openssl', program: 'openssl', groups: ['e2e'] },
  { package: 'iputils-ping', program: 'ping', groups: ['e2e', 'demo', 'bench', 'guest'] },
  { package: 'netcat-openbsd', program: 'nc', groups: ['e2e', 'guest'] },
  { package: 'procps', program: 'ps', groups: ['e2e', 'demo', 'bench'] },
  { package: 'tcpdump', program: 'tcpdump', groups: ['e2e'] },
  { package: 'bpftool', program: 'bpftool', groups: ['e2e'] },
  { package: 'qemu-system-x86', program: 'qemu-system-x86_64', groups: ['guest'] },
  { package: 'busybox-static', program: 'busybox', groups: ['guest', 'e2e'] },
  { package: 'kmod', program: 'depmod', groups: ['guest'] },
  { package: 'cpio', program: 'cpio', groups: ['guest'] },
  // The matrix of tools/ecosystem: each server only when a row wants it.
  { package: 'postgresql', file: '/usr/share/doc/postgresql/copyright', groups: ['ecosystem-postgresql'] },
  { package: 'mariadb-server-core', program: 'mariadbd', groups: ['ecosystem-mariadb'] },
  { package: 'mariadb-client', program: 'my_print_defaults', groups: ['ecosystem-mariadb'] },
  { package: 'mosquitto', program: 'mosquitto', groups: ['ecosystem-mosquitto'] },
  { package: 'nats-server', program: 'nats-server', groups: ['ecosystem-nats'] },
  { package: 'rabbitmq-server', program: 'rabbitmq-server', groups: ['ecosystem-rabbitmq'] },
  { package: 'memcached', program: 'memcached', groups: ['ecosystem-memcached'] },
];

const DIRECTORIES = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin'];

function isThere(need) {
  if (need.file !== undefined) return existsSync(need.file);
  return DIRECTORIES.some((directory) => {
    try {
      accessSync(join(directory, need.program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** What is missing for `groups`. */
export function missingFor(groups) {
  return NEEDS.filter((need) => need.groups.some((group) => groups.includes(group)) && !isThere(need));
}

/** The command that installs packages. */
export function installCommand(needs) {
  const sudo = process.getuid?.() === 0 ? '' : 'sudo ';
  return `${sudo}apt-get install -y --no-install-recommends ${needs.map((need) => need.package).join(' ')}`;
}

/** What Debian's packages ask before they start their service; absent, they all do. */
const POLICY = '/usr/sbin/policy-rc.d';

/** Runs `install` while no package may start a service: the tests start what they need themselves. */
async function withoutServices(install) {
  if (existsSync(POLICY)) return install();
  writeFileSync(POLICY, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  try {
    return await install();
  } finally {
    rmSync(POLICY, { force: true });
  }
}

/** Installs what is missing when that is possible. Returns what is missing still. */
export async function setUp(groups, log = console.log) {
  const missing = missingFor(groups);
  if (missing.length === 0) return [];
  const names = missing.map((need) => need.package).join(' ');
  if (process.getuid?.() !== 0 || !existsSync('/usr/bin/apt-get')) {
    log(`missing: ${names}\nto install: ${installCommand(missing)}`);
    return missing;
  }
  log(`installing: ${names}`);
  const env = { DEBIAN_FRONTEND: 'noninteractive' };
  const options = { env, timeoutSeconds: 300 };
  const policy = ['-o', 'DPkg::Options::=--force-confold', '-o', 'DPkg::Lock::Timeout=120'];
  await run('apt-get', ['update', ...policy], options);
  const args = ['install', '-y', '--no-install-recommends', ...policy, ...names.split(' ')];
  const result = await withoutServices(() => run('apt-get', args, options));
  const still = missingFor(groups);
  if (still.length > 0)
    log(`${result.output.slice(-2000)}\nstill missing: ${still.map((need) => need.package).join(' ')}`);
  return still;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const all = [...new Set(NEEDS.flatMap((need) => need.groups))];
  const missing = await setUp(all);
  console.log(missing.length === 0 ? 'everything is there' : `to install: ${installCommand(missing)}`);
  process.exit(missing.length === 0 ? 0 : 1);
}
