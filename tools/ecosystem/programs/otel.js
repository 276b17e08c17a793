// SPDX-License-Identifier: MIT

const { spans } = require('./otel-setup.js');
const assert = require('node:assert/strict');
const http = require('node:http');
const https = require('node:https');
const net = require('node:net');
const { context, trace } = require('@opentelemetry/api');
const { blob, blobStream, digest, digestOf, failure, once } = require('./support.js');

const kBytes = 1 << 20;

const idOf = () => trace.getSpan(context.active())?.spanContext().traceId;

/** Answers with the trace that is active in each of its callbacks. */
function answer(request, response) {
  const seen = new Set([idOf()]);
  request.on('data', () => seen.add(idOf()));
  request.on('end', () => {
    seen.add(idOf());
    setImmediate(() => {
      seen.add(idOf());
      response.end(JSON.stringify([...seen]));
    });
  });
}

async function server({ host, port, tlsServer }) {
  for (const [i, one] of [http.createServer(answer), https.createServer(tlsServer, answer)].entries()) {
    one.listen(port + i, host);
    await once(one, 'listening');
  }
  const echo = net.createServer((socket) => socket.on('error', () => {}).pipe(socket));
  echo.listen(port + 2, host);
  await once(echo, 'listening');
}

/** A request inside a span: everything that it causes must belong to the same trace, on both sides. */
function traced(module, options, body) {
  const tracer = trace.getTracer('mill');
  return tracer.startActiveSpan('outer', async (span) => {
    try {
      const request = module.request(options);
      const answered = new Promise((resolve, reject) => {
        request.on('error', reject);
        request.on('response', (response) => {
          const inCallback = idOf();
          let text = '';
          response.on('data', (chunk) => (text += chunk));
          response.on('end', () => resolve({ text, ids: [inCallback, idOf()] }));
        });
      });
      body.pipe(request);
      const { text, ids } = await answered;
      const own = span.spanContext().traceId;
      return { same: ids.every((id) => id === own), there: JSON.parse(text).every((id) => id === own) };
    } finally {
      span.end();
    }
  });
}

/** What the exporter has: how often each span, with its parent, its status and its peer. */
function finished() {
  const all = spans.getFinishedSpans();
  const names = new Map(all.map((span) => [span.spanContext().spanId, span.name]));
  const counts = {};
  for (const { name, kind, status, parentSpanContext, attributes } of all) {
    const parent = parentSpanContext && (names.get(parentSpanContext.spanId) ?? 'remote');
    const peer = attributes['net.peer.name'] ?? attributes['server.address'];
    const state = { code: status.code, message: status.message?.replace(/[\d.]+:\d+/, 'there') };
    const line = JSON.stringify([name, kind, state, parent, peer !== undefined, attributes['net.transport']]);
    counts[line] = (counts[line] ?? 0) + 1;
  }
  spans.reset();
  return Object.entries(counts).sort();
}

async function client({ host, port, record, ca }) {
  for (const [i, module] of [http, https].entries()) {
    const options = { host, port: port + i, ca, path: '/x', method: 'POST', agent: false };
    record('in its trace', await traced(module, options, blobStream(kBytes)));
    const keep = new module.Agent({ keepAlive: true, maxSockets: 1 });
    for (let n = 0; n < 3; ++n)
      record('kept alive', await traced(module, { ...options, agent: keep }, blobStream(1000)));
    keep.destroy();
    record('nobody listens', await failure(traced(module, { ...options, port: port + 7 }, blobStream(10))));
  }
  record('spans of http', finished());
  const socket = net.connect({ host, port: port + 2 });
  await once(socket, 'connect');
  const back = digest(socket);
  socket.end(blob(kBytes));
  assert.deepEqual(await back, digestOf(kBytes));
  const refused = net.connect({ host, port: port + 7 });
  record('net: nobody listens', (await once(refused, 'error').catch((error) => [error]))[0].code);
  await once(refused, 'close');
  record('spans of net', finished());
}

module.exports = { server, client };
