// SPDX-License-Identifier: MIT
// Ports in the guest, part by part: real rte_flow over net_tap, drivers of DPDK's own on emulated cards, and a device of
// several queues that tells how it chooses them. What a part needs of the guest, and how what it says is counted.
import tools from '../lab/native-tools.js';
import { runGuest } from './guest.mjs';
import { openWire, queuesOf } from './wire.mjs';

const { nativeTool } = tools;

/** So that all of them are on one wire. */
const hub = (...ids) => ids.flatMap((id) => ['-netdev', `hubport,id=${id},hubid=0`]);
/** The IOMMU comes before what is behind it, and must know addresses as wide as a process's. */
const BEHIND_IOMMU = ['-machine', 'q35', '-device', 'intel-iommu,aw-bits=48'];
const FLOWER = ['cls_flower', 'act_mirred', 'act_gact', 'act_skbedit', 'sch_ingress', 'sch_multiq'];
const SOCKETS = ['tun', 'tcp_diag', 'udp_diag'];

/**
 * By name: the script, the kernel's modules, what QEMU is told beside, whether there is a wire to this machine
 * (wire.mjs).
 */
export const PARTS = {
  'rte-flow': {
    command: ['test/guest/rte-flow.js'],
    modules: ['veth', ...SOCKETS, ...FLOWER],
  },
  cards: {
    command: ['test/guest/cards.js'],
    modules: ['vfio-pci', 'e1000e', ...SOCKETS],
    qemu: [
      ...[...BEHIND_IOMMU, ...hub('a', 'b', 'c', 'd')],
      // Behind a port of its own it can be taken away.
      ...['-device', 'pcie-root-port,id=port0,chassis=1,slot=1', '-device', 'e1000e,netdev=a,bus=port0,id=card0'],
      ...['-device', 'virtio-net-pci,netdev=b,disable-legacy=on,iommu_platform=on'],
      ...['-device', 'e1000e,netdev=c', '-device', 'e1000e,netdev=d'],
    ],
    kernelWords: ['intel_iommu=on'],
  },
  // In real time, as its peer is.
  rss: {
    command: ['test/guest/rss.js'],
    modules: ['virtio_net', ...SOCKETS],
    qemu: queuesOf(2, 'virtio-net-pci,rss=on'),
    wire: true,
  },
};

/**
 * Runs a part and gives what was counted, as the groups of tests do. `words` are more arguments of the script; `idle`
 * leaves the processors to everybody else.
 */
export async function runPart(name, { words = [], idle = false, onText = () => {}, env = {} } = {}) {
  const part = PARTS[name];
  let text = '';
  const take = (some) => {
    text += some;
    onText(some);
  };
  // Compiled here, not inside.
  for (const tool of ['talk', 'load']) nativeTool(tool);
  const start = performance.now();
  const wire = part.wire ? await openWire() : null;
  const { code, output } = await runGuest([process.execPath, ...part.command, ...words], {
    modules: part.modules,
    qemu: part.qemu ?? [],
    kernelWords: part.kernelWords ?? [],
    ...(wire
      ? { cpus: 2, env: { ...env, LAB_PATIENCE: 20 }, namespace: wire.namespace }
      : { cpus: 1, env, virtualTime: true }),
    timeoutSeconds: 3600,
    idle,
    onOut: take,
    onErr: take,
    log: (line) => take(`${line}\n`),
  }).finally(() => wire?.close());
  return { ...count(name, code, output, text), seconds: (performance.now() - start) / 1000 };
}

/** A line is a check; a part that ended badly, or said nothing, counts at least one failure. */
function count(name, code, output, text) {
  const lines = (pattern) => output.match(pattern)?.length ?? 0;
  const passed = lines(/^ok /gm);
  let failed = lines(/^not ok /gm);
  if (failed === 0 && (code !== 0 || passed === 0)) failed = 1;
  const report = failed === 0 ? [] : [`guest ${name} ended with ${code}\n${text.slice(-8000)}`];
  return { passed, failed, skipped: [], report };
}
