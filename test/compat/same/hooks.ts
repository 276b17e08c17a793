/** What async_hooks, AsyncLocalStorage, diagnostics_channel and perf_hooks show of sockets. */
import {
  AsyncLocalStorage,
  AsyncResource,
  createHook,
  executionAsyncId,
  executionAsyncResource,
} from 'node:async_hooks';
import * as dgram from 'node:dgram';
import * as channels from 'node:diagnostics_channel';
import * as http from 'node:http';
import * as net from 'node:net';
import { performance, PerformanceObserver } from 'node:perf_hooks';
import { main, parties, type Scenario, serve } from './support';

/** The kinds of resource that a program makes by using the network. */
const KINDS = /^(?:TCP|UDP|PIPE|SHUTDOWN|WRITE|JSSTREAM|HTTP|GETADDRINFO)/;

export const scenarios: Record<string, Scenario> = {
  'a domain entered in the callback of another has what is thrown there': (log) => {
    const party = parties(log);
    // Only here: the others must not run with its hook.
    const domain = require('node:domain') as typeof import('node:domain');
    const [outer, inner] = [domain.create(), domain.create()];
    outer.on('error', (error) => party('outer')(error.message));
    inner.on('error', (error) => party('inner')(error.message));
    const server = net.createServer((socket) => socket.end('x'));
    serve(server, (port) => {
      outer.run(() => {
        const client = net.connect(port, '127.0.0.1');
        const fail = (what: string) => () => {
          client.destroy();
          throw new Error(what);
        };
        client.on('data', inner.bind(fail('data')));
        client.on('close', () => {
          server.close();
          throw new Error('close');
        });
      });
    });
  },

  'a store through every callback of net': (log) => {
    const party = parties(log);
    const store = new AsyncLocalStorage<string>();
    const say = (who: string, what: string) => party(who)(`${what}: ${store.getStore()}`);
    const server = store.run('server', () =>
      net.createServer({ allowHalfOpen: true }, (socket) => {
        say('server', 'connection');
        store.run('accepted', () => {
          for (const event of ['data', 'end', 'finish', 'close', 'drain', 'timeout'] as const) {
            socket.on(event, () => say('server', event));
          }
          socket.setTimeout(60);
        });
        socket.once('timeout', () => {
          store.run('write', () => socket.write(Buffer.alloc(100_000), () => say('server', 'written')));
          store.run('end', () => socket.end(() => say('server', 'ended')));
        });
      }),
    );
    store.run('listen', () => {
      server.on('close', () => say('server', 'server close'));
      serve(server, (port) => {
        say('server', 'listening');
        const client = store.run('client', () => net.connect(port, 'localhost'));
        store.run('listeners', () => {
          for (const event of ['lookup', 'connect', 'ready', 'end', 'finish', 'close'] as const) {
            client.on(event, () => say('client', event));
          }
        });
        client.once('readable', () => {
          say('client', 'readable');
          setImmediate(() => client.resume());
        });
        client.on('connect', () => {
          client.resume();
          store.run('hello', () => client.write('hello', () => say('client', 'written')));
          process.nextTick(() => say('client', 'tick'));
          queueMicrotask(() => say('client', 'microtask'));
          setImmediate(() => say('client', 'immediate'));
        });
        client.on('end', () => store.run('close', () => server.close(() => say('server', 'closed'))));
      });
    });
  },

  'a store through dgram and http': (log) => {
    const party = parties(log);
    const store = new AsyncLocalStorage<string>();
    const say = (who: string, what: string) => party(who)(`${what}: ${store.getStore()}`);
    const server = store.run('server', () => http.createServer());
    server.on('request', (request, response) => {
      say('server', 'request');
      store.run('handler', () => {
        request.on('end', () => say('server', 'end'));
        response.on('finish', () => say('server', 'finish'));
        response.on('close', () => say('server', 'close'));
        setTimeout(() => response.end('x', () => say('server', 'written')), 5);
      });
      request.resume();
    });
    const agent = new http.Agent({ keepAlive: true });
    serve(server, (port) => {
      const get = (name: string, then: () => void) =>
        store.run(name, () => {
          http.get({ port, host: '127.0.0.1', agent }, (response) => {
            say('client', 'response');
            response.on('data', () => say('client', 'data'));
            response.on('end', () => {
              say('client', 'end');
              setImmediate(then);
            });
          });
        });
      get('first', () =>
        get('second', () => {
          agent.destroy();
          server.close();
        }),
      );
    });
    const receiver = store.run('receiver', () => dgram.createSocket('udp4'));
    receiver.on('message', () => {
      say('dgram', 'message');
      receiver.close(() => say('dgram', 'close'));
    });
    store.run('bind', () =>
      receiver.bind(0, '127.0.0.1', () => {
        say('dgram', 'listening');
        const sender = dgram.createSocket('udp4');
        store.run('send', () =>
          sender.send('x', receiver.address().port, '127.0.0.1', () => {
            say('dgram', 'sent');
            sender.close();
          }),
        );
      }),
    );
  },

  'await in listeners, and resources of the program': (log) => {
    const store = new AsyncLocalStorage<number>();
    const server = net.createServer((socket) => {
      socket.on('data', async (data) => {
        await store.run(Number(String(data)), async () => {
          await new Promise((resolve) => setImmediate(resolve));
          log(`server ${store.getStore()}`);
          socket.write(`${store.getStore()}`);
        });
        log(`behind ${store.getStore()}`);
      });
    });
    serve(server, (port) => {
      const client = net.connect(port, '127.0.0.1');
      let n = 1;
      client.write('1');
      client.on(
        'data',
        AsyncResource.bind((data: Buffer) => {
          log(`client ${data}`);
          if (++n <= 3) client.write(String(n));
          else client.end();
        }),
      );
      client.on('end', () => server.close());
    });
  },

  'ids of what runs': (log) => {
    const party = parties(log);
    const seen = (who: string, what: string) => {
      const own = executionAsyncId() > 0;
      const resource = executionAsyncResource() !== undefined;
      party(who)(`${what} ${own} ${resource}`);
    };
    const server = net.createServer((socket) => {
      seen('server', 'connection');
      let first = 0;
      socket.on('data', (data) => {
        seen('server', `data ${data}`);
        if (first === 0) first = executionAsyncId();
        else party('server')(`same id ${first === executionAsyncId()}`);
      });
      socket.on('end', () => {
        party('server')(`same id at the end ${first === executionAsyncId()}`);
        server.close();
      });
    });
    serve(server, (port) => {
      const client = net.connect(port, '127.0.0.1', () => {
        seen('client', 'connect');
        client.write('1');
        setTimeout(() => client.write('2'), 20);
        setTimeout(() => client.end(), 40);
      });
      client.resume();
    });
  },

  'who caused whom, how often each ran, and that each ended': (log) => {
    interface Seen {
      readonly name: string;
      readonly cause: string;
      runs: number;
      ends: number;
    }
    const seen = new Map<number, Seen>();
    const counts = new Map<string, number>();
    const hook = createHook({
      init(id, kind, trigger) {
        // A server's callbacks are of the round in which its handle was made or of a later one: no two runs are alike.
        if (!/^(?:TCP|UDP|SHUTDOWN|WRITE|HTTP)/.test(kind)) return;
        const number = (counts.get(kind) ?? 0) + 1;
        counts.set(kind, number);
        seen.set(id, { name: `${kind}:${number}`, cause: seen.get(trigger)?.name ?? 'other', runs: 0, ends: 0 });
      },
      before(id) {
        const known = seen.get(id);
        if (known !== undefined) known.runs++;
      },
      destroy(id) {
        const known = seen.get(id);
        if (known !== undefined) known.ends++;
      },
    }).enable();
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    const server = http.createServer((request, response) => {
      request.resume();
      request.on('end', () => response.end('x'));
    });
    const get = (port: number, then: () => void) =>
      http.get({ port, host: '127.0.0.1', agent }, (response) => {
        response.resume();
        response.on('end', () => setImmediate(then));
      });
    const plain = (then: () => void) => {
      const listener = net.createServer((socket) => {
        socket.on('data', () => socket.end(Buffer.alloc(30_000_000)));
      });
      serve(listener, (port) => {
        const client = net.connect(port, '127.0.0.1', () => client.write('x'));
        client.once('data', () => client.pause());
        setTimeout(() => client.resume(), 30);
        client.on('close', () => listener.close(then));
      });
    };
    const datagram = (then: () => void) => {
      const socket = dgram.createSocket('udp4');
      socket.on('message', () => socket.close(then));
      socket.bind(0, '127.0.0.1', () => socket.send('x', socket.address().port, '127.0.0.1'));
    };
    serve(server, (port) =>
      get(port, () =>
        get(port, () => {
          agent.destroy();
          server.close(() => plain(() => datagram(() => setTimeout(() => hook.disable(), 50))));
        }),
      ),
    );
    process.on('exit', () => {
      for (const { name, cause, runs, ends } of seen.values()) {
        // Reading a socket takes as many callbacks as it takes.
        log(`${name} by ${cause}: ${/^(?:TCPWRAP|HTTP)/.test(name) ? runs > 0 : runs} ends ${ends}`);
      }
    });
  },

  'before and after come in pairs': (log) => {
    const kinds = new Map<number, string>();
    const open: number[] = [];
    let wrong = 0;
    let calls = 0;
    const destroyed = new Set<number>();
    createHook({
      init: (id, kind) => kinds.set(id, kind),
      before: (id) => {
        calls++;
        if (!kinds.has(id) && id > 1) wrong++;
        open.push(id);
      },
      after: (id) => {
        if (open.pop() !== id) wrong++;
      },
      destroy: (id) => {
        if (destroyed.has(id)) wrong++;
        destroyed.add(id);
      },
    }).enable();
    const server = http.createServer((_request, response) => response.end('x'));
    serve(server, (port) => {
      http.get({ port, host: '127.0.0.1', agent: false }, (response) => {
        response.resume();
        response.on('end', () => server.close());
      });
    });
    process.on('exit', () => {
      log(`${wrong} wrong, something ran: ${calls > 5}`);
      const made = new Set(
        [...kinds.values()].filter((kind) => KINDS.test(kind) && kind !== 'JSSTREAM' && !/WRITE|SHUTDOWN/.test(kind)),
      );
      log([...made].sort().join());
    });
  },

  'diagnostics channels': (log) => {
    const names = [
      'net.client.socket',
      'net.server.socket',
      'udp.socket',
      'http.client.request.start',
      'http.client.response.finish',
      'http.server.request.start',
      'http.server.response.finish',
      'tracing:net.server.listen:asyncStart',
      'tracing:net.server.listen:asyncEnd',
      'tracing:net.server.listen:error',
    ];
    for (const name of names) {
      channels.subscribe(name, (message) => {
        const shape = Object.entries(message as object).map(([key, value]) => `${key}:${value?.constructor?.name}`);
        log(`${name} ${shape.join(' ')}`);
      });
    }
    const server = http.createServer((_request, response) => response.end('x'));
    serve(server, (port) => {
      http.get({ port, host: '127.0.0.1', agent: false }, (response) => {
        response.resume();
        response.on('end', () => {
          dgram.createSocket('udp4').close();
          server.close();
        });
      });
    });
  },

  'perf_hooks of connecting and of http': (log) => {
    const entries: string[] = [];
    const observer = new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) {
        const detail = (entry as { detail?: object }).detail ?? {};
        entries.push(`${entry.entryType} ${entry.name} ${Object.keys(detail)} ${entry.duration >= 0}`);
      }
    });
    observer.observe({ entryTypes: ['net', 'http', 'dns'] as unknown as ['http'] });
    const server = http.createServer((_request, response) => response.end('x'));
    serve(server, (port) => {
      http.get({ port, host: '127.0.0.1', agent: false }, (response) => {
        response.resume();
        response.on('end', () => server.close());
      });
    });
    process.on('exit', () => {
      log(`${performance.now() > 0}`);
      for (const entry of entries.sort()) log(entry);
    });
  },
};

main(scenarios);
