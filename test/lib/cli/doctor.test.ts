import t from 'tap';
import { asText } from '../../../lib/cli/doctor';
import type { MachineFacts } from '../../../lib/machine';
import { type PortReadiness, readiness } from '../../../lib/readiness';
import { millrace } from './cli';

const machine: MachineFacts = {
  platform: 'linux',
  arch: 'x64',
  kernel: '6.1.0',
  node: 'v20.1.2',
  addon: { file: '/p/millrace.node', origin: 'prebuilt', problem: null },
  capabilities: ['CAP_NET_RAW'],
  memlockBytes: 8388608,
  seccomp: false,
  interfaces: [
    {
      name: 'eth1',
      driver: 'ice',
      up: false,
      mtuBytes: 1500,
      rxQueues: 8,
      txQueues: 9,
      xdpProgram: 7,
      txChecksumOffload: false,
    },
  ],
  dpdkBuilt: true,
  hugePages: { total: 4, free: 3, sizeKib: 2048 },
};

t.test('the findings as text', async (t) => {
  const text = asText(machine, readiness(machine, ['eth1']));
  for (const part of [
    'linux 6.1.0 x64, Node v20.1.2',
    'prebuilt, /p/millrace.node, loads',
    'CAP_NET_RAW yes',
    'CAP_BPF no',
    '8388608 bytes',
    'not allowed: neither CAP_BPF nor CAP_SYS_ADMIN',
    '3 free of 4',
    'eth1: ice, down, MTU 1500, 8 receive and 9 transmit queues, tx checksum offload off, XDP program 7 attached',
    'loopback: usable',
    'af_xdp: not usable\n    error: CAP_NET_ADMIN is missing',
    'error: eth1 is down',
    'mend: sudo ip link set dev eth1 up',
  ]) {
    t.ok(text.includes(part), part);
  }
});

interface Findings {
  machine: MachineFacts;
  named: string[];
  ports: PortReadiness[];
}

t.test('on this machine', async (t) => {
  const { code, stdout, stderr } = millrace(['doctor', '--json', '--port', 'loopback']);
  t.equal(stderr, '');
  const findings = JSON.parse(stdout) as Findings;
  t.equal(findings.machine.node, process.version);
  const loopback = findings.ports.find((port) => port.port === 'loopback');
  t.equal(code, loopback?.usable === true ? 0 : 1, 'the exit code says whether the port that was asked for is usable');
  t.match(millrace(['doctor']).stdout, /^system .*\naddon .*\ncapabilities /);
});

t.test('an interface that does not exist: its name and those that do', async (t) => {
  const { code, stdout } = millrace(['doctor', '--interface', 'mr-nowhere']);
  t.equal(code, 1);
  t.match(stdout, /there is no interface 'mr-nowhere'; those that exist: .*\blo\b/);
});

t.test('a wrong option ends with 2', async (t) => {
  t.match(millrace(['doctor'], { env: { MILLRACE_PORT: 'netmap' } }), {
    code: 2,
    stderr: "millrace: MILLRACE_PORT is 'netmap': not one of the values; allowed: none, loopback, af_xdp, dpdk\n",
  });
  t.match(millrace(['doctor'], { env: { MILLRACE_PROT: 'x' } }), { code: 2, stderr: /did you mean MILLRACE_PORT\?/ });
});
