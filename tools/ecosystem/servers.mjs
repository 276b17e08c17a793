// The servers that come from Debian: each on a data folder of its own in the lab's folder, without root, in the
// namespace of one side, until the lab goes.
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** nobody and nogroup on Debian. */
const NOBODY = 65534;
const AS_NOBODY = ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups'];
const READY_SECONDS = 120;

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
  const deadline = performance.now() + READY_SECONDS * 1000;
  while (job.running && performance.now() < deadline) {
    const { code } = await lab.run(side, 'nc', ['-z', '-w', '1', side.ipv4, String(port)]);
    if (code === 0) return;
    await sleep(100);
  }
  throw new Error(`nothing listens on port ${port}: ${job.describe()}`);
}

const require = createRequire(import.meta.url);
const { blob } = require('./programs/support.js');

/** The program of a version that Debian keeps beside others. */
function inVersion(folder, pattern, rest) {
  const version = existsSync(folder) ? readdirSync(folder).find((name) => pattern.test(name)) : undefined;
  return join(folder, version ?? '', rest);
}

function redis({ address, folder }) {
  const flags = ['--bind', address, '--port', '6379', '--protected-mode', 'no', '--dir', folder, '--save', ''];
  const tls = ['--tls-port', '6380', '--tls-auth-clients', 'no', '--tls-cert-file', `${folder}/server.pem`];
  tls.push('--tls-key-file', `${folder}/server.key`, '--tls-ca-cert-file', `${folder}/ca.pem`);
  return ['redis-server', ...flags, '--appendonly', 'no', ...tls];
}

const postgresProgram = (name) => inVersion('/usr/lib/postgresql', /^\d+$/, `bin/${name}`);

function postgresql({ address, folder }) {
  const hba = write(folder, 'hba.conf', 'host all all 0.0.0.0/0 scram-sha-256\n');
  const settings = { listen_addresses: address, port: 5432, hba_file: hba, unix_socket_directories: folder };
  const tls = { ssl: 'on', ssl_cert_file: `${folder}/server.pem`, ssl_key_file: `${folder}/server.key` };
  const args = Object.entries({ ...settings, ...tls, fsync: 'off' }).flatMap((pair) => ['-c', pair.join('=')]);
  return [postgresProgram('postgres'), '-D', `${folder}/data`, ...args];
}

function preparePostgresql({ folder }) {
  const password = write(folder, 'password', 'stone\n');
  const options = [
    '-U',
    'mill',
    '-A',
    'scram-sha-256',
    `--pwfile=${password}`,
    '--locale=C',
    '-E',
    'UTF8',
    '--no-sync',
  ];
  return [[postgresProgram('initdb'), '-D', `${folder}/data`, ...options]];
}

function mariadb({ address, folder }) {
  const user = "CREATE USER IF NOT EXISTS mill@'%' IDENTIFIED BY 'stone'; GRANT ALL ON *.* TO mill@'%';";
  const init = write(folder, 'init.sql', `${user.replace('; ', ';\n')}\nCREATE DATABASE IF NOT EXISTS mill;\n`);
  const options = { datadir: `${folder}/data`, 'bind-address': address, port: 3306, socket: `${folder}/socket` };
  const more = { 'init-file': init, 'pid-file': `${folder}/pid`, 'max-allowed-packet': '32M' };
  const tls = { 'ssl-cert': `${folder}/server.pem`, 'ssl-key': `${folder}/server.key` };
  const args = Object.entries({ ...options, ...more, ...tls }).map((pair) => `--${pair.join('=')}`);
  return ['mariadbd', '--no-defaults', '--skip-name-resolve', ...args];
}

function prepareMariadb({ folder }) {
  const options = ['--auth-root-authentication-method=normal', '--skip-test-db', '--skip-name-resolve'];
  return [['mariadb-install-db', '--no-defaults', `--datadir=${folder}/data`, ...options]];
}

function nginx({ address, folder, upstream }) {
  write(folder, 'file.bin', blob(5 << 20, 'file'));
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  const location = `proxy_pass http://behind; proxy_http_version 1.1; proxy_set_header Connection $connection_header;
    proxy_set_header Upgrade $http_upgrade; client_max_body_size 16m; proxy_connect_timeout 2s;`;
  const proxy = `upstream behind { server ${upstream}; keepalive 16; }
    map $http_upgrade $connection_header { default upgrade; '' ''; }
    server { listen ${address}:8080; location / { ${location} } }`;
  const files = `root ${folder};
    server { listen ${address}:8080; }
    server { listen ${address}:8081 ssl http2; ssl_certificate server.pem; ssl_certificate_key server.key; }`;
  const text = `daemon off; worker_processes 1; pid ${folder}/pid; error_log stderr crit;
    events { worker_connections 512; }
    http { access_log off; sendfile on; ${temporary.map((name) => `${name}_temp_path ${folder}/${name};`).join(' ')}
    ${upstream === undefined ? files : proxy} }`;
  return ['nginx', '-p', folder, '-c', write(folder, 'nginx.conf', text)];
}

function mosquitto({ address, folder }) {
  const tls = `certfile ${folder}/server.pem\nkeyfile ${folder}/server.key`;
  const listeners = [`listener 1883 ${address}`, `listener 1884 ${address}\n${tls}`];
  listeners.push(`listener 1885 ${address}\nprotocol websockets`);
  const text = `allow_anonymous true\nper_listener_settings false\nmax_queued_messages 10000\n${listeners.join('\n')}\n`;
  return ['mosquitto', '-c', write(folder, 'mosquitto.conf', text)];
}

