// SPDX-License-Identifier: MIT

const assert = require('node:assert/strict');
const mqtt = require('mqtt');
const { blob, once, sha256, until } = require('./support.js');

const kBytes = 1 << 20;

async function talk(url, options, record, bytes = kBytes) {
  const client = await mqtt.connectAsync(url, { clean: true, ...options });
  const heard = new Map();
  client.on('message', (topic, payload, { qos, retain }) => {
    if (!heard.has(topic)) heard.set(topic, []);
    heard.get(topic).push({ payload, qos, retain });
  });
  await client.subscribeAsync('mill/+/qos', { qos: 2 });
  await client.subscribeAsync('mill/order', { qos: 0 });
  await client.subscribeAsync('mill/big', { qos: 1 });
  for (const qos of [0, 1, 2]) await client.publishAsync(`mill/${qos}/qos`, `with ${qos}`, { qos });
  await until(() => heard.size === 3);
  record(
    'each quality',
    [0, 1, 2].map((qos) => heard.get(`mill/${qos}/qos`).map((one) => [String(one.payload), one.qos])),
  );
  for (let i = 0; i < 500; ++i) client.publish('mill/order', String(i));
  await until(() => heard.get('mill/order')?.length === 500);
  assert.ok(heard.get('mill/order').every(({ payload }, i) => Number(payload) === i));
  record('in order', 500);
  await client.publishAsync('mill/big', blob(bytes), { qos: 1 });
  await until(() => heard.get('mill/big')?.length === 1);
  const [{ payload }] = heard.get('mill/big');
  assert.ok(payload.equals(blob(bytes)));
  record(`${bytes} bytes`, sha256(payload));
  await client.publishAsync('kept/word', 'grain', { retain: true, qos: 1 });
  await client.subscribeAsync('kept/#');
  await until(() => heard.has('kept/word'));
  record(
    'retained',
    heard.get('kept/word').map((one) => [String(one.payload), one.retain]),
  );
  await client.publishAsync('kept/word', '', { retain: true, qos: 1 });
  await client.endAsync();
}

/** The broker speaks for a client whose connection breaks. */
async function will(url, record) {
  const witness = await mqtt.connectAsync(url);
  await witness.subscribeAsync('gone');
  const mortal = await mqtt.connectAsync(url, { reconnectPeriod: 0, will: { topic: 'gone', payload: 'alas', qos: 1 } });
  const word = once(witness, 'message');
  mortal.stream.destroy();
  record('will', String((await word)[1]));
  await witness.endAsync();
  await mortal.endAsync(true);
}

async function client({ url, port, record, ca, ask }) {
  await talk(url('mqtt'), { protocolVersion: 4 }, record);
  await talk(url('mqtt'), { protocolVersion: 5 }, record);
  await talk(url('mqtts', port + 1), { ca }, record);
  // The broker's library of WebSockets takes half a minute for 1 MiB, whoever sends it.
  await talk(url('ws', port + 2), {}, record, 50000);
  await will(url('mqtt'), record);
  const nobody = mqtt.connect(url('mqtt', port + 7), { reconnectPeriod: 0 });
  record('nobody listens', (await once(nobody, 'error').catch((error) => [error]))[0].code);
  await nobody.endAsync(true);

  const faithful = await mqtt.connectAsync(url('mqtt'), { reconnectPeriod: 50, clean: true });
  faithful.on('error', () => {});
  await faithful.subscribeAsync('news', { qos: 1 });
  const gone = once(faithful, 'close');
  await ask('kill');
  await gone;
  const sent = faithful.publishAsync('kept/news', 'while away', { qos: 1, retain: true });
  await ask('start');
  await sent;
  const word = once(faithful, 'message');
  await faithful.subscribeAsync('kept/news');
  record('after the restart', String((await word)[1]));
  await faithful.endAsync();
}

module.exports = { client };
