import t from 'tap';
import { compilePolicy, PolicyError } from '../../lib/policy';
import { caught } from './caught';

type Question = ['tcp' | 'udp', 'listen' | 'connect' | 'bind', string, number];

function answers(rules: string, yes: Question[], no: Question[]): void {
  t.test(`rules "${rules}"`, async (t) => {
    const policy = compilePolicy(rules);
    for (const question of yes) t.equal(policy.wants(...question), true, `ours: ${question.join(' ')}`);
    for (const question of no) t.equal(policy.wants(...question), false, `the kernel's: ${question.join(' ')}`);
  });
}

const ssh: Question = ['tcp', 'listen', '0.0.0.0', 22];
const web: Question = ['tcp', 'listen', '::', 8080];
const dns: Question = ['udp', 'bind', '0.0.0.0', 53];
const database: Question = ['tcp', 'connect', '10.1.2.3', 5432];

answers('', [ssh, web, dns, database], []);
answers('*', [ssh, web, dns, database], []);
answers('tcp', [ssh, web, database], [dns]);
answers('tcp:listen', [ssh, web], [dns, database]);
answers('!tcp:*:*:22', [web, dns, database], [ssh]);
answers(
  'tcp:listen:*:8080 udp:bind:*:* tcp:connect:10.0.0.0/8:5432-5433 !tcp:*:*:22',
  [web, dns, database, ['tcp', 'connect', '10.255.0.1', 5433], ['tcp', 'connect', '::ffff:10.9.9.9', 5432]],
  [
    ssh,
    ['tcp', 'connect', '11.0.0.1', 5432],
    ['tcp', 'connect', '10.0.0.1', 5434],
    ['udp', 'connect', '10.0.0.1', 5432],
  ],
);

t.test('what a list of rules could want, and what it excludes', async (t) => {
  for (const [rules, mayConnect, excluded] of [
    ['', true, false],
    ['tcp', false, false],
    ['udp:bind', false, false],
    ['udp:bind udp:connect:10.0.0.0/8:53', true, false],
    ['udp !udp:connect:10.0.0.1:53', true, true],
    ['!udp:connect:*:53', true, true],
    ['!udp', true, true],
    ['!udp:connect udp:connect:10.0.0.0/8:53', true, false],
  ] as const) {
    const policy = compilePolicy(rules);
    t.equal(policy.mayWant('udp', 'connect'), mayConnect, `"${rules}" may want a destination of datagrams`);
    t.equal(policy.excludes('udp', 'connect', '10.0.0.1', 53), excluded, `"${rules}" excludes 10.0.0.1:53`);
  }
});

// The last match decides.
answers('!*:*:10.0.0.0/8:*,*:*:10.1.0.0/16:*', [database, web], [['tcp', 'connect', '10.2.0.1', 5432]]);
answers('*:*:10.1.0.0/16:* !*:*:10.0.0.0/8:*', [], [database, web, ['tcp', 'connect', '10.2.0.1', 5432]]);
answers(
  'tcp:connect:2001:db8::/33:443',
  [
    ['tcp', 'connect', '2001:db8::1', 443],
    ['tcp', 'connect', '2001:DB8:7fff::1', 443],
  ],
  [
    ['tcp', 'connect', '2001:db8:8000::1', 443],
    ['tcp', 'connect', '2001:db9::1', 443],
    ['tcp', 'connect', '32.1.13.184', 443],
  ],
);
answers('tcp:*:[fe80::1]:*', [['tcp', 'connect', 'fe80::1%eth0', 1]], [['tcp', 'connect', 'fe80::2%eth0', 1]]);
answers('tcp:*:[fd00::/8]:80', [['tcp', 'connect', 'fdff::1', 80]], [['tcp', 'connect', 'fe00::1', 80]]);
answers('tcp:*:[fd00::]/8:80', [['tcp', 'connect', 'fdff::1', 80]], [['tcp', 'connect', 'fe00::1', 80]]);
answers('tcp:*:::ffff:10.0.0.0/104:*', [database], [['tcp', 'connect', '11.0.0.1', 1]]);
answers('tcp:*:0.0.0.0/0:*', [database, ssh], [['tcp', 'connect', '::1', 1]]);
answers('tcp:*:::/0:*', [web, ['tcp', 'connect', '::1', 1]], [database]);
answers(
  'tcp:*:1.2.3.4:*',
  [['tcp', 'connect', '1.2.3.4', 1]],
  [
    ['tcp', 'connect', '1.2.3.5', 1],
    ['tcp', 'connect', 'a name', 1],
  ],
);
answers('udp:bind:*:0', [['udp', 'bind', '0.0.0.0', 0]], [dns]);
answers(
  'tcp:*:255.255.255.255:65535',
  [['tcp', 'connect', '255.255.255.255', 65535]],
  [['tcp', 'connect', '127.255.255.255', 65535]],
);

t.test('everything', async (t) => {
  t.equal(compilePolicy('').everything, true);
  t.equal(compilePolicy('tcp *').everything, true);
  t.equal(compilePolicy('tcp udp').everything, false);
  t.equal(compilePolicy('* !tcp').everything, false);
});

t.test('a rule that cannot be understood is pointed at', async (t) => {
  const wrong: [string, RegExp][] = [
    ['icmp', /^rule 1 'icmp': protocol 'icmp'/],
    ['tcp udp:liste', /^rule 2 'udp:liste': operation 'liste'/],
    ['tcp:bind', /tcp has no bind/],
    ['udp:listen', /udp has no listen/],
    ['tcp:listen:80', /number of fields/],
    ['tcp:listen:localhost:80', /address 'localhost'/],
    ['tcp:listen:10.0.0:80', /address/],
    ['tcp:listen:10.0.0.256:80', /address/],
    ['tcp:listen:010.0.0.1:80', /address/],
    ['tcp:listen:10.0.0.0/33:80', /address/],
    ['tcp:listen:10.0.0.1/8:80', /bits behind its prefix/],
    ['tcp:listen:2001:db8::1/32:80', /bits behind its prefix/],
    ['tcp:listen:[::1:80', /address/],
    ['tcp:listen:::1]:80', /address/],
    ['tcp:listen:1::2::3:80', /address/],
    ['tcp:listen:1:2:3:4:5:6:7:80', /address/],
    ['tcp:listen:1:2:3:4:5:6:7:8:9:80', /address/],
    ['tcp:listen:12345::1:80', /address/],
    ['tcp:listen:*:65536', /port '65536'/],
    ['tcp:listen:*:90-80', /port '90-80'/],
    ['tcp:listen:*:http', /port 'http'/],
    ['!', /protocol ''/],
  ];
  for (const [rules, message] of wrong) {
    const error = t.throws(() => compilePolicy(rules), { message }, rules);
    t.type(error, PolicyError);
    t.not((error as PolicyError).allowed, '');
  }
  t.match(
    caught(() => compilePolicy('tcp:listen:10.1.2.3/8:80')),
    { allowed: '10.0.0.0/8' },
  );
  t.match(
    caught(() => compilePolicy('tcp:listen:2001:db8:0:1::/32:80')),
    { allowed: '[2001:db8::]/32' },
  );
  t.match(
    caught(() => compilePolicy('tcp, udp ,icmp')),
    { position: 3, rule: 'icmp' },
  );
});
