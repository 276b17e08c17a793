/**
 * Programs whose log must be the same under the kernel and under the engine. Each is run in a process of its own by
 * compare.ts: the kernel's is the truth. Nothing here knows of millrace.
 */
import { AsyncLocalStorage, executionAsyncId } from 'node:async_hooks';
import * as dgram from 'node:dgram';
import * as http from 'node:http';
import * as net from 'node:net';
import type { AddressInfo } from 'node:net';
import { main, parties, type Scenario, serve, summary, watch } from './support';

export const scenarios: Record<string, Scenario> = {
  'events of a short connection': (log) => {
    const server = net.createServer((socket) => {
      watch(log, 'server', socket);
      socket.end('hello');
    });
    serve(server, (port) => {
      const client = net.connect(port, '127.0.0.1');
      watch(log, 'client', client);
      client.on('close', () => server.close(() => log('server closed')));
    });
  },

  // Each side by itself: which of the two closes first is a matter of what one poll of the kernel happens to find.
  'half-open on both sides': (log) => {
    const sides = { server: [] as string[], client: [] as string[] };
    const server = net.createServer({ allowHalfOpen: true }, (socket) => {
      watch((text) => sides.server.push(text), 'server', socket);
      socket.on('end', () => setTimeout(() => socket.end('late'), 20));
    });
    serve(server, (port) => {
      const client = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true });
      const note = (text: string) => sides.client.push(text);
      watch(note, 'client', client);
      client.end('early');
      client.on('end', () => note(`${client.readyState} ${client.writable} ${client.readable} ${client.destroyed}`));
      client.on('close', () => server.close());
    });
    process.on('exit', () => {
      for (const text of [...sides.server, ...sides.client]) log(text);
    });
  },

  'ticks and microtasks between events': (log) => {
    const server = net.createServer((socket) => {
      log('connection');
      process.nextTick(() => log('tick of connection'));
      Promise.resolve().then(() => log('microtask of connection'));
      socket.on('data', () => {
        log('data');
        process.nextTick(() => {
          log('tick of data');
          Promise.resolve().then(() => log('microtask of tick'));
        });
        queueMicrotask(() => log('microtask of data'));
      });
      socket.on('end', () => log('end'));
      socket.on('close', () => {
        log('close');
        server.close();
      });
    });
    serve(server, (port) => {
      const client = net.connect(port, '127.0.0.1', () => {
        process.nextTick(() => log('tick of connect'));
        queueMicrotask(() => log('microtask of connect'));
        client.end('x');
        client.resume();
      });
    });
  },

  'stores of AsyncLocalStorage': (log) => {
    const storage = new AsyncLocalStorage<string>();
    const where = (name: string) => log(`${name}: ${storage.getStore()} ${executionAsyncId() > 0}`);
    const server = storage.run('server', () =>
      net.createServer((socket) => {
        where('connection');
        socket.on('data', (data) => {
          where('server data');
          socket.write(data, () => where('server written'));
        });
        socket.on('end', () => where('server end'));
        socket.on('close', () => where('server close'));
      }),
    );
    storage.run('listen', () =>
      serve(server, (port) => {
        const client = storage.run('client', () => net.connect(port, '127.0.0.1'));
        client.on('connect', () => {
          where('connect');
          storage.run('write', () => client.write('x', () => where('written')));
        });
        client.on('data', () => {
          where('data');
          storage.run('end', () => client.end(() => where('ended')));
        });
        client.on('end', () => where('end'));
        client.on('close', () => {
          where('close');
          server.close(() => where('server closed'));
        });
      }),
    );
  },

  'a waiting write keeps the store of its making': (log) => {
    const storage = new AsyncLocalStorage<string>();
    const server = net.createServer((socket) => {
      setTimeout(() => socket.resume(), 50);
      socket.on('end', () => server.close());
    });
    serve(server, (port) => {
      const client = net.connect(port, '127.0.0.1', () => {
        storage.run('big', () => client.write(Buffer.alloc(8_000_000), () => log(`big ${storage.getStore()}`)));
        storage.run('small', () => client.end('x', () => log(`small ${storage.getStore()}`)));
      });
    });
  },

  'errors: refused, reset, ended, timed out': (log) => {
    const server = net.createServer((socket) => {
      socket.on('error', (error) => log(`server ${summary(error)}`));
      socket.once('data', () => socket.resetAndDestroy());
    });
    serve(server, (port) => {
      const client = net.connect(port, '127.0.0.1', () => client.write('x'));
      client.on('error', (error) => log(`reset ${summary(error)}`));
      client.on('close', () => {
        server.close(() => {
          const refused = net.connect(port, '127.0.0.1');
          refused.on('error', (error) => log(`refused ${summary(error)}`));
        });
        client.write('y', (error) => log(`late ${(error as NodeJS.ErrnoException).code}`));
      });
    });
  },

  'a write into a connection that the peer has left': (log) => {
    const server = net.createServer((socket) => {
      socket.on('data', () => {});
      setTimeout(() => socket.destroy(), 10);
    });
    serve(server, (port) => {
      const client = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true });
      client.resume();
      client.on('end', () => {
        log('end');
        client.write('first');
        setTimeout(() => client.write('second'), 30);
      });
      client.on('error', (error: NodeJS.ErrnoException) => log(`error ${error.code} ${error.syscall}`));
      client.on('close', () => {
        log('close');
        server.close();
      });
    });
  },

  timeouts: (log) => {
    const server = net.createServer((socket) => {
      socket.setTimeout(50, () => {
        log('server timeout');
        socket.end();
      });
      socket.resume();
    });
    serve(server, (port) => {
      const client = net.connect(port, '127.0.0.1');
      client.resume();
      client.on('end', () => log('end'));
      client.on('close', () => server.close());
    });
  },

  'counters and addresses': (log) => {
    const server = net.createServer((socket) => {
      socket.on('data', (data) => socket.end(Buffer.concat([data, data])));
      socket.on('close', () => log(`server ${socket.bytesRead} ${socket.bytesWritten} ${socket.remoteAddress}`));
    });
    serve(server, (port) => {
      const client = net.connect(port, '127.0.0.1');
      log(`${client.connecting} ${client.pending} ${client.readyState} ${client.remoteAddress} ${client.localPort}`);
      client.write('äöü');
      log(`${client.bytesWritten} ${client.writableLength}`);
      client.on('connect', () => {
        const { address, family } = client.address() as AddressInfo;
        log(`${address} ${family} ${client.remoteFamily} ${client.remotePort === port} ${client.bytesWritten}`);
      });
      client.on('data', () => {});
      client.on('close', () => {
        log(`client ${client.bytesRead} ${client.bytesWritten} ${client.remoteAddress} ${client.localAddress}`);
        server.close();
      });
    });
  },

  'http: order of events': (log) => {
    const party = parties(log);
    const server = http.createServer((request, response) => {
      party('server')(`request ${request.url}`);
      request.on('data', (data) => party('server')(`request data ${data.length}`));
      request.on('end', () => {
        party('server')('request end');
        response.write('part');
        setTimeout(() => response.end('rest'), 20);
      });
      response.on('finish', () => party('server')('response finish'));
      response.on('close', () => party('server')('response close'));
    });
    serve(server, (port) => {
      const agent = new http.Agent({ keepAlive: true });
      const request = http.request({ port, host: '127.0.0.1', method: 'POST', agent }, (response) => {
        party('client')(`response ${response.statusCode}`);
        response.on('data', (data) => party('client')(`data ${data}`));
        response.on('end', () => party('client')('end'));
        response.on('close', () => {
          party('client')('closed');
          setTimeout(() => {
            agent.destroy();
            server.close();
          }, 20);
        });
      });
      for (const event of ['socket', 'finish', 'close'] as const)
        request.on(event, () => party('client')(`client ${event}`));
      request.end('body');
    });
  },

  'closing is done before the timers of the next round': (log) => {
    const server = net.createServer((socket) => socket.on('error', () => {}));
    serve(server, (port) => {
      const client = net.connect(port, '127.0.0.1', () => {
        setImmediate(() => {
          const store = new AsyncLocalStorage<string>();
          store.run('here', () => client.destroy());
          client.on('close', () => {
            log(`close ${store.getStore()}`);
            process.nextTick(() => log('tick'));
            setImmediate(() => log('immediate'));
          });
          setTimeout(() => log('timer'), 1);
          const due = Date.now() + 5;
          while (Date.now() < due);
        });
      });
      client.on('close', () => server.close());
    });
  },

  'dgram: order, errors and shapes': (log) => {
    const server = dgram.createSocket('udp4');
    server.bind(0, '127.0.0.1', () => {
      const { port } = server.address();
      const client = dgram.createSocket('udp4');
      server.on('message', (message, from) => {
        const { port: _port, ...rest } = from;
        log(`message ${message} ${JSON.stringify(rest)} ${Object.keys(from)} ${message.constructor.name}`);
        if (String(message) === 'last') {
          server.close();
          client.close();
        }
      });
      client.on('close', () => log('close'));
      client.send('first', port, '127.0.0.1', (error, bytes) => log(`sent ${error} ${bytes}`));
      client.send(Buffer.from('xsecondx'), 1, 6, port, '127.0.0.1', () => log('sent second'));
      client.send(Buffer.alloc(70_000), port, '127.0.0.1', (error) => {
        log(`too long ${(error as NodeJS.ErrnoException | null)?.code}`);
        client.send('last', port);
      });
    });
  },
};

main(scenarios);
