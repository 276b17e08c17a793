// SPDX-License-Identifier: MIT
// Clients of several packages with nginx; and a server of ours behind it.

const assert = require('node:assert/strict');
const http = require('node:http');
const https = require('node:https');
const http2 = require('node:http2');
const axios = require('axios');
const undici = require('undici');
const { blob, digest, digestOf, failure, once, sha256 } = require('./support.js');

/** What stands in nginx's folder. */
const kFile = { bytes: 5 << 20, seed: 'file' };

async function get(dispatcher, url, options) {
  const { statusCode, headers, body } = await undici.request(url, { dispatcher, ...options });
  return { statusCode, headers, body: Buffer.from(await body.arrayBuffer()) };
}

async function files(base, dispatcher, record) {
  const whole = blob(kFile.bytes, kFile.seed);
  const all = await Promise.all(Array.from({ length: 8 }, () => get(dispatcher, `${base}/file.bin`)));
  assert.ok(all.every(({ body }) => body.equals(whole)));
  record('8 at once', sha256(all[0].body));
  const part = await get(dispatcher, `${base}/file.bin`, { headers: { range: 'bytes=4000000-4999999' } });
  assert.ok(part.body.equals(whole.subarray(4000000, 5000000)));
  record('range', [part.statusCode, part.headers['content-range']]);
  const etag = all[0].headers.etag;
  record(
    'not modified',
    (await get(dispatcher, `${base}/file.bin`, { headers: { 'if-none-match': etag } })).statusCode,
  );
  record('missing', (await get(dispatcher, `${base}/missing`)).statusCode);
  record('too large', (await get(dispatcher, `${base}/file.bin`, { method: 'POST', body: blob(2 << 20) })).statusCode);
}

async function client({ url, port, record, ca, ask }) {
  const plain = new undici.Agent({ connections: 4, pipelining: 4 });
  const secure = new undici.Agent({ connections: 4, connect: { ca } });
  const second = new undici.Agent({ allowH2: true, connect: { ca } });
  await files(url('http'), plain, record);
  await files(url('https', port + 1), secure, record);
  await files(url('https', port + 1), second, record);
  const httpAgent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  for (let i = 0; i < 3; ++i) {
    const { data, request } = await axios.get(`${url('http')}/file.bin`, { httpAgent, responseType: 'arraybuffer' });
    record('axios', [sha256(data), request.reusedSocket]);
  }
  const httpsAgent = new https.Agent({ keepAlive: false, ca, maxCachedSessions: 10 });
  const resumed = [];
  for (let i = 0; i < 3; ++i) {
    const { request } = await axios.get(url('https', port + 1), { httpsAgent, validateStatus: () => true });
    resumed.push(request.socket.isSessionReused());
  }
  record('TLS sessions resumed', resumed);
  const session = http2.connect(url('https', port + 1), { ca });
  const sums = await Promise.all(Array.from({ length: 6 }, () => digest(session.request({ ':path': '/file.bin' }))));
  for (const sum of sums) assert.deepEqual(sum, digestOf(kFile.bytes, kFile.seed));
  record('6 streams of one session', sums[0]);
  session.close();
  httpAgent.destroy();
  const idle = http.get(`${url('http')}/file.bin`, { agent: new http.Agent({ keepAlive: true }) });
  const [response] = await once(idle, 'response');
  response.resume();
  await once(response, 'end');
  const closed = once(idle.socket, 'close');
  await ask('stop');
  await closed;
  record('and is away', await failure(undici.request(url('http'), { dispatcher: plain })));
  await ask('start');
  await Promise.all([plain.destroy(), secure.destroy(), second.destroy()]);
}

module.exports = { client };
