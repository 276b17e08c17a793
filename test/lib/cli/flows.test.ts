import { constants } from 'node:os';
import t from 'tap';
import { asText, desksOf, type FlowRule, flowsCommand, type SteeredProgram } from '../../../lib/cli/flows';
import { millrace } from './cli';

const { ECONNREFUSED, ETIMEDOUT, EACCES } = constants.errno;

/** As the kernel prints it, with sockets of others. */
const SOCKETS = `Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000002 00000000 00000000 0002 01 11111 @millrace/4/1/frames
0000000000000000: 00000002 00000000 00000000 0002 01 22222 @millrace/flows/999999/2
0000000000000000: 00000002 00000000 00000000 0002 01 33333 @millrace/flows/999999/1
0000000000000000: 00000002 00000000 00000000 0002 01 44444 @millrace/flows/88888/1
0000000000000000: 00000002 00000000 00000000 0002 01 55555 /run/x/@millrace/flows/1/
`;

const rule = (more: Partial<FlowRule> = {}): FlowRule => ({
  by: 'software',
  kind: 'local',
  family: 'ipv4',
  protocol: 6,
  address: '10.0.0.1',
  port: 80,
  portMask: 0xffff,
  queues: [],
  rss: false,
  deviceRules: 1,
  packets: 3,
  bytes: 180,
  words: 'tcp to 10.0.0.1 port 80: ours, by any queue',
  ...more,
});
const answer = (more: Partial<SteeredProgram['interfaces'][0]> = {}): string =>
  JSON.stringify({
    pid: 999999,
    ports: [{ name: 'dpdk', mode: 'net_tap' }],
    interfaces: [
      {
        interface: 'eth1',
        kinds: { ours_local: 3, kernel_other: 2 },
        rules: [rule()],
        more: false,
        refused: [],
        ...more,
      },
    ],
  });

/** Runs the command against answers by desk. */
function flows(args: string[], answers: Record<string, string | number>): { code: number; text: string } {
  let text = '';
  const print = (more: string): void => void (text += more);
  const code = flowsCommand(
    args,
    print,
    (desk) => answers[desk] ?? -ECONNREFUSED,
    () => SOCKETS,
  );
  return { code, text };
}

t.test('desks are found in the order of processes and stacks', async (t) => {
  t.same(desksOf(SOCKETS), [
    { desk: 'millrace/flows/88888/1', pid: 88888, stack: 1 },
    { desk: 'millrace/flows/999999/1', pid: 999999, stack: 1 },
    { desk: 'millrace/flows/999999/2', pid: 999999, stack: 2 },
  ]);
});

t.test('the list, as text and as JSON', async (t) => {
  const rules = [
    rule(),
    rule({ by: 'rte_flow', kind: 'port-block', deviceRules: 64, words: 'tcp to 10.0.0.1 port 40000-40063: queue 1' }),
    rule({ by: 'rte_flow', kind: 'icmp-error', words: 'icmp type 3 to 10.0.0.1: queue 0' }),
  ].map(({ packets, bytes, ...rest }, i) => (i === 2 ? rest : { ...rest, packets, bytes }));
  const refused = [{ rule: 'tcp to 10.0.0.1 port 81: queue 0: table \u001b[2Jfull', times: 2 }];
  const answers = { 'millrace/flows/999999/1': answer({ rules: rules as FlowRule[], refused, more: true }) };
  const { code, text } = flows([], answers);
  t.equal(code, 0);
  t.equal(
    text,
    [
      'process 999999, stack 1: ',
      '  port dpdk: net_tap',
      '  interface eth1',
      '    packets for us: flows 0, local ports 3, port blocks 0, ICMP errors 0; undeliverable 0',
      '    packets for the kernel: its flows 0, fragments 0, malformed 0, no rule 2',
      '    local port  software  3 packets, 180 bytes  tcp to 10.0.0.1 port 80: ours, by any queue',
      '    port block  rte_flow  3 packets, 180 bytes  tcp to 10.0.0.1 port 40000-40063: queue 1 (64 rules of the device)',
      '    ICMP error  rte_flow  by kind               icmp type 3 to 10.0.0.1: queue 0',
      '    and more',
      '    refused 2 times: tcp to 10.0.0.1 port 81: queue 0: table ?[2Jfull',
      '',
    ].join('\n'),
  );
  const json = JSON.parse(flows(['--json'], answers).text) as { programs: SteeredProgram[] };
  t.match(json.programs, [{ pid: 999999, stack: 1, interfaces: [{ more: true, refused }] }]);
  t.same(json.programs[0]?.interfaces[0]?.rules, rules);
});

t.test('XDP counts by kind, for everybody on the interface, and the list says so', async (t) => {
  const { packets, bytes, ...bare } = rule({ by: 'xdp' });
  const { text } = flows([], { 'millrace/flows/999999/1': answer({ rules: [bare] }) });
  t.match(text, 'packets for us (of all programs on the interface; XDP counts by kind): flows 0, local ports 3');
  t.match(text, /local port {2}xdp {2}by kind {2}tcp to 10\.0\.0\.1/);
});

t.test('programs that do not answer, are gone, or talk nonsense', async (t) => {
  t.match(flows([], {}), { code: 0, text: /^no program steers packets in this network namespace/ });
  t.match(flows([], { 'millrace/flows/88888/1': -ETIMEDOUT }), { code: 1, text: /88888.*\n {2}it does not answer/ });
  t.match(flows([], { 'millrace/flows/88888/1': -EACCES }), { code: 1, text: /cannot be asked: EACCES/ });
  t.match(flows([], { 'millrace/flows/88888/1': '{"por' }), { code: 1, text: /its answer makes no sense/ });
  for (const nonsense of ['null', '[]', '{"ports":[],"interfaces":7}', '{"ports":[],"interfaces":[{}]}']) {
    t.match(
      flows([], { 'millrace/flows/88888/1': nonsense }),
      { code: 1, text: /its answer makes no sense/ },
      nonsense,
    );
  }
});

t.test('processes by number', async (t) => {
  const answers = { 'millrace/flows/999999/1': answer(), 'millrace/flows/88888/1': answer() };
  const one = flows(['88888'], answers);
  t.equal(one.code, 0);
  t.match(one.text, 'process 88888, stack 1');
  t.notMatch(one.text, '999999, stack');
  t.match(flows(['77', '88888'], answers), { code: 1, text: /process 77: has no steering rules/ });
  t.match(millrace(['flows', 'eth0']), { code: 2, stderr: /flows takes --json and process ids, and there is 'eth0'/ });
});

t.test('a long command is cut, an empty list has no rows', async (t) => {
  const program: SteeredProgram = {
    pid: 1,
    stack: 1,
    command: 'x'.repeat(100),
    ports: [],
    interfaces: [{ interface: 'eth1', kinds: {}, rules: [], more: false, refused: [] }],
  };
  t.match(asText([program]), `process 1, stack 1: ${'x'.repeat(60)}...\n`);
});
