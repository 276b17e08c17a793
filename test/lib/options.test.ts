import t from 'tap';
import { OPTION_NAMES, type OptionName, REGISTRY, flagOf, formatValue, variableOf } from '../../lib/options';
import { type Kind, ValueError } from '../../lib/option-kinds';
import { caught } from './caught';

t.test('names of variables and flags', async (t) => {
  t.equal(variableOf('enabled'), 'MILLRACE');
  t.equal(variableOf('spinUs'), 'MILLRACE_SPIN_US');
  t.equal(variableOf('udpSocketsMax'), 'MILLRACE_UDP_SOCKETS_MAX');
  t.equal(variableOf('keepaliveIdleS'), 'MILLRACE_KEEPALIVE_IDLE_S');
  t.equal(flagOf('keepaliveIdleS'), '--keepalive-idle-s');
  const variables = new Set(OPTION_NAMES.map(variableOf));
  t.equal(variables.size, OPTION_NAMES.length, 'no two options share a variable');
});

t.test('every option has a line of meaning and a default that reads as itself', async (t) => {
  for (const name of OPTION_NAMES) {
    const spec = REGISTRY[name];
    t.ok(spec.meaning.length > 10 && !spec.meaning.includes('\n'), `${name}: one line`);
    const kind = spec.kind as Kind<unknown>;
    t.same(
      kind.read(formatValue(name, spec.default as never)),
      spec.default,
      `${name}: default survives the way through text`,
    );
  }
});

const cases: [OptionName, unknown, unknown][] = [
  ['enabled', 'OFF', false],
  ['enabled', '1', true],
  ['enabled', false, false],
  ['port', 'AF_XDP', 'af_xdp'],
  ['interface', 'eth1, eth2,eth1', ['eth1', 'eth2']],
  ['interface', ['eth1'], ['eth1']],
  ['spinUs', '1000', 1000],
  ['spinUs', 7, 7],
  ['guardianMs', '0', 0],
  ['sendBuffer', 'auto', 'auto'],
  ['sendBuffer', '65536', 65536],
  ['frameBytes', '4096', 4096],
  ['accelerate', ['tcp:listen', '!tcp:*:*:22'], 'tcp:listen !tcp:*:*:22'],
  [
    'fault',
    'drop=0.01,reorder=2%,rx.cut,tx.delay_us=500,dup_at=5,seed=7',
    'drop=0.01,reorder=2%,rx.cut,tx.delay_us=500,dup_at=5,seed=7',
  ],
  [
    'fault',
    'delay=1%,delay_us=90,delay_at=3,cut=0.001,cut_us=2000,tx.cut_at=9,jitter_us=5',
    'delay=1%,delay_us=90,delay_at=3,cut=0.001,cut_us=2000,tx.cut_at=9,jitter_us=5',
  ],
  ['fault', '', ''],
  ['dpdkAddress', '10.0.0.1/24, fd00::1/64', '10.0.0.1/24,fd00::1/64'],
  ['dpdkNeighbors', '10.0.0.2=02:00:00:00:00:0A', '10.0.0.2=02:00:00:00:00:0A'],
];

t.test('what is read', async (t) => {
  for (const [name, given, expected] of cases) {
    t.same((REGISTRY[name].kind as Kind<unknown>).read(given), expected, `${name} ${JSON.stringify(given)}`);
  }
});

const refused: [OptionName, unknown][] = [
  ['enabled', 'maybe'],
  ['enabled', 2],
  ['port', 'netmap'],
  ['port', 5],
  ['interface', 'a name'],
  ['interface', 'a-name-that-is-too-long'],
  ['interface', '../eth0'],
  ['interface', [1]],
  ['spinUs', '1001'],
  ['spinUs', '-1'],
  ['spinUs', '1.5'],
  ['spinUs', '1e2'],
  ['spinUs', '0x10'],
  ['spinUs', true],
  ['spinUs', ' '],
  ['frameBytes', '3000'],
  ['frameBytes', '1024'],
  ['sendBuffer', 'automatic'],
  ['congestion', 'vegas'],
  ['accelerate', 'tcp:listen:*'],
  ['fault', 'drop'],
  ['fault', 'drop=2'],
  ['fault', 'drop='],
  ['fault', 'constructor=1'],
  ['fault', 'drop=0.1,,cut'],
  ['fault', 'rx.seed=1'],
  ['fault', 'drop_at=0'],
  ['fault', 'cut_at=0'],
  ['fault', 'cut=2'],
  ['fault', 'delay'],
  ['fault', 'dup_us=5'],
  ['fault', 'seed=0.5'],
  ['report', 'a\0b'],
  ['dpdkAddress', '10.0.0.1'],
  ['dpdkAddress', '10.0.0.1/33'],
  ['dpdkAddress', '10.0.0/24'],
  ['dpdkNeighbors', '10.0.0.2'],
  ['dpdkNeighbors', '10.0.0.2=02:00:00:00:00'],
  ['dpdkNeighbors', 'host=02:00:00:00:00:02'],
  ['dpdkTap', 'a/b'],
];

t.test('what is refused', async (t) => {
  for (const [name, given] of refused) {
    t.type(
      caught(() => (REGISTRY[name].kind as Kind<unknown>).read(given)),
      ValueError,
      `${name} ${JSON.stringify(given)}`,
    );
  }
});
