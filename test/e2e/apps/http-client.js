// SPDX-License-Identifier: MIT
// A plain http or https client; nothing in it knows of millrace. Prints one line of JSON.
//   node http-client.js <url> <times> <at once> [<ca.pem> [<servername>]]
'use strict';

const { createHash } = require('node:crypto');
const fs = require('node:fs');

const [url, times, atOnce, ca, servername] = process.argv.slice(2);
const secure = url.startsWith('https:');
const http = require(secure ? 'node:https' : 'node:http');
const agent = new http.Agent({ keepAlive: true, maxSockets: Number(atOnce) });

function get() {
  return new Promise((resolve, reject) => {
    const options = { agent };
    if (ca) options.ca = fs.readFileSync(ca);
    if (servername) options.servername = servername;
    http
      .get(url, options, (response) => {
        const hash = createHash('sha256');
        let bytes = 0;
        response.on('data', (chunk) => {
          bytes += chunk.length;
          hash.update(chunk);
        });
        response.on('error', reject);
        response.on('end', () =>
          resolve({
            status: response.statusCode,
            bytes,
            sha256: hash.digest('hex'),
            authorized: response.socket?.authorized ?? response.req.socket?.authorized ?? null,
          }),
        );
      })
      .on('error', reject);
  });
}

async function main() {
  const results = [];
  let left = Number(times);
  const start = performance.now();
  await Promise.all(
    Array.from({ length: Number(atOnce) }, async () => {
      while (left-- > 0) results.push(await get());
    }),
  );
  const distinct = [...new Set(results.map((result) => JSON.stringify(result)))].map((text) => JSON.parse(text));
  agent.destroy();
  console.log(JSON.stringify({ count: results.length, distinct, elapsedMs: performance.now() - start }));
}

main().catch((error) => {
  console.log(JSON.stringify({ error: error.code ?? error.message, message: error.message }));
  process.exitCode = 1;
  agent.destroy();
});
