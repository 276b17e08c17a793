// SPDX-License-Identifier: MIT
// Runs one command in a guest (guest.mjs) with its output as it comes, and ends with its exit code; 124: it took too
// long, 125: the guest failed.
//
//   node tools/guest/run.mjs [OPTIONS] -- COMMAND ...        e.g. -- node path/to/script.mjs
//   --kernel PACKAGE     Debian's, by the name of its series (linux-image-amd64: 6.1; linux-image-6.12-amd64)
//   --modules A,B        kernel modules to load first (most load by themselves: veth, netem, cls_flower, ...)
//   --qemu "ARGUMENTS"   more of QEMU's: "-device e1000e,netdev=n -netdev hubport,id=n,hubid=0"
//   --env NAME=VALUE     (again and again)    --memory MB (2048)    --cpus N (1)    --seconds N (120)
//   --virtual-time       the guest's clock counts instructions; what it measures is the same on any machine
//   --console            the kernel's messages on stderr
import { parseArgs } from 'node:util';
import { runGuest } from './guest.mjs';

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    kernel: { type: 'string', default: 'linux-image-amd64' },
    modules: { type: 'string', default: '' },
    qemu: { type: 'string', default: '' },
    env: { type: 'string', multiple: true, default: [] },
    memory: { type: 'string', default: '2048' },
    cpus: { type: 'string', default: '1' },
    seconds: { type: 'string', default: '120' },
    'virtual-time': { type: 'boolean', default: false },
    console: { type: 'boolean', default: false },
  },
});
if (positionals.length === 0) {
  console.error('usage: node tools/guest/run.mjs [--modules A,B] [--qemu "..."] [--seconds N] ... -- COMMAND ...');
  process.exit(2);
}
const { code } = await runGuest(positionals, {
  kernel: flags.kernel,
  modules: flags.modules.split(',').filter(Boolean),
  qemu: flags.qemu.split(/\s+/).filter(Boolean),
  env: Object.fromEntries(flags.env.map((text) => [text.split('=', 1)[0], text.slice(text.indexOf('=') + 1)])),
  cwd: process.cwd(),
  memoryMb: Number(flags.memory),
  cpus: Number(flags.cpus),
  timeoutSeconds: Number(flags.seconds),
  virtualTime: flags['virtual-time'],
  onOut: (text) => process.stdout.write(text),
  onErr: (text) => process.stderr.write(text),
  onConsole: flags.console ? (text) => process.stderr.write(text) : undefined,
});
process.exitCode = code;
