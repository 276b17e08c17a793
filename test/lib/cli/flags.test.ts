import { resolve } from 'node:path';
import t from 'tap';
import { environmentFor, parseFlags } from '../../../lib/cli/flags';
import { OptionError, UnknownOptionError } from '../../../lib/errors';
import { caught } from '../caught';

t.test('flags become variables, the rest is the command', async (t) => {
  t.match(parseFlags(['--spin-us', '20', '--port=loopback', 'node', '--inspect', 'x.js', '--port', '80']), {
    variables: { MILLRACE_SPIN_US: '20', MILLRACE_PORT: 'loopback' },
    rest: ['node', '--inspect', 'x.js', '--port', '80'],
  });
  t.same(parseFlags(['--', '--spin-us']).rest, ['--spin-us']);
  t.same(parseFlags([]).rest, []);
});

t.test('switches', async (t) => {
  t.same(parseFlags(['--debug', '--require', 'node']).variables, { MILLRACE_DEBUG: 'on', MILLRACE_REQUIRE: 'on' });
  t.same(parseFlags(['--debug=off', '--no-keepalive', 'node']).variables, {
    MILLRACE_DEBUG: 'off',
    MILLRACE_KEEPALIVE: 'off',
  });
  t.same(parseFlags(['--debug', 'node']).rest, ['node'], 'a switch does not swallow the command');
  t.same(parseFlags(['--debug', 'false', '--require', 'Yes', 'node']), {
    variables: { MILLRACE_DEBUG: 'false', MILLRACE_REQUIRE: 'Yes' },
    own: new Set(),
    rest: ['node'],
  });
  t.same(parseFlags(['--debug=on', 'true']).rest, ['true'], 'one value is enough');
  t.same(parseFlags(['--no-keepalive', 'true']).rest, ['true']);
  t.same(parseFlags(['--debug', '--', 'true']).rest, ['true']);
  t.same(parseFlags(['--json', '--debug'], ['--json']).own, new Set(['--json']));
});

t.test('repeated flags', async (t) => {
  t.same(parseFlags(['--interface', 'eth1', '--interface=eth2']).variables, { MILLRACE_INTERFACE: 'eth1,eth2' });
  t.same(parseFlags(['--accelerate', 'tcp', '--accelerate', '!tcp:*:*:22']).variables, {
    MILLRACE_ACCELERATE: 'tcp,!tcp:*:*:22',
  });
  t.same(parseFlags(['--spin-us', '1', '--spin-us', '2']).variables, { MILLRACE_SPIN_US: '2' });
  t.same(
    parseFlags(['--fault', 'drop=0.1,dup=0.1']).variables,
    { MILLRACE_FAULT: 'drop=0.1,dup=0.1' },
    'a value may hold =',
  );
});

t.test('the configuration file is found from where the command is given', async (t) => {
  t.same(parseFlags(['--config', 'a.json']).variables, { MILLRACE_CONFIG: resolve('a.json') });
});

t.test('wrong flags', async (t) => {
  const value = caught(() => parseFlags(['--spin-us', '2000', 'node']));
  t.type(value, OptionError);
  t.equal(value.message, "--spin-us is '2000': too large; allowed: an integer from 0 to 1000");
  const unknown = caught(() => parseFlags(['--spinus', '1']));
  t.type(unknown, UnknownOptionError);
  t.match(unknown.message, /^--spinus .*did you mean --spin-us\? npx millrace options lists them$/);
  t.type(
    caught(() => parseFlags(['--json'])),
    UnknownOptionError,
    'a flag of another command',
  );
  t.match(caught(() => parseFlags(['--port'])).message, /--port .*has no value; allowed: none, loopback, af_xdp, dpdk/);
  for (const next of ['--interface', '--spin-us=1', '--no-keepalive', '--', '--config', '--json']) {
    const missing = caught(() => parseFlags(['--pcap', next, 'x'], ['--json']));
    t.match(missing.message, /--pcap .*has no value; allowed: the name of a file/, `${next} is no value`);
  }
  t.same(parseFlags(['--dpdk-args', '--vdev=net_ring0 --no-pci', 'x']).rest, ['x'], 'but what is no flag here is');
  t.match(caught(() => parseFlags(['--no-port'])).message, /--no-port .*allowed: --port=<value>/);
  t.match(caught(() => parseFlags(['-x'])).message, /-x is not an option/);
});

t.test('a flag silences the variable that it contradicts', async (t) => {
  const env = { MILLRACE_INTERFACE: 'eth1', MILLRACE_PORT: 'loopback', HOME: '/' };
  t.same(environmentFor({ MILLRACE_PORT: 'loopback' }, env), { MILLRACE_PORT: 'loopback', HOME: '/' });
  t.same(environmentFor({ MILLRACE_INTERFACE: 'eth2' }, env), {
    MILLRACE_INTERFACE: 'eth2',
    MILLRACE_PORT: 'af_xdp',
    HOME: '/',
  });
  t.match(
    environmentFor({ MILLRACE_INTERFACE: 'eth2' }, { MILLRACE_PORT: 'dpdk' }),
    { MILLRACE_INTERFACE: 'eth2', MILLRACE_PORT: 'dpdk' },
    'a device of DPDK may have an interface beside it',
  );
  t.same(environmentFor({}, env), env);
});
