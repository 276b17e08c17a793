// SPDX-License-Identifier: MIT

const assert = require('node:assert/strict');
const path = require('node:path');
const { promisify } = require('node:util');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');
const { blob, once, sha256, sleep } = require('./support.js');

const { mill } = grpc.loadPackageDefinition(loader.loadSync(path.join(__dirname, 'mill.proto')));
const kSize = { 'grpc.max_receive_message_length': 8 << 20, 'grpc.max_send_message_length': 8 << 20 };
const kBytes = 3 << 20;

const kService = {
  Echo(call, done) {
    const { word } = call.request;
    if (word === 'wait') return;
    if (word === 'fail') {
      const metadata = new grpc.Metadata();
      metadata.set('why', 'no water');
      done({ code: grpc.status.FAILED_PRECONDITION, details: 'the mill stands', metadata });
      return;
    }
    const trailer = new grpc.Metadata();
    trailer.set('heard', String(call.metadata.get('said')[0] ?? 'nothing'));
    done(null, call.request, trailer);
  },
  async Count(call) {
    for (let number = 0; number < call.request.number && !call.cancelled; ++number) {
      if (!call.write({ number, content: blob(1000, number) })) await Promise.race([once(call, 'drain'), sleep(1000)]);
    }
    call.end();
  },
  async Collect(call, done) {
    let number = 0;
    const pieces = [];
    for await (const one of call) {
      pieces.push(one.content);
      ++number;
    }
    done(null, { number, word: sha256(Buffer.concat(pieces)) });
  },
  Converse(call) {
    call.on('data', (one) => call.write({ ...one, word: one.word.toUpperCase() }));
    call.on('end', () => call.end());
    call.on('error', () => {});
  },
};

async function server({ host, port, tlsServer, ca }) {
  const { key, cert } = tlsServer;
  const ways = [
    grpc.ServerCredentials.createInsecure(),
    grpc.ServerCredentials.createSsl(ca, [{ private_key: key, cert_chain: cert }]),
  ];
  for (const [i, credentials] of ways.entries()) {
    const one = new grpc.Server(kSize);
    one.addService(mill.Mill.service, kService);
    await promisify(one.bindAsync.bind(one))(`${host}:${port + i}`, credentials);
  }
}

/** The code, the details where they are the service's own, and what came with it. */
function outcome(start) {
  return new Promise((resolve) => {
    start((error, value) =>
      resolve(error === null ? value : [grpc.status[error.code], String(error.metadata?.get('why'))]),
    );
  });
}

async function talk(stub, record) {
  const echo = promisify(stub.Echo.bind(stub));
  const big = await echo({ content: blob(kBytes) });
  assert.ok(big.content.equals(blob(kBytes)));
  record('3 MiB', sha256(big.content));
  const metadata = new grpc.Metadata();
  metadata.set('said', 'turn');
  const call = stub.Echo({ word: 'x' }, metadata, () => {});
  record('trailer', String((await once(call, 'status'))[0].metadata.get('heard')));
  record('refused', await outcome((done) => stub.Echo({ word: 'fail' }, done)));
  record('too late', await outcome((done) => stub.Echo({ word: 'wait' }, { deadline: Date.now() + 200 }, done)));
  record(
    'cancelled',
    await outcome((done) => setTimeout(() => waiting.cancel(), 50) && (waiting = stub.Echo({ word: 'wait' }, done))),
  );
  let next = 0;
  for await (const one of stub.Count({ number: 2000 }))
    assert.ok(one.number === next && one.content.equals(blob(1000, next++)));
  record('counted', next);
  const collected = await outcome((done) => {
    const upload = stub.Collect(done);
    for (let i = 0; i < 100; ++i) upload.write({ content: blob(20000, i) });
    upload.end();
  });
  record('collected', collected);
  assert.equal(collected.word, sha256(Buffer.concat(Array.from({ length: 100 }, (_, i) => blob(20000, i)))));
  const talkers = await Promise.all(Array.from({ length: 10 }, (_, i) => conversation(stub, `talker ${i}`)));
  record('conversations', talkers);
}

let waiting;

/** One message at a time: each answer is waited for. */
async function conversation(stub, word) {
  const call = stub.Converse();
  for (let number = 0; number < 50; ++number) {
    call.write({ number, word });
    const [answer] = await once(call, 'data');
    assert.ok(answer.number === number && answer.word === word.toUpperCase());
  }
  call.end();
  const [status] = await once(call, 'status');
  return grpc.status[status.code];
}

async function client({ host, port, record, ca, ask }) {
  const plain = new mill.Mill(`${host}:${port}`, grpc.credentials.createInsecure(), kSize);
  await talk(plain, record);
  const secure = new mill.Mill(`${host}:${port + 1}`, grpc.credentials.createSsl(ca), kSize);
  await talk(secure, record);
  secure.close();
  const nobody = new mill.Mill(`${host}:${port + 7}`, grpc.credentials.createInsecure());
  record('nobody listens', await outcome((done) => nobody.Echo({ word: 'x' }, done)));
  nobody.close();
  const orphan = outcome((done) => plain.Echo({ word: 'wait' }, done));
  await promisify(plain.Echo.bind(plain))({ word: 'x' });
  await ask('stop');
  record('the server ends', await orphan);
  await ask('start');
  const patient = { deadline: Date.now() + 20000, waitForReady: true };
  const wait = new grpc.Metadata({ waitForReady: true });
  record('and is back', (await promisify(plain.Echo.bind(plain))({ word: 'again' }, wait, patient)).word);
  plain.close();
}

module.exports = { server, client };
