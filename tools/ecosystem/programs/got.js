// SPDX-License-Identifier: MIT

const assert = require('node:assert/strict');
const { PassThrough } = require('node:stream');
const { pipeline } = require('node:stream/promises');
const { blob, blobStream, digest, digestOf, failure, sha256 } = require('./support.js');
const web = require('./web.js');

const kBytes = 3 << 20;

async function talk(api, record) {
  record('json', await api('json', { searchParams: { a: 'b' }, headers: { 'x-mill': 'stone' } }).json());
  const echo = await api.post('echo', { body: blob(kBytes) }).buffer();
  assert.ok(echo.equals(blob(kBytes)));
  record('echo', sha256(echo));
  const through = new PassThrough();
  const [back] = await Promise.all([
    digest(through),
    pipeline(blobStream(kBytes, 2), api.stream.post('echo'), through),
  ]);
  assert.deepEqual(back, digestOf(kBytes, 2));
  record('stream both ways', back);
  record('moved', await api('moved').text());
  record('404', await api('nowhere').catch(({ code, response }) => [code, response.statusCode, response.body]));
  record(
    '500 and again',
    await api('status?code=503', {
      retry: { limit: 2, calculateDelay: ({ computedValue }) => computedValue && 5 },
    }).catch(({ code, response }) => [code, response.retryCount]),
  );
  record('cut', await failure(api('cut', { retry: { limit: 0 } }).buffer()));
  record('no answer', await failure(api('silent', { timeout: { response: 300 }, retry: { limit: 0 } })));
  const abort = new AbortController();
  setTimeout(() => abort.abort(), 50);
  record('aborted', await failure(api('endless', { signal: abort.signal })));
  const all = await Promise.all(Array.from({ length: 100 }, (_, i) => api(`bytes?count=${i * 31}&seed=${i}`).buffer()));
  assert.ok(all.every((data, i) => data.equals(blob(i * 31, i))));
  record('100 at once', all.length);
}

async function client({ url, port, record, ca, ask }) {
  const { got } = await import('got');
  const http = require('node:http');
  const agent = { http: new http.Agent({ keepAlive: true, maxSockets: 4 }) };
  const plain = got.extend({ prefixUrl: url('http'), agent });
  await talk(plain, record);
  await talk(got.extend({ prefixUrl: url('https', port + 1), https: { certificateAuthority: ca } }), record);
  const second = got.extend({ prefixUrl: url('https', port + 2), http2: true, https: { certificateAuthority: ca } });
  record('http/2', await second('json').json());
  const [first, other] = await Promise.all(
    [2, 3].map((seed) => second.post('echo', { body: blob(kBytes, seed) }).buffer()),
  );
  assert.ok(first.equals(blob(kBytes, 2)) && other.equals(blob(kBytes, 3)));
  record('http/2: echo', [sha256(first), sha256(other)]);
  const once = { retry: { limit: 0 } };
  record('nobody listens', await failure(got(url('http', port + 7), once)));
  record('unknown authority', await failure(got(url('https', port + 1), once)));
  const held = failure(plain('endless', once).buffer());
  await plain('here');
  await ask('stop');
  record('the server ends', await held);
  agent.http.destroy();
  const patient = plain('here', { retry: { limit: 200, calculateDelay: () => 50 } }).text();
  await ask('start');
  record('and is back', await patient);
  agent.http.destroy();
  // The sessions of http2-wrapper stay open for a while; a program that is done need not wait for them.
  process.exitCode = 0;
}

module.exports = { server: web.server, client };
