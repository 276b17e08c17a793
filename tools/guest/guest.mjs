// SPDX-License-Identifier: MIT
// One run of one command in a virtual machine: a Debian kernel under QEMU's plain emulation on this machine's own files,
// which it can read and not change. For what the kernel at hand lacks: netem, flower, VLAN, other NICs, another version.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../files.mjs';
import tools from '../lab/native-tools.js';
import { lowerGroup } from '../run.mjs';
import { setUp } from '../setup.mjs';
import { prepareKernel } from './kernel.mjs';

const CONSOLE_KEPT = 65536;

/** A line of the command's stdout that is a command for QEMU's monitor: to take a device away, say. */
const MONITOR = /^# monitor: (.+)$/;

/** All that is emulated, without what emulation makes slow: copying byte by byte, wide vectors, checks at each access. */
const CPU = 'max,-erms,-avx,-avx2,la57=off,-smap,-smep,-umip';

const quote = (word) => `'${word.replaceAll("'", `'\\''`)}'`;

/** What the guest's shell runs. Its environment is its own: nothing leaks in from the caller's. */
function jobText({ command, modules, env, cwd, kernel, virtualTime }) {
  const lines = [
    'export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8',
    ...(virtualTime ? ['export LAB_PATIENCE=1000', `chrt --idle 0 ${quote(tools.nativeTool('idle'))} &`] : []),
    ...Object.entries(env).map(([name, value]) => `export ${name}=${quote(String(value))}`),
    `mkdir -p /lib/modules && mount --bind ${quote(join(kernel.tree, 'lib/modules'))} /lib/modules || exit 126`,
    // The guest's own, unless it works on something in there.
    ...([ROOT, cwd].some((folder) => folder.startsWith('/tmp')) ? [] : ['mount -t tmpfs tmpfs /tmp']),
    'ip link set lo up',
    // A clock that leaps over the reading of a file leaps over the three seconds in which a neighbour has to answer, too.
    // (One that is known is asked at its link address first, and soon given up: it may have got another.)
    ...(virtualTime ? ['for tries in /proc/sys/net/ipv[46]/neigh/*/mcast_solicit; do echo 100 > $tries; done'] : []),
    ...modules.map((name) => `modprobe ${quote(name)} || exit 126`),
    `cd ${quote(cwd)} || exit 126`,
    `exec ${command.map(quote).join(' ')}`,
  ];
  return `${lines.join('\n')}\n`;
}

/**
 * Each stream has a port of its own: descriptors 3 to 7 are sockets that QEMU inherits. `virtualTime` makes the guest's
 * clock count instructions, a thousand million a second, and skip what it sleeps: what it measures does not depend
 * on how fast or busy this machine is; it has one processor then.
 */
function qemuArguments({ kernel, job, memoryMb, cpus, virtualTime, qemu, kernelWords }) {
  const ports = ['out', 'err', 'code'].flatMap((name, index) => [
    '-chardev',
    `socket,id=${name},fd=${3 + index}`,
    '-device',
    `virtserialport,chardev=${name},name=${name}`,
  ]);
  const clock = virtualTime
    ? ['-accel', 'tcg', '-smp', '1', '-icount', 'shift=0,sleep=off', '-rtc', 'clock=vm']
    : ['-accel', 'tcg,thread=multi', '-smp', String(cpus)];
  const words = ['console=ttyS0', 'loglevel=5', 'panic=-1', 'nokaslr', 'mitigations=off', `guest.job=${job}`];
  words.push(...kernelWords);
  if (virtualTime) words.push('tsc=reliable', 'nowatchdog');
  return [
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot', '-m', String(memoryMb), '-cpu', CPU],
    ...clock,
    ...['-kernel', kernel.image, '-initrd', kernel.initramfs, '-append', words.join(' ')],
    ...['-virtfs', 'local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap'],
    ...['-chardev', 'socket,id=console,fd=6', '-serial', 'chardev:console', '-device', 'virtio-serial-pci'],
    ...['-chardev', 'socket,id=monitor,fd=7', '-mon', 'chardev=monitor,mode=readline'],
    ...ports,
    ...qemu,
  ];
}

/** Starts QEMU and follows its ports to its end. It dies with this process, however that goes. */
function follow(args, { timeoutSeconds, namespace, idle, onOut, onErr, onConsole }) {
  return new Promise((resolve, reject) => {
    const where = namespace ? ['ip', 'netns', 'exec', namespace] : [];
    const command = [...where, 'setpriv', '--pdeathsig', 'KILL', 'qemu-system-x86_64', ...args];
    const [program, ...rest] = idle ? ['chrt', '--idle', '0', ...command] : command;
    const child = spawn(program, rest, {
      stdio: ['ignore', ...Array(7).fill('pipe')],
      detached: idle, // a session of its own, whose share of the processors can be made small
    });
    if (idle) lowerGroup(child.pid);
    const outcome = { code: null, signal: null, late: false, console: '', said: '' };
    const end = () => child.kill('SIGKILL');
    const timer = setTimeout(() => {
      outcome.late = true;
      end();
    }, timeoutSeconds * 1000);
    process.once('exit', end);
    const leave = (signal) => {
      end();
      process.exit(signal === 'SIGINT' ? 130 : 143);
    };
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, leave);
    const take = (index, action) =>
      child.stdio[index]
        .setEncoding('utf8')
        .on('data', action)
        .on('error', () => {});
    let line = '';
    const obey = (text) => {
      const lines = (line + text).split('\n');
      line = lines.pop();
      for (const [, order] of lines.map((one) => MONITOR.exec(one)).filter((match) => match !== null))
        child.stdio[7].write(`${order}\n`);
    };
    const say = (text) => {
      outcome.said += text;
    };
    take(1, say);
    take(2, say);
    take(3, (text) => {
      onOut(text);
      obey(text);
    });
    take(7, () => {});
    take(4, onErr);
    take(5, (text) => {
      outcome.code = (outcome.code ?? '') + text;
    });
    take(6, (text) => {
      outcome.console = (outcome.console + text).slice(-CONSOLE_KEPT);
      onConsole(text);
    });
    child.on('error', reject);
    child.on('close', (_, signal) => {
      clearTimeout(timer);
      process.off('exit', end);
      for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.off(name, leave);
      outcome.signal = signal;
      resolve(outcome);
    });
  });
}

/**
 * Runs `command` (program and arguments) in a guest and gives `{ code, output }`: the exit code, 124 after
 * `timeoutSeconds`, 125 when the guest itself failed; the output is the command's stdout.
 *
 * Options: `kernel` (a Debian package), `modules` to load first (others come by themselves when the kernel asks for them), `qemu` (more arguments of
 * QEMU), `kernelWords` (for its command line), `env`, `cwd`, `memoryMb`, `cpus`, `virtualTime`, `namespace` (of this
 * machine's network, for what its devices lead to), `idle` (leaves the processors to everybody else), `timeoutSeconds`,
 * `onOut`, `onErr`, `onConsole`, `log`.
 */
export async function runGuest(command, options = {}) {
  const { modules = [], qemu = [], kernelWords = [], env = {}, cwd = ROOT, memoryMb = 2048, cpus = 1 } = options;
  const {
    virtualTime = false,
    namespace,
    idle = false,
    timeoutSeconds = 120,
    onOut = () => {},
    onErr = () => {},
    onConsole = () => {},
  } = options;
  const log = options.log ?? console.error;
  const missing = await setUp(['guest'], log);
  if (missing.length > 0) return { code: 125, output: '' };
  const kernel = await prepareKernel(options.kernel, log);
  const folder = mkdtempSync(join(ROOT, '.cache/guest/job-'));
  try {
    const job = join(folder, 'job.sh');
    writeFileSync(job, jobText({ command, modules, env, cwd, kernel, virtualTime }));
    const args = qemuArguments({ kernel, job, memoryMb, cpus, virtualTime, qemu, kernelWords });
    let output = '';
    const out = (text) => {
      output += text;
      onOut(text);
    };
    const outcome = await follow(args, { timeoutSeconds, namespace, idle, onOut: out, onErr, onConsole });
    if (outcome.late) {
      log(`guest: not done after ${timeoutSeconds} s`);
      return { code: 124, output };
    }
    if (outcome.code === null || !/^\d+\n$/.test(outcome.code)) {
      log(`guest: ended without a word\n${outcome.said}${outcome.console.slice(-4000)}`);
      return { code: 125, output };
    }
    return { code: Number(outcome.code), output };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
