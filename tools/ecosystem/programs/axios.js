// SPDX-License-Identifier: MIT

const assert = require('node:assert/strict');
const http = require('node:http');
const https = require('node:https');
const axios = require('axios');
const { blob, blobStream, digest, digestOf, failure, sha256 } = require('./support.js');
const web = require('./web.js');

const kBytes = 3 << 20;

async function talk(api, record) {
  const json = await api.get('/json', { params: { a: 'b' }, headers: { 'x-mill': 'stone' } });
  record('json', [json.status, json.data]);
  const echo = await api.post('/echo', blob(kBytes), { responseType: 'arraybuffer' });
  assert.ok(echo.data.equals(blob(kBytes)));
  record('echo', sha256(echo.data));
  const upload = await api.post('/digest', blobStream(kBytes, 2), { maxRedirects: 0 });
  assert.deepEqual(upload.data, digestOf(kBytes, 2));
  record('upload', upload.data);
  const stream = await api.get(`/stream?count=${kBytes}&seed=3`, { responseType: 'stream' });
  const sum = await digest(stream.data);
  assert.deepEqual(sum, digestOf(kBytes, 3));
  record('stream', sum);
  let seen = 0;
  const progress = ({ loaded }) => {
    seen = loaded;
  };
  await api.post('/echo', blob(kBytes), { responseType: 'arraybuffer', onDownloadProgress: progress });
  assert.ok(seen > 0 && seen <= kBytes);
  const moved = await api.get('/moved');
  record('moved', [moved.status, moved.data]);
  record('404', await api.get('/nowhere').catch(({ code, response }) => [code, response.status, response.data]));
  const tooLong = api.get(`/bytes?count=${kBytes}&seed=1`, { maxContentLength: 1000 });
  record('too long', await failure(tooLong));
  record('cut', await failure(api.get('/cut', { responseType: 'arraybuffer' })));
  record('no answer', await failure(api.get('/silent', { timeout: 300 })));
  const abort = new AbortController();
  const endless = failure(api.get('/endless', { signal: abort.signal, responseType: 'arraybuffer' }));
  setTimeout(() => abort.abort(), 50);
  record('aborted', await endless);
  const all = await Promise.all(
    Array.from({ length: 100 }, (_, i) => api.get(`/bytes?count=${i * 31}&seed=${i}`, { responseType: 'arraybuffer' })),
  );
  assert.ok(all.every(({ data }, i) => data.equals(blob(i * 31, i))));
  record('100 at once', all.length);
}

async function client({ url, port, record, ca, ask }) {
  const httpAgent = new http.Agent({ keepAlive: true, maxSockets: 5 });
  const httpsAgent = new https.Agent({ keepAlive: true, maxSockets: 5, ca });
  const plain = axios.create({ baseURL: url('http'), httpAgent });
  await talk(plain, record);
  await talk(axios.create({ baseURL: url('https', port + 1), httpsAgent }), record);
  record('nobody listens', await failure(axios.get(url('http', port + 7))));
  record('unknown authority', await failure(axios.get(url('https', port + 1))));
  const held = await plain.get('/endless', { responseType: 'stream' });
  const broken = failure(digest(held.data));
  await ask('stop');
  record('the server ends', await broken);
  await ask('start');
  // What the pool still holds from the first server is of no use.
  httpAgent.destroy();
  record('and is back', (await plain.get('/here')).data);
  httpAgent.destroy();
  httpsAgent.destroy();
}

module.exports = { server: web.server, client };
