// SPDX-License-Identifier: MIT

const assert = require('node:assert/strict');
const memjs = require('memjs');
const { blob, failure, sha256, sleep } = require('./support.js');

async function client({ host, port, record, ask }) {
  const memory = memjs.Client.create(`${host}:${port}`, { retries: 1, timeout: 5 });
  await memory.flush();
  record('set', await memory.set('word', 'grain', { expires: 60 }));
  record('get', String((await memory.get('word')).value));
  record('missing', (await memory.get('nothing')).value);
  record('added twice', [await memory.add('once', '1', {}), await memory.add('once', '2', {})]);
  record('appended', [await memory.append('word', 's'), String((await memory.get('word')).value)]);
  await memory.set('count', '5', {});
  record('increment', (await memory.increment('count', 7, {})).value);
  const big = blob(3 << 20);
  assert.equal(await memory.set('big', big, {}), true);
  const { value } = await memory.get('big');
  assert.ok(value.equals(big));
  record('3 MiB', sha256(value));
  record('too big', await failure(memory.set('huge', blob(9 << 20), {})));
  const stored = await Promise.all(
    Array.from({ length: 2000 }, (_, i) => memory.set(`key ${i}`.replace(' ', '-'), blob(i % 500, i), {})),
  );
  assert.ok(stored.every(Boolean));
  const loaded = await Promise.all(Array.from({ length: 2000 }, (_, i) => memory.get(`key-${i}`)));
  assert.ok(loaded.every((one, i) => one.value.equals(blob(i % 500, i))));
  record('2000 at once', loaded.length);
  record('deleted', [await memory.delete('word'), await memory.delete('word')]);
  await ask('kill');
  // A command given between the 'end' of the connection and its 'close' is lost by memjs, wherever it runs.
  await sleep(200);
  record('the server dies', (await failure(memory.get('count'))).slice(0, 60));
  await ask('start');
  const fresh = memjs.Client.create(`${host}:${port}`);
  record('and is back, empty', (await fresh.get('count')).value);
  fresh.close();
  memory.close();
  const nobody = memjs.Client.create(`${host}:${port + 7}`, { retries: 0, timeout: 1 });
  record('nobody listens', (await failure(nobody.get('word'))).slice(0, 60));
  nobody.close();
}

module.exports = { client };
