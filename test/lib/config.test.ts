import { join } from 'node:path';
import t from 'tap';
import { loadOptions, loadWithOrigins, nearest } from '../../lib/config';
import { OptionError, UnknownOptionError } from '../../lib/errors';
import { OPTION_NAMES, REGISTRY, variableOf } from '../../lib/options';
import { caught } from './caught';

const nowhere = '/nonexistent-directory';

t.test('defaults', async (t) => {
  const { options, origins, file } = loadWithOrigins({ env: {}, directory: nowhere });
  for (const name of OPTION_NAMES) {
    t.same(options[name], REGISTRY[name].default, name);
    t.equal(origins[name], 'default');
  }
  t.equal(file, null);
  t.equal(options.port, 'none', 'nothing is accelerated until somebody asks for it');
});

t.test('precedence: default, file, variable, argument', async (t) => {
  const directory = t.testdir({ 'millrace.config.json': '{"spinUs": 10, "guardianMs": 20, "debug": true}' });
  const env = { MILLRACE_GUARDIAN_MS: '30', MILLRACE_DEBUG: 'off', HOME: '/' };
  const { options, origins, file } = loadWithOrigins({ env, directory, overrides: { debug: true, pcap: undefined } });
  t.equal(options.spinUs, 10);
  t.equal(options.guardianMs, 30);
  t.equal(options.debug, true);
  t.match(origins, { spinUs: 'file', guardianMs: 'variable', debug: 'argument', pcap: 'default' });
  t.equal(file, join(directory, 'millrace.config.json'));
});

t.test('MILLRACE_CONFIG names the file, relative to the working directory', async (t) => {
  const directory = t.testdir({ 'other.json': '{"spinUs": 11}', 'millrace.config.json': '{"spinUs": 12}' });
  t.equal(loadOptions({ env: { MILLRACE_CONFIG: 'other.json' }, directory }).spinUs, 11);
  t.equal(loadOptions({ env: { MILLRACE_CONFIG: '' }, directory }).spinUs, 12, 'empty is not set');
  t.throws(() => loadOptions({ env: { MILLRACE_CONFIG: 'gone.json' }, directory }), {
    code: 'ERR_MILLRACE_OPTION',
    message: /^MILLRACE_CONFIG is 'gone\.json': cannot be read \(ENOENT\); allowed: a readable JSON file$/,
  });
});

t.test('a configuration file that cannot be used', async (t) => {
  for (const content of ['{', '[]', 'null', '"x"']) {
    const directory = t.testdir({ 'millrace.config.json': content });
    t.throws(
      () => loadOptions({ env: {}, directory }),
      { code: 'ERR_MILLRACE_OPTION', option: 'millrace.config.json' },
      content,
    );
  }
  const directory = t.testdir({ 'millrace.config.json': {} });
  t.throws(
    () => loadOptions({ env: {}, directory }),
    { message: /EISDIR/ },
    'a directory of that name is not passed over',
  );
});

t.test('a wrong value names option, value and what is allowed, in one line', async (t) => {
  const error = caught(() => loadOptions({ env: { MILLRACE_SPIN_US: '20\n00' }, directory: nowhere }));
  t.type(error, OptionError);
  t.match(error, { option: 'MILLRACE_SPIN_US', value: '20\n00', allowed: 'an integer from 0 to 1000' });
  t.equal(error.message, "MILLRACE_SPIN_US is '20 00': not an integer; allowed: an integer from 0 to 1000");
  const directory = t.testdir({ 'millrace.config.json': '{"congestion": "reno"}' });
  t.throws(() => loadOptions({ env: {}, directory }), {
    message: "congestion in millrace.config.json is 'reno': not one of the values; allowed: cubic, newreno, bbr",
  });
  t.throws(() => loadOptions({ env: {}, directory: nowhere, overrides: { frames: 3 } }), {
    message: 'option frames is 3: too small; allowed: auto or an integer from 1024 to 4194304',
  });
});

