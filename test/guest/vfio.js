// SPDX-License-Identifier: MIT
// In the guest: a driver of DPDK's own on an emulated card (e1000e), bound through vfio behind an IOMMU. It cannot
// share the card with the kernel, which gets what is not ours by a tap and answers by it. The peer is the guest's other
// card, on the same hub. One line per check; ends with 1 if one failed. By tools/guest/dpdk.mjs.
'use strict';

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { Job, run, sleep } = require('../../tools/lab/jobs.js');

const root = path.resolve(__dirname, '../..');
const kMill = '10.77.0.1';
const kPeer = '10.77.0.2';
const kPeerSpace = 'peer';

let failed = 0;
function check(what, good, detail = '') {
  if (!good) failed++;
  const words = good || detail === '' ? '' : `\n  ${String(detail).replaceAll('\n', '\n  ')}`;
  console.log(`${good ? 'ok' : 'not ok'} ${what}${words}`);
}

/** PCI addresses by the driver of the kernel's that has, or would have, the device. */
function cards(vendor, device) {
  const base = '/sys/bus/pci/devices';
  const read = (address, name) => fs.readFileSync(path.join(base, address, name), 'utf8').trim();
  return fs
    .readdirSync(base)
    .filter((address) => read(address, 'vendor') === vendor && read(address, 'device') === device);
}

function bindToVfio(address) {
  const base = `/sys/bus/pci/devices/${address}`;
  if (fs.existsSync(`${base}/driver`)) fs.writeFileSync(`${base}/driver/unbind`, address);
  fs.writeFileSync(`${base}/driver_override`, 'vfio-pci');
  fs.writeFileSync('/sys/bus/pci/drivers_probe', address);
}

async function main() {
  const [card] = cards('0x8086', '0x10d3');
  bindToVfio(card);
  fs.writeFileSync('/proc/sys/vm/nr_hugepages', '256');
  const free = fs.readFileSync('/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages', 'utf8').trim();
  console.log(`# card ${card}, ${free} huge pages`);
  const name = fs.readdirSync('/sys/class/net').find((one) => one !== 'lo');
  execFileSync('ip', ['netns', 'add', kPeerSpace]);
  execFileSync('ip', ['link', 'set', name, 'netns', kPeerSpace]);
  for (const args of [
    ['link', 'set', 'lo', 'up'],
    ['addr', 'add', `${kPeer}/16`, 'dev', name],
    ['-6', 'addr', 'add', 'fd77::2/64', 'dev', name, 'nodad'],
    ['link', 'set', name, 'up'],
  ]) {
    execFileSync('ip', ['-n', kPeerSpace, ...args]);
  }
  const inPeer = (command, args, options = {}) =>
    run('ip', ['netns', 'exec', kPeerSpace, command, ...args], { timeoutMs: 30000, ...options });

  const report = path.join(os.tmpdir(), 'report.json');
  const env = {
    ...process.env,
    MILLRACE_PORT: 'dpdk',
    MILLRACE_DPDK_ARGS: `-a ${card}`,
    MILLRACE_DPDK_TAP: 'kernel0',
    MILLRACE_DPDK_ADDRESS: `${kMill}/16,fd77::1/64`,
    MILLRACE_REQUIRE: '1',
    MILLRACE_REPORT: report,
    MILLRACE_DEBUG: process.env['DEBUG'] ?? '',
  };
  const register = path.join(root, 'dist/compat/register.js');
  const server = new Job(
    process.execPath,
    ['--require', register, path.join(root, 'examples/http-server.js'), '8080'],
    { env },
  );
  await server.waitFor(/listening on/, 120000);
  await sleep(3000); // the link comes up
  for (const host of [kMill, '[fd77::1]']) {
    const got = await inPeer('curl', ['-s', '-g', '-m', '10', `http://${host}:8080/`]);
    check(`http over ${host}`, got.stdout === 'Hello, world\n', `${got.stdout} ${got.stderr} ${server.describe()}`);
  }
  for (const host of [kMill, 'fd77::1']) {
    const ping = await inPeer('ping', ['-c', '3', '-W', '2', host]);
    check(`ping ${host} is answered by the kernel`, ping.code === 0, ping.stdout);
  }
  const out = await run('ping', ['-c', '2', '-W', '2', kPeer], { timeoutMs: 30000 });
  check('ping from here', out.code === 0, out.stdout);
  const kernel = new Job(process.execPath, [path.join(root, 'examples/tcp-echo.js'), '2222'], {});
  await kernel.waitFor(/listening on/, 60000);
  const bytes = 'like ssh '.repeat(10_000);
  const echoed = await inPeer('nc', ['-N', '-w', '10', kMill, '2222'], { input: bytes, timeoutMs: 60000 });
  check("a service of the kernel's goes on", echoed.stdout === bytes, `${echoed.stdout.length} bytes ${echoed.stderr}`);
  await kernel.stop();
  const cpu = () =>
    fs
      .readFileSync(`/proc/${server.child.pid}/stat`, 'utf8')
      .split(' ')
      .slice(13, 15)
      .reduce((a, b) => a + Number(b), 0);
  const before = cpu();
  await sleep(3000);
  console.log(`# idle: ${((cpu() - before) / 3).toFixed(1)} % of a processor`);
  await server.stop('SIGTERM', 20000);
  const stats = JSON.parse(fs.readFileSync(report, 'utf8'));
  console.log(`# ${stats.ports[0].mode}`);
  check('two connections were ours', stats.counters.tcp.tcp_passive_opens === 2, JSON.stringify(stats.counters.tcp));
  console.log(failed === 0 ? '# all well' : `# ${failed} failed`);
  process.exitCode = failed === 0 ? 0 : 1;
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
