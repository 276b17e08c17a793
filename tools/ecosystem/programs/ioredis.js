// SPDX-License-Identifier: MIT

const assert = require('node:assert/strict');
const { Redis } = require('ioredis');
const { blob, failure, once, sha256, until } = require('./support.js');

async function values(redis, record) {
  await redis.flushall();
  assert.equal(await redis.set('word', 'grain'), 'OK');
  record('get', await redis.get('word'));
  record('missing', await redis.get('nothing'));
  const big = blob(5 << 20);
  await redis.set('big', big);
  const back = await redis.getBuffer('big');
  assert.ok(back.equals(big));
  record('5 MiB', sha256(back));
  await redis.hset('hash', { one: '1', two: '2' });
  record('hash', await redis.hgetall('hash'));
  record('wrong type', await failure(redis.incr('word')));
}

async function pipelines(redis, record) {
  const pipeline = redis.pipeline();
  for (let i = 0; i < 5000; ++i) pipeline.set(`key ${i}`, blob(i % 300, i));
  const stored = await pipeline.exec();
  assert.ok(stored.every(([error, answer]) => error === null && answer === 'OK'));
  const loads = await Promise.all(Array.from({ length: 5000 }, (_, i) => redis.getBuffer(`key ${i}`)));
  assert.ok(loads.every((value, i) => value.equals(blob(i % 300, i))));
  record('pipeline', stored.length);
  const multi = await redis.multi().incr('count').incr('count').get('count').exec();
  record('transaction', multi);
  redis.defineCommand('twice', { numberOfKeys: 1, lua: 'return {redis.call("get", KEYS[1]), ARGV[1]}' });
  record('script', await redis.twice('word', 'mill'));
  let keys = 0;
  for await (const page of redis.scanStream({ match: 'key *', count: 500 })) keys += page.length;
  assert.ok(keys >= 5000);
}

async function pubSub(host, port, record) {
  const subscriber = new Redis(port, host);
  const publisher = new Redis(port, host);
  await subscriber.subscribe('news');
  const heard = [];
  subscriber.on('message', (_channel, text) => heard.push(text));
  for (let i = 0; i < 1000; ++i) publisher.publish('news', `item ${i}`);
  await until(() => heard.length === 1000);
  assert.ok(heard.every((text, i) => text === `item ${i}`));
  record('published', heard.length);
  const waiting = subscriber.unsubscribe().then(() => subscriber.blpop('queue', 5));
  await publisher.rpush('queue', 'job');
  record('blocking pop', await waiting);
  const empty = await publisher.blpop('never', 0.1);
  record('timeout', empty);
  await Promise.all([subscriber.quit(), publisher.quit()]);
}

async function client({ host, port, record, ca, ask }) {
  const redis = new Redis(port, host, { retryStrategy: () => 20, maxRetriesPerRequest: 500 });
  redis.on('error', () => {});
  await values(redis, record);
  await pipelines(redis, record);
  await pubSub(host, port, record);
  const secure = new Redis(port + 1, host, { tls: { ca } });
  await values(secure, record);
  await secure.quit();

  const nobody = new Redis(port + 7, host, { lazyConnect: true, retryStrategy: null });
  const refused = once(nobody, 'error').catch((error) => [error]);
  nobody.connect().catch(() => {});
  record('nobody listens', (await refused)[0].code);

  await redis.set('word', 'grain');
  const mortal = new Redis(port, host, { retryStrategy: null, autoResendUnfulfilledCommands: false });
  const blocked = failure(mortal.blpop('never', 0));
  const closed = once(redis, 'close');
  await ask('kill');
  await closed;
  const answer = redis.set('after', 'restart');
  await ask('start');
  record('after the restart', [await answer, await redis.get('after')]);
  redis.disconnect();
  record('blocked when it died', await blocked);
}

module.exports = { client };
