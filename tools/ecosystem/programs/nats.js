// SPDX-License-Identifier: MIT

const assert = require('node:assert/strict');
const { connect, AckPolicy, Events, StringCodec } = require('nats');
const { blob, failure, sha256, until } = require('./support.js');

const kText = StringCodec();
const kBytes = 1 << 20;

async function talk(servers, options, record) {
  const one = await connect({ servers, ...options });
  const other = await connect({ servers, ...options });
  const service = other.subscribe('echo');
  (async () => {
    for await (const message of service) message.respond(message.data);
  })();
  const big = await one.request('echo', blob(kBytes), { timeout: 5000 });
  assert.ok(Buffer.from(big.data).equals(blob(kBytes)));
  record('1 MiB', sha256(big.data));
  const answers = await Promise.all(
    Array.from({ length: 500 }, (_, i) => one.request('echo', kText.encode(`${i}`), { timeout: 10000 })),
  );
  assert.ok(answers.every(({ data }, i) => kText.decode(data) === String(i)));
  record('requests', answers.length);
  record('no responders', await failure(one.request('nobody', kText.encode('?'), { timeout: 2000 })));
  const order = other.subscribe('order.*', { max: 2000 });
  await other.flush();
  for (let i = 0; i < 2000; ++i) one.publish(`order.${i % 3}`, kText.encode(String(i)));
  let next = 0;
  for await (const message of order) assert.equal(kText.decode(message.data), String(next++));
  record('in order', next);
  const shares = [0, 0];
  const workers = shares.map((_, i) => other.subscribe('work', { queue: 'mill', callback: () => ++shares[i] }));
  await other.flush();
  for (let i = 0; i < 200; ++i) one.publish('work');
  await one.flush();
  await Promise.all(workers.map((worker) => worker.drain()));
  record('queue group', shares[0] + shares[1]);
  await one.drain();
  await other.drain();
}

async function jetStream(servers, record) {
  const connection = await connect({ servers, tls: null });
  const manager = await connection.jetstreamManager();
  await manager.streams.delete('GRAIN').catch(() => {});
  await manager.streams.add({ name: 'GRAIN', subjects: ['grain.>'] });
  const js = connection.jetstream();
  for (let i = 0; i < 100; ++i) {
    const { seq } = await js.publish('grain.wheat', blob(1000, i), { msgID: `id ${i}` });
    assert.equal(seq, i + 1);
  }
  record('twice the same', (await js.publish('grain.wheat', blob(1000, 5), { msgID: 'id 5' })).duplicate);
  await manager.consumers.add('GRAIN', { durable_name: 'miller', ack_policy: AckPolicy.Explicit });
  const consumer = await js.consumers.get('GRAIN', 'miller');
  let at = 0;
  for await (const message of await consumer.fetch({ max_messages: 100, expires: 5000 })) {
    assert.ok(Buffer.from(message.data).equals(blob(1000, at++)));
    message.ack();
  }
  record('stored and fetched', at);
  await connection.drain();
}

async function client({ host, port, record, ca, ask }) {
  const servers = `${host}:${port}`;
  await talk(servers, { tls: null }, record);
  await talk(servers, { tls: { ca: String(ca) } }, record);
  await jetStream(servers, record);
  record('nobody listens', await failure(connect({ servers: `${host}:${port + 7}`, reconnect: false, tls: null })));
  const faithful = await connect({ servers, tls: null, reconnectTimeWait: 50, maxReconnectAttempts: -1 });
  const news = faithful.subscribe('news', { max: 1 });
  const seen = new Set();
  (async () => {
    for await (const event of faithful.status()) seen.add(event.type);
  })();
  await ask('kill');
  record('the server dies', await until(() => seen.has(Events.Disconnect)));
  await ask('start');
  record('and is back', await until(() => seen.has(Events.Reconnect)));
  faithful.publish('news', kText.encode('again'));
  for await (const message of news) record('still subscribed', kText.decode(message.data));
  await faithful.close();
}

module.exports = { client };
