// Jest and Vitest, at fixed versions, with a suite that opens sockets: the same results with the preload and without, in
// every way in which they run tests (this process, child processes, worker threads, vm contexts).
//
//   npm run test:runners        fetches both from npm into .cache/runners
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './files.mjs';
import { run } from './run.mjs';

const VERSIONS = { jest: '30.5.2', vitest: '3.2.4' };
const FOLDER = join(ROOT, '.cache/runners');
const REGISTER = join(ROOT, 'dist/compat/register.js');

/** `OURS` says which kind of socket there must be. */
const SUITE = `
const net = require('node:net');
const http = require('node:http');

const ours = process.env.OURS === '1';
const listen = (server) => new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server.address().port)));

test('net: an echo, on the way that is meant', async () => {
  const server = net.createServer((socket) => socket.pipe(socket));
  const port = await listen(server);
  const text = await new Promise((resolve, reject) => {
    let got = '';
    const client = net.connect(port, '127.0.0.1', () => {
      expect(client._handle.fd === -1).toBe(ours);
      client.end('hello');
    });
    client.setEncoding('utf8').on('data', (data) => { got += data; }).on('end', () => resolve(got)).on('error', reject);
  });
  expect(text).toBe('hello');
  await new Promise((resolve) => server.close(resolve));
});

test('http: fetch and http.get', async () => {
  const server = http.createServer((request, response) => response.end(request.url.repeat(10_000)));
  const port = await listen(server);
  const bodies = await Promise.all([1, 2, 3].map(async (n) => (await fetch('http://127.0.0.1:' + port + '/' + n)).text()));
  expect(bodies).toEqual(['/1', '/2', '/3'].map((path) => path.repeat(10_000)));
  const status = await new Promise((resolve, reject) => {
    http.get({ port, host: '127.0.0.1', agent: false }, (response) => {
      response.resume().on('end', () => resolve(response.statusCode));
    }).on('error', reject);
  });
  expect(status).toBe(200);
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

test('an error has the fields that it has', async () => {
  const server = net.createServer();
  const port = await listen(server);
  await new Promise((resolve) => server.close(resolve));
  const error = await new Promise((resolve) => net.connect(port, '127.0.0.1').on('error', resolve));
  expect(error).toMatchObject({ code: 'ECONNREFUSED', syscall: 'connect', address: '127.0.0.1', port });
});

test('a buffer is a buffer', async () => {
  const server = net.createServer((socket) => socket.end(Buffer.from([1, 2, 3])));
  const port = await listen(server);
  const data = await new Promise((resolve) => net.connect(port, '127.0.0.1').on('data', resolve));
  expect(Buffer.isBuffer(data)).toBe(true);
  expect([...data]).toEqual([1, 2, 3]);
  await new Promise((resolve) => server.close(resolve));
});
`;
const FILES = 3;
const TESTS = FILES * 4;

const WAYS = [
  ['jest, in this process', 'jest', ['--runInBand']],
  ['jest, child processes', 'jest', ['--maxWorkers=2']],
  ['jest, worker threads', 'jest', ['--maxWorkers=2', '--workerThreads']],
  ['vitest, child processes', 'vitest', ['--pool=forks']],
  ['vitest, worker threads', 'vitest', ['--pool=threads']],
  ['vitest, vm contexts', 'vitest', ['--pool=vmThreads']],
];

async function install() {
  mkdirSync(FOLDER, { recursive: true });
  const json = JSON.stringify({ private: true, dependencies: VERSIONS }, null, 2);
  writeFileSync(join(FOLDER, 'package.json'), json);
  const there = Object.keys(VERSIONS).every((name) => existsSync(join(FOLDER, 'node_modules', name)));
  if (!there) {
    console.log(
      `fetching ${Object.entries(VERSIONS)
        .map((entry) => entry.join('@'))
        .join(' and ')}`,
    );
    const { code, output } = await run('npm', ['install', '--no-audit', '--no-fund', '--ignore-scripts'], {
      cwd: FOLDER,
    });
    if (code !== 0) throw new Error(`npm install failed\n${output}`);
  }
  for (let i = 1; i <= FILES; ++i) {
    writeFileSync(join(FOLDER, `suite${i}.test.js`), SUITE);
  }
  writeFileSync(join(FOLDER, 'jest.config.js'), "module.exports = { testEnvironment: 'node', roots: [__dirname] };\n");
  writeFileSync(join(FOLDER, 'vitest.config.mjs'), 'export default { test: { globals: true, watch: false } };\n');
}

function command(runner, args, result) {
  const bin = join(FOLDER, 'node_modules', runner, runner === 'jest' ? 'bin/jest.js' : 'vitest.mjs');
  return runner === 'jest'
    ? [bin, '--ci', '--json', `--outputFile=${result}`, ...args]
    : [bin, 'run', '--reporter=json', `--outputFile=${result}`, ...args];
}

/** What a run says of itself, without times. */
async function outcome(runner, args, env) {
  const result = join(FOLDER, 'result.json');
  rmSync(result, { force: true });
  const options = { cwd: FOLDER, env: { NO_COLOR: '1', ...env }, timeoutSeconds: 180 };
  const { code, output } = await run(process.execPath, command(runner, args, result), options);
  if (!existsSync(result)) return { code, passed: 0, tests: 0, said: output };
  const { numPassedTests, numTotalTests } = JSON.parse(readFileSync(result, 'utf8'));
  return { code, passed: numPassedTests, tests: numTotalTests, said: output };
}

await install();
let failed = 0;
for (const [name, runner, args] of WAYS) {
  const plain = await outcome(runner, args, { OURS: '0', NODE_OPTIONS: '' });
  const preload = { OURS: '1', NODE_OPTIONS: `--require ${REGISTER}`, MILLRACE_PORT: 'loopback' };
  const preloaded = await outcome(runner, args, preload);
  const good = [plain, preloaded].every(({ code, passed, tests }) => code === 0 && passed === TESTS && tests === TESTS);
  const said = /^millrace:.*/m.exec(preloaded.said)?.[0];
  if (good && said === undefined) console.log(`ok ${name}: ${preloaded.passed} tests over the stack`);
  else {
    ++failed;
    console.log(
      `not ok ${name}: plain ${plain.passed}/${plain.tests}, preloaded ${preloaded.passed}/${preloaded.tests}`,
    );
    console.log((plain.passed === TESTS ? preloaded.said : plain.said).slice(-4000));
  }
}
console.log(`${WAYS.length - failed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
