// One row: its program under plain Node on both sides, then with millrace on each side in turn, in a lab of its own.
import { execFileSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { ROOT } from '../files.mjs';
import { startServer } from './servers.mjs';

const require = createRequire(import.meta.url);
const { openLab } = require('../lab/lab.js');

const PORT = 7000;
const CLIENT_MS = 90_000;

/** A certificate authority and a certificate for the addresses of both sides, in the lab's folder. */
function makeCertificates(lab) {
  const at = (name) => join(lab.folder, name);
  const openssl = (...args) => execFileSync('openssl', args, { stdio: 'pipe', timeout: 20000 });
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  const names = [lab.mill, lab.peer].map((side) => `IP:${side.ipv4},IP:${side.ipv6}`);
  const authority = ['basicConstraints=critical,CA:TRUE', 'keyUsage=critical,keyCertSign'];
  const extensions = authority.flatMap((text) => ['-addext', text]);
  openssl('req', '-x509', ...key, '-keyout', at('ca.key'), '-out', at('ca.pem'), '-subj', '/CN=mill', ...extensions);
  const alternative = `subjectAltName=${names},DNS:localhost`;
  const request = ['-out', at('server.csr'), '-subj', '/CN=server', '-addext', alternative];
  openssl('req', ...key, '-keyout', at('server.key'), ...request);
  const signed = ['-CA', at('ca.pem'), '-CAkey', at('ca.key'), '-CAcreateserial', '-copy_extensions', 'copyall'];
  openssl('x509', '-req', '-in', at('server.csr'), '-out', at('server.pem'), '-days', '2', ...signed);
  return lab.folder;
}

/** TCP connections that the kernel of a side opened and accepted since it is there. */
async function kernelOpens(lab, side) {
  const text = await lab.must(side, 'cat', ['/proc/net/snmp']);
  const [names, values] = text
    .split('\n')
    .filter((line) => line.startsWith('Tcp:'))
    .map((line) => line.split(' '));
  const of = (name) => Number(values[names.indexOf(name)]);
  return of('ActiveOpens') + of('PassiveOpens');
}

/** The program's server under Node, with the same three verbs as one of Debian. */
class NodeServer {
  #run;
  #jobs = [];

  constructor(run) {
    this.#run = run;
  }

  async start() {
    this.#jobs.push(await this.#run());
  }

  stop() {
    return this.#jobs.at(-1).stop('SIGTERM', 8000);
  }

  kill() {
    return this.#jobs.at(-1).stop('SIGKILL');
  }

  describe() {
    return this.#jobs.map((job) => job.describe()).join('\n');
  }

  get jobs() {
    return this.#jobs;
  }
}

function lines(job) {
  const all = job.stdout.split('\n').filter((line) => line.startsWith('{'));
  return all.map((line) => JSON.parse(line)).filter((line) => 'step' in line);
}

/** Does what the client asks until it ends. */
async function serveClient(client, server) {
  let at = 0;
  const look = async () => {
    for (;;) {
      const end = client.stdout.indexOf('\n', at);
      if (end < 0) return;
      const line = client.stdout.slice(at, end);
      at = end + 1;
      const verb = /^\{"ask":"(\w+)"\}$/.exec(line)?.[1];
      if (verb === undefined) continue;
      await server[verb]();
      client.child.stdin.write('done\n');
    }
  };
  let problem = null;
  let turn = Promise.resolve();
  const again = () => {
    turn = turn.then(look).catch((error) => {
      problem ??= error;
      client.kill('SIGKILL');
    });
  };
  client.watchers.add(again);
  again();
  try {
    await client.finish(CLIENT_MS);
    await turn;
  } finally {
    client.watchers.delete(again);
  }
  if (problem !== null) throw problem;
}

/** What Node writes to stderr by itself names its process; the rest must be the same. */
const withoutPids = (text) => text.replaceAll(/\(node:\d+\)/g, '(node)');

/** Counters of the jobs under millrace, added up. */
async function used(lab, jobs) {
  let connections = 0;
  let segments = 0;
  for (const job of jobs) {
    const stats = await lab.finalStats(job);
    if (stats === null) continue; // It was killed while it ran.
    connections += stats.counters.stack.connections_opened + stats.counters.stack.connections_accepted;
    segments += stats.counters.tcp.tcp_received + stats.counters.tcp.tcp_sent;
  }
  return { connections, segments };
}

/**
 * One run: `side` is where millrace is, 'none', 'client' or 'server'. The side that is under test is always the lab's
 * mill; a server of Debian that stands between the two is the peer's.
 */
async function runOnce(row, { lab, programs, certificates, debian, front }, side, nodeArgs) {
  const tested = side === 'none' ? row.sides[0] : side;
  const [clientSide, serverSide] = tested === 'server' ? [lab.peer, lab.mill] : [lab.mill, lab.peer];
  const main = join(programs, 'main.js');
  const launch = (role, own, to, options) => {
    const other = own === lab.mill ? lab.peer : lab.mill;
    const args = [row.program ?? row.name, role, to.host, own.ipv4, other.ipv4, to.port, certificates];
    const mode = side === role ? 'millrace' : 'kernel';
    return lab.node(mode, main, args, { side: own, nodeArgs, ...options });
  };
  const own = { host: serverSide.ipv4, port: PORT };
  const server = debian ?? new NodeServer(() => launch('server', serverSide, own));
  const before = await kernelOpens(lab, lab.mill);
  // A server of Debian runs on from run to run, unless the last client had it killed.
  if (debian === undefined || !debian.running) await server.start();
  const client = await launch('client', clientSide, front ?? debian ?? own, { ready: null, stdin: 'pipe' });
  try {
    await serveClient(client, server);
  } catch (error) {
    throw new Error(`${error.message}\nserver:\n${server.describe()}`);
  }
  const serverJobs = server.jobs ?? [];
  const ours = side === 'server' ? serverJobs : side === 'client' ? [client] : [];
  const { connections, segments } = await used(lab, ours);
  for (const job of serverJobs) await job.stop('SIGTERM', 8000);
  const opens = (await kernelOpens(lab, lab.mill)) - before;
  const ok = client.code === 0 && client.stdout.includes('{"done":true}');
  if (!ok) throw new Error(`the client failed: ${client.describe()}\nserver:\n${server.describe()}`);
  return {
    side,
    steps: { client: lines(client), server: serverJobs.flatMap(lines) },
    stderr: { client: withoutPids(client.stderr), server: serverJobs.map((job) => withoutPids(job.stderr)).join('') },
    connections,
    segments,
    opens,
  };
}

/** The lines around the first that differs. */
function firstDifference(expected, came) {
  const [plain, hooked] = [expected, came].map((text) => text.split('\n'));
  const first = plain.findIndex((line, i) => line !== hooked[i]);
  const at = first < 0 ? plain.length : first;
  const part = (all) => all.slice(Math.max(0, at - 6), at + 12).join('\n');
  return `\n--- plain\n${part(plain)}\n--- millrace\n${part(hooked)}`;
}

/** What differs between a run under millrace and the plain one, in words. */
export function differences(plain, run) {
  const found = [];
  for (const kind of ['steps', 'stderr']) {
    for (const role of ['client', 'server']) {
      const [expected, came] = [plain, run].map((one) =>
        JSON.stringify(one[kind][role], null, 1).replaceAll('\\n', '\n'),
      );
      if (expected !== came) found.push(`${kind} of the ${role}:${firstDifference(expected, came)}`);
    }
  }
  if (run.connections === 0 || run.segments === 0) found.push('nothing went through the stack');
  if (run.opens !== 0) found.push(`${run.opens} TCP connections were the kernel's`);
  if (plain.opens === 0) found.push('the plain run made no connection');
  return found;
}

/** Runs a row. Never rejects; `problems` is empty when all is well. */
export async function runRow(row, programs, log) {
  const problems = [];
  const runs = [];
  let lab;
  try {
    lab = await openLab();
    const certificates = makeCertificates(lab);
    const start = (name, more) => name && startServer(name, lab, lab.peer, { certificates, ...more });
    const debian = await start(row.server);
    const front = await start(row.front, { upstream: `${lab.mill.ipv4}:${PORT}` });
    const nodeArgs = (row.preload ?? []).flatMap((name) => ['--require', join(programs, name)]);
    for (const side of ['none', ...row.sides]) {
      const startMs = performance.now();
      const run = await runOnce(row, { lab, programs, certificates, debian, front }, side, nodeArgs);
      run.seconds = (performance.now() - startMs) / 1000;
      runs.push(run);
      log(`${row.name} ${side}: ${JSON.stringify(run)}`);
      if (side === 'none') continue;
      for (const text of differences(runs[0], run)) problems.push(`millrace as ${side}: ${text}`);
    }
  } catch (error) {
    problems.push(`millrace as ${['none', ...row.sides][runs.length]}: ${error.message}`);
  } finally {
    await lab?.close();
  }
  return { row, runs, problems };
}

export const REGISTER = join(ROOT, 'dist/compat/register.js');
