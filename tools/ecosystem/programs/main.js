// SPDX-License-Identifier: MIT
// One side of a row of the matrix: node main.js <program> <server|client> <host> <own address> <peer's>
// <port> <certificates>.
// The program knows nothing of millrace; the same file runs under plain Node and under it. What it checked goes to
// stdout, one line of JSON each, and must be the same on both.

const fs = require('node:fs');
const path = require('node:path');

const [program, role, host, own, peer, port, certificates] = process.argv.slice(2);

function say(line) {
  fs.writeSync(1, `${JSON.stringify(line)}\n`);
}

/** Has the run's driver do something to the servers: stop, kill, start. Resolves when it is done. */
function ask(what) {
  return new Promise((resolve, reject) => {
    const done = (chunk) => {
      process.stdin.pause();
      process.stdin.unref();
      if (String(chunk).trim() === 'done') resolve();
      else reject(new Error(`${what}: ${chunk}`));
    };
    process.stdin.ref();
    process.stdin.once('data', done);
    process.stdin.resume();
    say({ ask: what });
  });
}

const file = (name) => fs.readFileSync(path.join(certificates, name));

const context = {
  host,
  own,
  peer,
  port: Number(port),
  url: (protocol, at = Number(port)) => `${protocol}://${host}:${at}`,
  /** A fact that must be the same under plain Node. */
  record: (step, value) => say({ step, value }),
  ask,
  /** Options of a TLS server, and the authority that its clients trust. */
  get tlsServer() {
    return { key: file('server.key'), cert: file('server.pem') };
  },
  get ca() {
    return file('ca.pem');
  },
};

async function main() {
  const run = require(`./${program}.js`)[role];
  if (role === 'server') {
    process.on('SIGTERM', () => process.exit(0));
    await run(context);
    process.stdout.write('listening on\n');
  } else {
    await run(context);
    say({ done: true });
  }
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
