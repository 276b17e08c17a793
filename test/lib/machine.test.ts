import t from 'tap';
import { interfaceNames } from '../../lib/interfaces';
import { capabilitiesOf, memlockOf, readMachine } from '../../lib/machine';

t.test('capabilities by name', async (t) => {
  t.same(capabilitiesOf('0000000000000000'), []);
  t.same(capabilitiesOf('000000c000007000'), [
    'CAP_NET_ADMIN',
    'CAP_NET_RAW',
    'CAP_IPC_LOCK',
    'CAP_PERFMON',
    'CAP_BPF',
  ]);
  t.same(capabilitiesOf('0000000000200000'), ['CAP_SYS_ADMIN']);
  t.same(capabilitiesOf('no mask'), []);
});

t.test('the limit of locked memory', async (t) => {
  const line = (soft: string) =>
    `Limit  Soft Limit\nMax locked memory         ${soft}              8388608              bytes     \n`;
  t.equal(memlockOf(line('65536')), 65536);
  t.equal(memlockOf(line('unlimited')), Number.POSITIVE_INFINITY);
  t.equal(memlockOf(''), 0);
});

t.test('this machine', async (t) => {
  const machine = readMachine();
  t.equal(machine.platform, process.platform);
  t.match(machine.kernel, /^\d+\.\d+/);
  const lo = machine.interfaces.find((one) => one.name === 'lo');
  t.ok(lo !== undefined && lo.mtuBytes > 0 && lo.rxQueues > 0, 'lo is there, with its facts');
  t.same(
    machine.interfaces.map((one) => one.name),
    interfaceNames(),
  );
  t.ok(machine.hugePages.sizeKib > 0);
});
