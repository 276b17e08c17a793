// SPDX-License-Identifier: MIT
// `npm run test:guest`: port dpdk in the guest. Real rte_flow over net_tap, and a driver of DPDK's own on an
// emulated card. Needs the built package and port dpdk (apt-get install libdpdk-dev). Arguments name parts:
// rte-flow, vfio.
import { setUp } from '../setup.mjs';
import { runGuest } from './guest.mjs';

const HUB = ['-netdev', 'hubport,id=a,hubid=0', '-netdev', 'hubport,id=b,hubid=0'];
const PARTS = {
  'rte-flow': {
    script: 'test/guest/rte-flow.js',
    modules: 'veth tun cls_flower act_mirred act_gact act_skbedit sch_ingress sch_multiq tcp_diag udp_diag'.split(' '),
  },
  vfio: {
    script: 'test/guest/vfio.js',
    modules: ['tun', 'vfio-pci', 'virtio_net', 'tcp_diag', 'udp_diag'],
    // The IOMMU comes before what is behind it, and must know addresses as wide as a process's.
    qemu: [
      ...['-machine', 'q35', '-device', 'intel-iommu,aw-bits=48', ...HUB],
      ...['-device', 'e1000e,netdev=a', '-device', 'virtio-net-pci,netdev=b'],
    ],
    kernelWords: ['intel_iommu=on'],
  },
};

const wanted = process.argv.slice(2);
for (const name of wanted) {
  if (!(name in PARTS)) throw new Error(`there is no part ${name}; there are: ${Object.keys(PARTS).join(', ')}`);
}
await setUp(['build', 'guest']);
for (const [name, part] of Object.entries(PARTS)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  console.log(`# ${name}`);
  const { code } = await runGuest([process.execPath, part.script], {
    modules: part.modules,
    qemu: part.qemu ?? [],
    kernelWords: part.kernelWords ?? [],
    env: process.env['DEBUG'] === undefined ? {} : { DEBUG: process.env['DEBUG'] },
    cwd: process.cwd(),
    memoryMb: 2048,
    cpus: 1,
    timeoutSeconds: 900,
    virtualTime: true,
    onOut: (text) => process.stdout.write(text),
    onErr: (text) => process.stderr.write(text),
  });
  if (code !== 0) process.exitCode = 1;
}
