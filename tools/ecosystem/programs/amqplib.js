// SPDX-License-Identifier: MIT

const assert = require('node:assert/strict');
const amqp = require('amqplib');
const { blob, codeOf, failure, once, sha256, until } = require('./support.js');

const kBytes = 4 << 20;

async function work(connection, record) {
  const channel = await connection.createConfirmChannel();
  const { queue } = await channel.assertQueue('', { exclusive: true });
  for (let i = 0; i < 1000; ++i) channel.sendToQueue(queue, blob(i % 200, i), { headers: { i } });
  await channel.waitForConfirms();
  const came = [];
  await channel.prefetch(50);
  const { consumerTag } = await channel.consume(queue, (message) => {
    came.push(message);
    channel.ack(message);
  });
  await until(() => came.length === 1000);
  assert.ok(came.every(({ content, properties }, i) => content.equals(blob(i % 200, i)) && properties.headers.i === i));
  record('confirmed and acknowledged', came.length);
  await channel.cancel(consumerTag);
  channel.sendToQueue(queue, blob(kBytes));
  const big = await until(() => channel.get(queue));
  assert.ok(big.content.equals(blob(kBytes)));
  channel.nack(big, false, true);
  const again = await until(() => channel.get(queue, { noAck: true }));
  record('4 MiB, refused once', [again.fields.redelivered, sha256(again.content)]);
  await channel.close();
}

async function exchanges(connection, record) {
  const channel = await connection.createChannel();
  await channel.assertExchange('mill', 'topic', { durable: false, autoDelete: true });
  const heard = [];
  for (const pattern of ['grain.*', '#', 'bread.rye']) {
    const { queue } = await channel.assertQueue('', { exclusive: true });
    await channel.bindQueue(queue, 'mill', pattern);
    await channel.consume(queue, ({ fields }) => heard.push(`${pattern} ${fields.routingKey}`), { noAck: true });
  }
  for (const key of ['grain.wheat', 'bread.rye', 'stone']) channel.publish('mill', key, Buffer.from(key));
  await until(() => heard.length === 5);
  record('routed', heard.sort());
  const { queue } = await channel.assertQueue('', { exclusive: true });
  await channel.consume(queue, (message) => {
    const { replyTo, correlationId } = message.properties;
    channel.sendToQueue(replyTo, message.content, { correlationId });
    channel.ack(message);
  });
  const answers = new Map();
  const reply = 'amq.rabbitmq.reply-to';
  await channel.consume(reply, ({ content, properties }) => answers.set(properties.correlationId, String(content)), {
    noAck: true,
  });
  for (let i = 0; i < 200; ++i)
    channel.sendToQueue(queue, Buffer.from(`${i}`), { replyTo: reply, correlationId: `id ${i}` });
  await until(() => answers.size === 200);
  assert.ok([...answers].every(([id, text]) => id === `id ${text}`));
  record('calls', answers.size);
  await channel.close();
}

async function client({ host, port, record, ca, ask }) {
  const url = `amqp://guest:guest@${host}:${port}`;
  const plain = await amqp.connect(url);
  await work(plain, record);
  await exchanges(plain, record);
  const lost = await plain.createChannel();
  lost.on('error', () => {});
  record('no such queue', await failure(lost.checkQueue('nowhere')).then((text) => text.replace(/.*(\d{3}).*/, '$1')));
  await plain.close();
  const secure = await amqp.connect(`amqps://guest:guest@${host}:${port - 1}`, { ca });
  await work(secure, record);
  await secure.close();
  record('wrong password', (await failure(amqp.connect(`amqp://guest:x@${host}:${port}`))).slice(0, 40));
  record('nobody listens', await failure(amqp.connect(`amqp://${host}:${port + 7}`)));
  const orphan = await amqp.connect(url);
  const error = once(orphan, 'error').catch((reason) => [reason]);
  await ask('kill');
  const [reason] = await error;
  record('the server dies', codeOf(reason));
}

module.exports = { client };
