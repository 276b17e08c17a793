// The servers that come from Debian: each on a data folder of its own in the lab's folder, without root, in the
// namespace of one side, until the lab goes.
import { chmodSync, chownSync, copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** nobody and nogroup on Debian. */
const NOBODY = 65534;
const AS_NOBODY = ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups'];
const READY_SECONDS = 60;

/** A folder that the server may write; the certificates are in it, for some insist on owning their key. */
function folderFor(lab, name, certificates) {
  chmodSync(lab.folder, 0o711);
  const folder = join(lab.folder, name);
  mkdirSync(folder, { mode: 0o700 });
  for (const file of ['ca.pem', 'server.key', 'server.pem']) {
    const copy = join(folder, file);
    copyFileSync(join(certificates, file), copy);
    chmodSync(copy, 0o600);
    chownSync(copy, NOBODY, NOBODY);
  }
  chownSync(folder, NOBODY, NOBODY);
  return folder;
}

function write(folder, name, text) {
  const file = join(folder, name);
  writeFileSync(file, text);
  chownSync(file, NOBODY, NOBODY);
  return file;
}

async function waitForPort(lab, side, port, job) {
  for (let left = READY_SECONDS * 10; left > 0; --left) {
    if (!job.running) break;
    const { code } = await lab.run(side, 'nc', ['-z', '-w', '1', side.ipv4, String(port)]);
    if (code === 0) return;
    await sleep(100);
  }
  throw new Error(`nothing listens on port ${port}: ${job.describe()}`);
}

/** What each needs: packages of Debian with the program that shows that it is there, how it is prepared and run. */
const SERVERS = {
  redis: {
    port: 6379,
    command: ({ address, folder }) => [
      'redis-server',
      ...['--bind', address, '--port', '6379', '--protected-mode', 'no', '--dir', folder, '--appendonly', 'no'],
      ...['--save', '', '--tls-port', '6380', '--tls-auth-clients', 'no', '--tls-cert-file', `${folder}/server.pem`],
      ...['--tls-key-file', `${folder}/server.key`, '--tls-ca-cert-file', `${folder}/ca.pem`],
    ],
  },
};

export const SERVER_NAMES = Object.keys(SERVERS);

class Server {
  #kind;
  #lab;
  #side;
  #job = null;

  constructor(name, lab, side, certificates) {
    this.#kind = SERVERS[name];
    this.#lab = lab;
    this.#side = side;
    this.port = this.#kind.port;
    this.where = { address: side.ipv4, folder: folderFor(lab, name, certificates), write };
  }

  /** Prepares its data folder: once. */
  async prepare() {
    const { prepare } = this.#kind;
    if (prepare === undefined) return;
    for (const command of prepare(this.where)) {
      await this.#lab.must(this.#side, ...this.#spoken(command), { timeoutMs: 60000 });
    }
  }

  async start() {
    const [program, args] = this.#spoken(this.#kind.command(this.where));
    const { environment } = this.#kind;
    const env = { HOME: this.where.folder, ...environment?.(this.where) };
    this.#job = this.#lab.spawn(this.#side, program, args, { env, cwd: this.where.folder, name: program });
    for (const port of [this.port, ...(this.#kind.ports ?? [])]) {
      await waitForPort(this.#lab, this.#side, port, this.#job);
    }
    for (const command of this.#kind.ready?.(this.where) ?? []) {
      await this.#lab.must(this.#side, ...this.#spoken(command), { timeoutMs: 60000, env });
    }
  }

  stop() {
    return this.#job.stop('SIGTERM', 10000);
  }

  kill() {
    return this.#job.stop(this.#kind.killedBy ?? 'SIGKILL', 5000);
  }

  describe() {
    return this.#job?.describe() ?? '';
  }

  #spoken(command) {
    const [program, ...args] = [...AS_NOBODY, ...command];
    return [program, args];
  }
}

/** Starts the server `name` on a side of the lab; it goes with the lab. */
export async function startServer(name, lab, side, certificates) {
  const server = new Server(name, lab, side, certificates);
  await server.prepare();
  await server.start();
  return server;
}