t.test('a wrong rule of the policy is named', async (t) => {
  const env = { MILLRACE_ACCELERATE: 'tcp:listen:*:80 udp:listen:*:53' };
  t.throws(() => loadOptions({ env, directory: nowhere }), {
    message: /rule 2 'udp:listen:\*:53': udp has no listen; allowed: udp:bind/,
  });
});

t.test('unknown names, with the nearest known one', async (t) => {
  const error = caught(() => loadOptions({ env: { MILLRACE_SPIN_MS: '1' }, directory: nowhere }));
  t.type(error, UnknownOptionError);
  t.equal(
    error.message,
    'MILLRACE_SPIN_MS is not an option of millrace (variable); did you mean MILLRACE_SPIN_US? npx millrace options lists them',
  );
  t.throws(() => loadOptions({ env: { MILLRACE_ZZZZZZZZZZZZZZZZ: '' }, directory: nowhere }), {
    message: /; npx millrace options lists them$/,
  });
  const directory = t.testdir({ 'millrace.config.json': '{"spinus": 1}' });
  t.throws(() => loadOptions({ env: {}, directory }), {
    message: /^spinus in millrace\.config\.json .* did you mean spinUs\? npx millrace options lists them$/,
  });
  t.throws(() => loadOptions({ env: {}, directory: nowhere, overrides: { toString: 1 } }), {
    code: 'ERR_MILLRACE_OPTION',
  });
  t.doesNotThrow(
    () => loadOptions({ env: { MILLRACED: 'x', MY_MILLRACE_X: 'y' }, directory: nowhere }),
    'names of others',
  );
});

t.test('an empty variable is not set', async (t) => {
  const directory = t.testdir({ 'millrace.config.json': '{"spinUs": 10}' });
  t.equal(loadOptions({ env: { MILLRACE_SPIN_US: '' }, directory }).spinUs, 10);
});

t.test('port and interface', async (t) => {
  const load = (env: Record<string, string>, overrides = {}) => loadOptions({ env, directory: nowhere, overrides });
  t.match(load({ MILLRACE_INTERFACE: 'eth1' }), { port: 'af_xdp', interface: ['eth1'] }, 'an interface implies af_xdp');
  t.throws(() => load({ MILLRACE_PORT: 'af_xdp' }), { message: /no interface is named/ });
  t.match(
    caught(() => load({ MILLRACE_PORT: 'loopback', MILLRACE_INTERFACE: 'eth1' })),
    { option: 'MILLRACE_INTERFACE' },
  );
  t.match(load({ MILLRACE_PORT: 'none', MILLRACE_INTERFACE: 'eth1' }), { port: 'none', interface: [] });
  t.match(
    load({ MILLRACE_INTERFACE: 'eth1' }, { port: 'loopback' }),
    { port: 'loopback', interface: [] },
    'the stronger source wins',
  );
  t.match(load({ MILLRACE_PORT: 'loopback' }, { interface: ['eth1'] }), { port: 'af_xdp', interface: ['eth1'] });
});

t.test('port dpdk needs a device; an interface may go with it', async (t) => {
  const load = (env: Record<string, string>) => loadOptions({ env, directory: nowhere });
  t.throws(() => load({ MILLRACE_PORT: 'dpdk' }), { message: /no device is named; allowed: .*MILLRACE_DPDK_ARGS/ });
  const device = { MILLRACE_PORT: 'dpdk', MILLRACE_DPDK_ARGS: '--vdev net_tap0' };
  t.match(load(device), { port: 'dpdk', dpdkArgs: '--vdev net_tap0', interface: [] });
  t.match(load({ ...device, MILLRACE_INTERFACE: 'eth1' }), { port: 'dpdk', interface: ['eth1'] });
});

t.test('every variable is taken', async (t) => {
  for (const name of OPTION_NAMES) {
    t.match(
      caught(() => loadOptions({ env: { [variableOf(name)]: '\0' }, directory: nowhere })),
      { option: variableOf(name) },
      name,
    );
  }
});

t.test('nearest', async (t) => {
  t.equal(nearest('spinnUs', ['spinUs', 'pcap']), 'spinUs');
  t.equal(nearest('quite-different', ['spinUs', 'pcap']), undefined);
});
