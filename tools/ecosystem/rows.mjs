// The rows of the matrix: a program of programs/, the packages that it is about, the sides on which millrace can be, and
// the server of Debian, where there is one, that the client speaks with.
export const ROWS = [
  {
    name: 'ws',
    packages: ['ws'],
    sides: ['client', 'server'],
    checks: 'echo of all sizes of frames, deflate, wss, streams, broadcast, close codes, the server ends and returns',
  },
  {
    name: 'express',
    packages: ['express'],
    sides: ['client', 'server'],
    checks: 'bodies, files, ranges, streams, one kept connection, pipelining, aborts, https',
  },
  {
    name: 'undici',
    packages: ['undici'],
    sides: ['client', 'server'],
    checks: 'fetch, pools and pipelining over http/1.1, TLS and http/2; redirects, aborts, cut answers, timeouts',
  },
  {
    name: 'ioredis',
    packages: ['ioredis'],
    sides: ['client'],
    server: 'redis',
    checks: '5 MiB values, 5,000 in a pipeline, transactions, scripts, pub/sub, blocking pops, TLS, a killed server',
  },
];
