/** What a program sees of servers, of connecting and of errors. */
import * as net from 'node:net';
import type { AddressInfo } from 'node:net';
import { Worker } from 'node:worker_threads';
import { fields, main, parties, type Scenario, serve } from './support';

function portOf(server: net.Server): number {
  return (server.address() as AddressInfo).port;
}

/** Node 24 and later. */
interface BoundSocket {
  address(): AddressInfo;
  close(): void;
}
const { BoundSocket } = net as unknown as { BoundSocket?: new (options: object) => BoundSocket };

export const scenarios: Record<string, Scenario> = {
  'net.BoundSocket, adopted by a server and by a socket': (log) => {
    if (BoundSocket === undefined) return log(`this Node\nhas none`);
    const reserved = new BoundSocket({ host: '127.0.0.1', port: 0 });
    const { port } = reserved.address();
    log(`${reserved.address().address} ${reserved.address().family}`);
    const taken = net.createServer();
    taken.on('error', (error) => log(fields(error)));
    taken.listen(port, '127.0.0.1');
    const server = net.createServer((socket) => {
      log(`from ${socket.remoteAddress}, the bound port: ${socket.remotePort === own}`);
      socket.end('x');
    });
    let own = 0;
    server.listen(reserved as unknown as net.ListenOptions, () => {
      log(`listens there: ${portOf(server) === port}`);
      try {
        reserved.address();
      } catch (error) {
        log(fields(error));
      }
      const from = new BoundSocket({ host: '127.0.0.1', port: 0 });
      own = from.address().port;
      const client = net.connect({ port, host: '127.0.0.1', handle: from } as unknown as net.NetConnectOpts);
      client.on('connect', () => log(`connect ${client.localPort === own} ${client.localAddress}`));
      client.on('data', (data) => log(`data ${data}`));
      client.on('error', (error) => log(fields(error)));
      client.on('close', (hadError) => {
        log(`close ${hadError}`);
        server.close();
      });
    });
    return undefined;
  },

  'a connection and a server that move to a worker thread': (log) => {
    const worker = new Worker(
      `const { parentPort } = require('node:worker_threads');
       parentPort.on('message', ({ server, socket }) => {
         if (socket) socket.on('data', (data) => socket.end('thread ' + data));
         if (server) server.on('connection', (each) => each.end('from the thread'));
         parentPort.postMessage('has it');
         if (server) parentPort.close();
       });`,
      { eval: true },
    );
    const attempt = (message: object, list: unknown[]): boolean => {
      try {
        worker.postMessage(message, list as []);
        return true;
      } catch (error) {
        log(`${(error as Error).name} ${(error as NodeJS.ErrnoException).code}`);
        return false;
      }
    };
    worker.on('message', (text) => log(`worker ${text}`));
    worker.on('error', (error) => log(fields(error)));
    worker.on('exit', (code) => log(`exit ${code}`));
    const server = net.createServer((socket) => {
      if (attempt({ socket }, [socket])) return;
      socket.end('stays');
    });
    serve(server, (port) => {
      const client = net.connect(port, '127.0.0.1', () => client.write('hello'));
      client.on('data', (data) => log(`data ${data}`));
      client.on('close', () => {
        log('close');
        server.close();
        setTimeout(() => worker.terminate(), 100);
      });
    });
  },

  'back-pressure to the byte': (log) => {
    const server = net.createServer((socket) => {
      socket.pause();
      setTimeout(() => socket.resume(), 150);
      let bytes = 0;
      socket.on('data', (data) => {
        bytes += data.length;
      });
      socket.on('end', () => log(`received ${bytes}`));
    });
    serve(server, (port) => {
      const client = net.connect({ port, host: '127.0.0.1', highWaterMark: 1000 } as net.NetConnectOpts, () => {
        let given = 0;
        let waits = 0;
        let wrong = 0;
        let done = 0;
        const block = Buffer.alloc(70_001);
        const fill = () => {
          for (;;) {
            given += block.length;
            const more = client.write(block, () => {
              done += block.length;
            });
            // bytesWritten counts what waits, too; who is told to stop is owed a 'drain'.
            if (client.bytesWritten !== given) wrong++;
            if (more === client.writableNeedDrain) wrong++;
            if (given >= 9_000_000) return client.end();
            if (!more) return waits++;
          }
        };
        client.on('drain', () => {
          if (client.writableLength !== 0 || done !== given) wrong++;
          fill();
        });
        client.on('finish', () =>
          log(`finish ${done === given} ${given} ${client.bytesWritten}, it waited: ${waits > 0}`),
        );
        client.on('close', () => {
          log(`wrong: ${wrong}, ${client.bytesWritten}`);
          server.close();
        });
        fill();
      });
      client.resume();
    });
  },

  'close with live connections': (log) => {
    const server = net.createServer((socket) => {
      socket.resume();
      server.getConnections((error, count) => log(`connections ${error} ${count}`));
      server.close((error) => log(`closed ${error}`));
      server.close((error) => log(`again ${fields(error)}`));
      log(`${server.listening} ${server.address()}`);
      const other = net.connect(port, '127.0.0.1');
      other.on('error', (error) => {
        log(`refused ${fields(error)}`);
        socket.write('bye');
      });
    });
    let port = 0;
    server.on('close', () => log('close'));
    serve(server, (given) => {
      port = given;
      const client = net.connect(port, '127.0.0.1');
      client.on('data', (data) => {
        log(`data ${data}`);
        client.end();
      });
    });
  },

  'maxConnections and drop': (log) => {
    const party = parties(log);
    const server = net.createServer((socket) => {
      party('server')('connection');
      socket.resume();
    });
    server.maxConnections = 2;
    server.on('drop', (data) => party('server')(`drop ${Object.keys(data ?? {})} ${data?.localFamily}`));
    serve(server, (port) => {
      const clients = [0, 1, 2].map((i) => {
        const client = net.connect(port, '127.0.0.1');
        client.resume();
        client.on('connect', () => party(`client ${i}`)('connect'));
        client.on('error', (error) => party(`client ${i}`)(fields(error)));
        client.on('end', () => party(`client ${i}`)('end'));
        client.on('close', (hadError) => party(`client ${i}`)(`close ${hadError}`));
        return client;
      });
      setTimeout(() => {
        for (const client of clients) client.end();
        server.close();
      }, 100);
    });
  },

  'listening errors': (log) => {
    const server = net.createServer();
    serve(server, (port) => {
      const second = net.createServer();
      second.on('error', (error) => {
        log(fields(error));
        const third = net.createServer();
        third.on('error', (problem) => {
          log(fields(problem));
          server.close(() => {
            third.listen(port, '127.0.0.1', () => third.close(() => log('closed')));
          });
        });
        third.listen(0, '192.0.2.77');
      });
      second.listen(port, '127.0.0.1');
    });
    try {
      server.listen(0);
    } catch (error) {
      log(fields(error));
    }
  },

  'a port again, at once': (log) => {
    const server = net.createServer((socket) => socket.end('x'));
    serve(server, (port) => {
      const client = net.connect(port, '127.0.0.1');
      client.resume();
      client.on('close', () => {
        server.close(() => {
          server.listen(port, '127.0.0.1', () => {
            log(`listening ${portOf(server) === port}`);
            server.close(() => log('closed'));
          });
        });
      });
    });
  },

  'addresses of a listener': (log) => {
    const tries: [string | undefined, string][] = [
      ['127.0.0.1', '127.0.0.1'],
      ['127.0.0.2', '127.0.0.2'],
      ['0.0.0.0', '127.0.0.3'],
      ['localhost', '127.0.0.1'],
      [undefined, '127.0.0.1'],
      ['::', '127.0.0.1'],
      ['::1', '::1'],
      ['::', '::1'],
    ];
    const next = () => {
      const [host, to] = tries.shift() ?? [];
      if (to === undefined) return;
      const server = net.createServer((socket) => {
        log(
          `${socket.remoteAddress} ${socket.remoteFamily} ${socket.localAddress} ${socket.localPort === portOf(server)}`,
        );
        socket.end();
      });
      server.on('error', (error) => {
        log(`${host} ${fields(error)}`);
        next();
      });
      server.listen({ port: 0, ...(host === undefined ? {} : { host }) }, () => {
        const { address, family } = server.address() as AddressInfo;
        log(`${host} ${address} ${family}`);
        const client = net.connect(portOf(server), to);
        client.resume();
        client.on('error', (error) => log(fields(error)));
        client.on('close', () => server.close(next));
      });
    };
    next();
  },

  'local address, port and family': (log) => {
    const server = net.createServer((socket) => {
      log(`from ${socket.remoteAddress} ${socket.remoteFamily}`);
      socket.end();
    });
    serve(server, (port) => {
      const tries: net.TcpNetConnectOpts[] = [
        { port, host: '127.0.0.1', localAddress: '127.0.0.9' },
        { port, host: 'localhost', family: 4 },
        { port, host: '127.0.0.1', localAddress: '192.0.2.5' },
        { port, host: '127.0.0.1', localAddress: '::1' },
        { port, host: '127.0.0.1', localPort: port },
        { port: 1, host: '::1' },
        { port: 1, host: '127.0.0.1' },
        { port: 1, host: '::ffff:127.0.0.1' },
        { port, host: '::ffff:127.0.0.1' },
      ];
      const next = () => {
        const options = tries.shift();
        if (options === undefined) {
          server.close();
          return;
        }
        const client = net.connect(options);
        client.resume();
        client.on('connect', () => log(`${client.localAddress} ${client.localFamily} ${client.remoteAddress}`));
        client.on('error', (error) => log(fields(error)));
        client.on('close', (hadError) => {
          log(`close ${hadError}`);
          next();
        });
      };
      next();
    });
  },

  'happy eyeballs': (log) => {
    const attempts = (client: net.Socket) => {
      for (const event of ['connectionAttempt', 'connectionAttemptFailed', 'connectionAttemptTimeout']) {
        client.on(event as 'connect', (...args: unknown[]) => {
          const [ip, port, family, error] = args as [string, number, number, Error | undefined];
          log(`${event} ${ip} ${typeof port} ${family} ${fields(error)}`);
        });
      }
      client.on('connect', () =>
        log(`connect ${client.remoteAddress} ${client.autoSelectFamilyAttemptedAddresses?.length}`),
      );
      client.on('error', (error) => log(fields(error)));
    };
    const lookupOf =
      (addresses: [string, number][]) => (_host: string, _options: unknown, done: (...args: unknown[]) => void) => {
        process.nextTick(
          done,
          null,
          addresses.map(([address, family]) => ({ address, family })),
        );
      };
    const server = net.createServer((socket) => socket.end('x'));
    serve(server, (port) => {
      const tries: [string, number][][] = [
        [
          ['::1', 6],
          ['127.0.0.1', 4],
        ],
        [
          ['127.0.0.1', 4],
          ['::1', 6],
        ],
        [
          ['::1', 6],
          ['127.0.0.2', 4],
          ['127.0.0.1', 4],
        ],
        [
          ['::1', 6],
          ['127.0.0.2', 4],
        ],
      ];
      const next = () => {
        const addresses = tries.shift();
        if (addresses === undefined) {
          server.close();
          return;
        }
        const client = net.connect({
          port,
          host: 'example.test',
          autoSelectFamily: true,
          lookup: lookupOf(addresses) as unknown as net.LookupFunction,
        });
        attempts(client);
        client.on('data', (data) => log(`data ${data}`));
        client.on('close', next);
      };
      next();
    });
  },

  AbortSignal: (log) => {
    const server = net.createServer((socket) => {
      socket.on('error', () => {});
      socket.on('close', (hadError) => log(`server ${hadError}`));
      socket.resume();
    });
    const serverAbort = new AbortController();
    server.on('close', () => log('server closed'));
    server.listen({ port: 0, host: '127.0.0.1', signal: serverAbort.signal }, () => {
      const abort = new AbortController();
      const client = new net.Socket({ signal: abort.signal });
      client.connect(portOf(server), '127.0.0.1', () => {
        log('connect');
        abort.abort();
        log(`${client.destroyed}`);
      });
      client.on('error', (error) => log(fields(error)));
      client.on('close', (hadError) => {
        log(`close ${hadError}`);
        const late = net.connect({
          port: portOf(server),
          host: '127.0.0.1',
          signal: AbortSignal.abort(),
        } as net.NetConnectOpts);
        late.on('error', (error) => {
          log(fields(error));
          serverAbort.abort();
        });
      });
    });
  },

  blockList: (log) => {
    const blocked = new net.BlockList();
    blocked.addAddress('127.0.0.1');
    const party = parties(log);
    const server = net.createServer({ blockList: blocked } as net.ServerOpts, (socket) => {
      party('server')(`connection ${socket.remoteAddress}`);
      socket.end();
    });
    server.on('drop', () => party('server')('drop'));
    serve(server, (port) => {
      const client = net.connect({ port, host: '127.0.0.1', blockList: blocked } as net.NetConnectOpts);
      client.resume();
      client.on('error', (error) => party('client')(fields(error)));
      client.on('close', () => {
        const other = net.connect({ port, host: '127.0.0.1', localAddress: '127.0.0.3' });
        other.resume();
        other.on('error', (error) => party('other')(fields(error)));
        other.on('close', (hadError) => {
          party('other')(`close ${hadError}`);
          server.close();
        });
      });
    });
  },

  'setters return the socket, before and after': (log) => {
    const server = net.createServer({ noDelay: true, keepAlive: true, keepAliveInitialDelay: 1000 }, (socket) =>
      socket.end(),
    );
    serve(server, (port) => {
      const client = new net.Socket();
      const all = () =>
        [
          client.setNoDelay(true),
          client.setKeepAlive(true, 1000),
          client.setTimeout(5000),
          client.ref(),
          client.unref(),
          client.ref(),
        ]
          .map((value) => value === client)
          .join();
      log(`${all()} ${client.readyState} ${client.timeout}`);
      client.connect(port, '127.0.0.1', () => log(`${all()} ${client.readyState}`));
      log(`${all()} ${client.readyState}`);
      client.resume();
      client.on('close', () => {
        log(`${all()} ${client.readyState} ${JSON.stringify(client.address())}`);
        server.close();
      });
    });
  },

  'one socket, connected again': (log) => {
    let n = 0;
    const server = net.createServer((socket) => socket.end(`answer ${++n}`));
    serve(server, (port) => {
      const client = new net.Socket();
      client.on('data', (data) => log(`data ${data}`));
      client.on('end', () => log(`end ${client.bytesRead}`));
      client.on('close', () => {
        log(`close ${client.bytesRead} ${client.destroyed}`);
        if (n < 3) client.connect(port, '127.0.0.1', () => log(`connect ${client.bytesRead} ${client.destroyed}`));
        else server.close();
      });
      client.connect(port, '127.0.0.1');
    });
  },

  'resetAndDestroy at every stage': (log) => {
    const party = parties(log);
    let accepted = 0;
    const server = net.createServer((socket) => {
      const say = party(`server ${accepted++}`);
      socket.on('data', (data) => say(`data ${data}`));
      socket.on('error', (error) => say(fields(error)));
      socket.on('end', () => say('end'));
      socket.on('close', (hadError) => say(`close ${hadError}`));
    });
    serve(server, (port) => {
      const stages: ((client: net.Socket) => void)[] = [
        (client) => client.resetAndDestroy(),
        (client) => client.on('connect', () => client.resetAndDestroy()),
        (client) => client.on('connect', () => client.write('x', () => client.resetAndDestroy())),
        (client) => client.on('connect', () => client.end('x', () => setTimeout(() => client.resetAndDestroy(), 20))),
      ];
      let left = stages.length;
      for (const [i, stage] of stages.entries()) {
        const client = net.connect({ port, host: '127.0.0.1', localAddress: `127.0.1.${i + 1}` });
        const say = party(`client ${i}`);
        client.on('error', (error) => say(fields(error)));
        client.on('close', (hadError) => {
          say(`close ${hadError}`);
          if (--left === 0) setTimeout(() => server.close(), 50);
        });
        stage(client);
      }
    });
  },

  'a reset behind bytes, found with them and later': (log) => {
    const party = parties(log);
    let n = 0;
    const server = net.createServer((socket) => {
      const reset = () => socket.resetAndDestroy();
      if (++n === 1) socket.write('last words', () => setImmediate(reset));
      else socket.write('last words', () => setTimeout(reset, 50));
    });
    serve(server, (port) => {
      const next = (name: string) => {
        const say = party(name);
        const client = net.connect(port, '127.0.0.1');
        client.on('data', (data) => say(`data ${data}`));
        client.on('end', () => say('end'));
        client.on('error', (error) => say(fields(error)));
        client.on('close', (hadError) => {
          say(`close ${hadError}`);
          if (n === 1) next('later');
          else server.close();
        });
      };
      next('together');
    });
  },

  'timeouts: activity puts them off': (log) => {
    const server = net.createServer((socket) => {
      const timer = setInterval(() => socket.write('x'), 20);
      setTimeout(() => clearInterval(timer), 300);
      socket.on('close', () => server.close());
      socket.resume();
    });
    serve(server, (port) => {
      let pieces = 0;
      const client = net.connect({ port, host: '127.0.0.1', timeout: 800 });
      client.on('data', () => pieces++);
      client.on('timeout', () => {
        log('timeout');
        log(`${pieces > 3} ${client.connecting} ${client.timeout}`);
        client.end();
      });
    });
  },

  'onread: one buffer, and a pause from the callback': (log) => {
    const server = net.createServer((socket) => {
      socket.write('0123456789');
      setTimeout(() => socket.end('abcdef'), 50);
    });
    serve(server, (port) => {
      let calls = 0;
      let text = '';
      const client = net.connect({
        port,
        host: '127.0.0.1',
        onread: {
          buffer: Buffer.alloc(4),
          callback: (bytes, buffer) => {
            // From the pause on the pieces are a matter of when they come.
            text += Buffer.from(buffer.buffer, buffer.byteOffset, bytes);
            if (++calls <= 2) log(`${bytes} ${text}`);
            if (calls !== 2) return true;
            setTimeout(() => {
              log('resume');
              client.resume();
            }, 20);
            return false;
          },
        },
      });
      client.on('data', () => log('never'));
      client.on('end', () => log(`end ${client.bytesRead} ${text}`));
      client.on('close', () => server.close());
    });
  },
};

main(scenarios);