function nats({ address, folder }) {
  const tls = `tls { cert_file: "${folder}/server.pem", key_file: "${folder}/server.key" }\nallow_non_tls: true`;
  const text = `listen: "${address}:4222"\nmax_payload: 8MB\njetstream { store_dir: "${folder}/stream" }\n${tls}\n`;
  return ['nats-server', '-c', write(folder, 'nats.conf', text)];
}

function rabbitmq({ address, folder }) {
  const tls = ['cacertfile', 'certfile', 'keyfile'].map((name, i) => {
    return `ssl_options.${name} = ${folder}/${['ca.pem', 'server.pem', 'server.key'][i]}`;
  });
  const listeners = `listeners.tcp.1 = ${address}:5672\nlisteners.ssl.1 = ${address}:5671`;
  write(folder, 'rabbitmq.conf', `${listeners}\nloopback_users = none\n${tls.join('\n')}\n`);
  write(folder, 'plugins', '[].\n');
  // There is no name server here, and Erlang would ask one for its own name again and again.
  write(folder, 'inetrc', `{lookup, [file]}.\n{host, {127,0,0,1}, ["localhost", "${hostname()}"]}.\n`);
  return [inVersion('/usr/lib/rabbitmq/lib', /^rabbitmq_server-/, 'sbin/rabbitmq-server')];
}

const rabbitEnvironment = ({ folder }) => ({
  RABBITMQ_NODENAME: 'mill@localhost',
  RABBITMQ_MNESIA_BASE: `${folder}/data`,
  RABBITMQ_LOG_BASE: `${folder}/log`,
  RABBITMQ_CONFIG_FILE: `${folder}/rabbitmq.conf`,
  RABBITMQ_ENABLED_PLUGINS_FILE: `${folder}/plugins`,
  RABBITMQ_PID_FILE: `${folder}/pid`,
  ERL_EPMD_ADDRESS: '127.0.0.1',
  ERL_INETRC: `${folder}/inetrc`,
});

/** The ports that must answer before it counts as there, the first for the clients; and how it is run. */
const SERVERS = {
  redis: { ports: [6379, 6380], command: redis },
  // Its children outlive a SIGKILL of their parent for a moment; SIGINT ends it at once and tells every client.
  postgresql: {
    ports: [5432],
    prepare: preparePostgresql,
    command: postgresql,
    stoppedBy: 'SIGINT',
    says: /ready to accept connections/,
  },
  mariadb: { ports: [3306], prepare: prepareMariadb, command: mariadb },
  nginx: { ports: [8080], command: nginx },
  mosquitto: { ports: [1883, 1884, 1885], command: mosquitto },
  nats: { ports: [4222], command: nats },
  rabbitmq: { ports: [5672, 5671], command: rabbitmq, environment: rabbitEnvironment, pidFile: 'pid' },
  memcached: { ports: [11211], command: ({ address }) => ['memcached', '-l', address, '-m', '64', '-I', '8m'] },
};

class Server {
  #kind;
  #lab;
  #side;
  #job = null;
  #where;

  constructor(name, lab, side, { certificates, upstream }) {
    this.#kind = SERVERS[name];
    this.#lab = lab;
    this.#side = side;
    this.#where = { address: side.ipv4, folder: folderFor(lab, name, certificates), upstream };
    this.host = side.ipv4;
    this.port = this.#kind.ports[0];
  }

  /** Prepares its data folder: once. */
  async prepare() {
    for (const command of this.#kind.prepare?.(this.#where) ?? []) {
      const [program, ...args] = [...AS_NOBODY, ...command];
      await this.#lab.must(this.#side, program, args, { timeoutMs: 120000, cwd: this.#where.folder });
    }
  }

  async start() {
    const [program, ...args] = [...AS_NOBODY, ...this.#kind.command(this.#where)];
    const env = { HOME: this.#where.folder, ...this.#kind.environment?.(this.#where) };
    this.#job = this.#lab.spawn(this.#side, program, args, { env, cwd: this.#where.folder, name: args.at(3) });
    for (const port of this.#kind.ports) await waitForPort(this.#lab, this.#side, port, this.#job);
    await this.#waitForWord();
  }

  /** Some take connections before they can serve them, and say on stderr when that is. */
  async #waitForWord() {
    const job = this.#job;
    const { says } = this.#kind;
    const deadline = performance.now() + READY_SECONDS * 1000;
    while (says !== undefined && !says.test(job.stderr)) {
      if (!job.running || performance.now() > deadline) throw new Error(`it is not ready: ${job.describe()}`);
      await sleep(20);
    }
  }

  stop() {
    return this.#job.stop(this.#kind.stoppedBy ?? 'SIGTERM', 10000);
  }

  kill() {
    const { pidFile } = this.#kind;
    if (pidFile === undefined) return this.#job.stop('SIGKILL');
    // What was started is a script that waits for the server.
    process.kill(Number(readFileSync(join(this.#where.folder, pidFile), 'utf8')), 'SIGKILL');
    return this.#job.finish(5000);
  }

  get running() {
    return this.#job?.running ?? false;
  }

  describe() {
    return this.#job?.describe() ?? '';
  }
}

/**
 * Starts the server `name` on a side of the lab; it goes with the lab.
 * @param {{certificates: string, upstream?: string}} options the folder with the certificates, and what nginx is before
 */
export async function startServer(name, lab, side, options) {
  const server = new Server(name, lab, side, options);
  await server.prepare();
  await server.start();
  return server;
}
