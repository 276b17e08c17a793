// SPDX-License-Identifier: MIT

const assert = require('node:assert/strict');
const undici = require('undici');
const { blob, blobStream, digest, digestOf, failure } = require('./support.js');
const web = require('./web.js');

const kBytes = 3 << 20;

async function fetches(base, dispatcher, record) {
  const get = await undici.fetch(`${base}/json?a=b`, { dispatcher, headers: { 'x-mill': 'stone' } });
  record('fetch: json', [get.status, await get.json()]);
  const post = await undici.fetch(`${base}/echo`, { dispatcher, method: 'POST', body: blob(kBytes) });
  const echoed = await digest(post.body);
  assert.deepEqual(echoed, digestOf(kBytes));
  record('fetch: echo', echoed);
  const upload = await undici.fetch(`${base}/digest`, {
    dispatcher,
    method: 'POST',
    body: blobStream(kBytes, 2),
    duplex: 'half',
  });
  const sum = await upload.json();
  assert.deepEqual(sum, digestOf(kBytes, 2));
  record('fetch: upload', sum);
  const form = new undici.FormData();
  form.set('file', new Blob([blob(1000)]), 'grain.bin');
  const sent = await undici.fetch(`${base}/length`, { dispatcher, method: 'POST', body: form });
  assert.ok((await sent.json()).bytes > 1000);
  const moved = await undici.fetch(`${base}/moved`, { dispatcher });
  record('fetch: redirected', [moved.redirected, moved.status, await moved.text()]);
  const abort = new AbortController();
  const endless = await undici.fetch(`${base}/endless`, { dispatcher, signal: abort.signal });
  await endless.body.getReader().read();
  const rest = failure(endless.text().catch(() => undici.fetch(base, { dispatcher, signal: abort.signal })));
  abort.abort();
  record('fetch: aborted', await rest);
  const cut = await undici.fetch(`${base}/cut`, { dispatcher });
  record('fetch: cut', await failure(cut.arrayBuffer()));
}

async function requests(base, record, options) {
  const pool = new undici.Pool(base, { connections: 4, pipelining: 8, ...options });
  const answers = await Promise.all(
    Array.from({ length: 200 }, async (_, i) => {
      const { body, statusCode } = await pool.request({ path: `/bytes?count=${i * 97}&seed=${i}`, method: 'GET' });
      assert.equal(statusCode, 200);
      return digest(body);
    }),
  );
  assert.deepEqual(
    answers,
    answers.map((_, i) => digestOf(i * 97, i)),
  );
  record('pool: 200 requests', answers.length);
  const late = pool.request({ path: '/silent', method: 'GET', headersTimeout: 300 });
  record('pool: no answer', await failure(late));
  await pool.close();
}

async function client({ url, port, record, ca, ask }) {
  const plain = new undici.Agent({ connections: 2 });
  await fetches(url('http'), plain, record);
  await requests(url('http'), record, {});
  const secure = new undici.Agent({ connect: { ca } });
  await fetches(url('https', port + 1), secure, record);
  const second = new undici.Agent({ allowH2: true, connect: { ca } });
  await fetches(url('https', port + 2), second, record);
  await requests(url('https', port + 2), record, { allowH2: true, pipelining: 50, connect: { ca } });
  record('nobody listens', await failure(undici.fetch(url('http', port + 7), { dispatcher: plain })));
  record('wrong authority', await failure(undici.fetch(url('https', port + 1), { dispatcher: plain })));
  const waiting = failure(undici.request(`${url('http')}/silent`, { dispatcher: plain }));
  await (await undici.request(`${url('http')}/json`, { dispatcher: plain })).body.dump();
  await ask('stop');
  record('the server ends', await waiting);
  record('and is away', await failure(undici.fetch(url('http'), { dispatcher: plain })));
  await ask('start');
  record('and is back', (await undici.fetch(`${url('http')}/json`, { dispatcher: plain })).status);
  await Promise.all([plain.destroy(), secure.destroy(), second.destroy()]);
}

module.exports = { server: web.server, client };
