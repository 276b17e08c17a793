// The rows of the matrix: a program of programs/, the packages that it is about, the sides on which millrace can be, and
// the server of Debian, where there is one, that the client speaks with or that stands in front of ours.
export const ROWS = [
  {
    name: 'ws',
    packages: ['ws'],
    sides: ['client', 'server'],
    checks: 'frames of all sizes, deflate, wss, streams, broadcast, close codes, the server ends and returns',
  },
  {
    name: 'socket-io',
    packages: ['socket.io', 'socket.io-client'],
    sides: ['client', 'server'],
    checks: 'polling, WebSocket and the change between them; binary, acknowledgements, rooms, refusals, reconnecting',
  },
  {
    name: 'express',
    packages: ['express'],
    sides: ['client', 'server'],
    checks: 'bodies, files, ranges, streams, one kept connection, pipelining, aborts, https; the client is node:http',
  },
  {
    name: 'fastify',
    packages: ['fastify'],
    sides: ['client', 'server'],
    checks:
      'validation, streams, http/1.1 with pipelining, http/2 with 20 streams, aborts; the clients undici, node:http2',
  },
  {
    name: 'undici',
    packages: ['undici'],
    sides: ['client', 'server'],
    checks: 'fetch, pools and pipelining over http/1.1, TLS and http/2; redirects, aborts, cut answers, timeouts',
  },
  {
    name: 'axios',
    packages: ['axios'],
    sides: ['client', 'server'],
    checks: 'bodies, streams, progress, limits, timeouts, aborts, cut answers, agents that keep connections, https',
  },
  {
    name: 'got',
    packages: ['got'],
    sides: ['client', 'server'],
    checks: 'streams both ways, retries, timeouts, aborts, https, http/2 by http2-wrapper',
  },
  {
    name: 'http-proxy',
    packages: ['http-proxy'],
    sides: ['server', 'client'],
    checks: 'a proxy with kept connections before http, https and WebSockets: both ends of every exchange at once',
  },
  {
    name: 'nginx',
    packages: ['undici', 'axios'],
    sides: ['client'],
    server: 'nginx',
    checks: 'files, ranges, refused uploads over http/1.1, TLS, http/2; resumed sessions, kept connections',
  },
  {
    name: 'behind-nginx',
    packages: ['fastify', 'ws'],
    sides: ['server'],
    front: 'nginx',
    checks: 'a server behind nginx: its kept connections, streams, aborts, WebSockets, the server ends and returns',
  },
  {
    name: 'grpc',
    packages: ['@grpc/grpc-js', '@grpc/proto-loader'],
    sides: ['client', 'server'],
    checks: 'all four kinds of calls, metadata, deadlines, cancelling, states of refusal, TLS, reconnecting',
  },
  {
    name: 'ioredis',
    packages: ['ioredis'],
    sides: ['client'],
    server: 'redis',
    checks: '5 MiB values, 5,000 in a pipeline, transactions, scripts, pub/sub, blocking pops, TLS, a killed server',
  },
  {
    name: 'pg',
    packages: ['pg'],
    sides: ['client'],
    server: 'postgresql',
    checks:
      'prepared statements, 8 MiB rows, 20,000 rows, queues, transactions, LISTEN, pools, errors, TLS, the server ends',
  },
  {
    name: 'mysql2',
    packages: ['mysql2'],
    sides: ['client'],
    server: 'mariadb',
    checks: 'prepared statements, 8 MiB rows, rows read slowly, transactions, pools, errors, TLS, a killed server',
  },
  {
    name: 'mqtt',
    packages: ['mqtt'],
    sides: ['client'],
    server: 'mosquitto',
    checks:
      'all qualities of service, MQTT 3.1.1 and 5, TLS, WebSockets, 1 MiB, retained words, wills, a killed broker',
  },
  {
    name: 'nats',
    packages: ['nats'],
    sides: ['client'],
    server: 'nats',
    checks: 'requests, 1 MiB, order, queue groups, JetStream, TLS begun inside the connection, a killed server',
  },
  {
    name: 'amqplib',
    packages: ['amqplib'],
    sides: ['client'],
    server: 'rabbitmq',
    checks: 'confirmed publishing, acknowledgements, 4 MiB, topics, calls, errors of channels, TLS, a killed server',
  },
  {
    name: 'memjs',
    packages: ['memjs'],
    sides: ['client'],
    server: 'memcached',
    checks: 'all commands, 3 MiB, 2,000 at once, a killed server',
  },
  {
    name: 'otel-first',
    program: 'otel',
    packages: ['@opentelemetry/instrumentation-net', '@opentelemetry/instrumentation-http'],
    note: 'loaded before millrace',
    preload: ['otel-setup.js'],
    sides: ['client', 'server'],
    checks:
      'the trace in every callback, across the wire, over kept connections, https; spans, parents, states, errors',
  },
  {
    name: 'otel-last',
    program: 'otel',
    packages: ['@opentelemetry/instrumentation-net', '@opentelemetry/instrumentation-http'],
    note: 'loaded after millrace',
    sides: ['client', 'server'],
    checks: 'the same',
  },
];
