/** How long sockets keep a process alive, what is seen of them from outside, and what its end does to them. */
import * as dgram from 'node:dgram';
import * as http from 'node:http';
import * as http2 from 'node:http2';
import * as net from 'node:net';
import * as tls from 'node:tls';
import { CERTIFICATE, KEY } from '../certificate';
import { type Log, main, type Scenario, serve, summary } from './support';

/** Makes something, calls back when it is there, and takes it away again. */
type Case = (ready: () => void) => () => void;

/**
 * Which of the cases keep the loop alive: those for which `beforeExit` does not come. That event comes again and again
 * when something was begun in it, so that one process does for all.
 */
function keepsAlive(log: Log, cases: Readonly<Record<string, Case>>): void {
  const names = Object.keys(cases);
  const next = () => {
    const name = names.shift();
    if (name === undefined) return;
    let told = false;
    let end = () => {};
    const tell = (verdict: string) => {
      process.off('beforeExit', letGo);
      clearTimeout(timer);
      if (told) return;
      told = true;
      log(`${name}: ${verdict}`);
      end();
      // Behind the closing of what there was.
      setTimeout(next, 20);
    };
    const letGo = () => tell('lets go');
    let timer: NodeJS.Timeout | undefined;
    end = cases[name]?.(() => {
      setTimeout(() => {
        process.on('beforeExit', letGo);
        timer = setTimeout(tell, 200, 'keeps it alive').unref();
      }, 30);
    }) as () => void;
  };
  next();
}

/** A client of a TLS server that nobody waits for. */
function tlsClient(ready: () => void, referenced: boolean): () => void {
  let client: tls.TLSSocket | undefined;
  const server = tls.createServer(SERVER, (socket) => socket.on('error', () => {}).unref());
  serve(server, (port) => {
    server.unref();
    client = tls.connect({ port, ...CLIENT }, () => {
      client?.resume();
      if (!referenced) client?.unref();
      ready();
    });
  });
  return () => {
    client?.destroy();
    server.close();
  };
}

/** A pair of connected sockets; the server and its end are not referenced. */
function pair(then: (client: net.Socket, socket: net.Socket) => void, options: net.ServerOpts = {}): () => void {
  let client: net.Socket | undefined;
  let up: net.Socket | undefined;
  const server = net.createServer({ allowHalfOpen: true, ...options }, (socket) => {
    up = socket;
    socket.on('error', () => {});
    socket.unref();
    if (client?.connecting === false) then(client, socket);
  });
  serve(server, (port) => {
    client = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    client.on('error', () => {});
    client.on('connect', () => {
      server.unref();
      if (up !== undefined) then(client as net.Socket, up);
    });
  });
  return () => {
    client?.destroy();
    up?.destroy();
    server.close();
  };
}

const SERVER = { key: KEY, cert: CERTIFICATE };
const CLIENT = { host: '127.0.0.1', ca: CERTIFICATE, servername: 'example.test' };

export const scenarios: Record<string, Scenario> = {
  'what keeps a process alive: net': (log) => {
    keepsAlive(log, {
      'a client that has asked for nothing': (ready) => pair(ready),
      'a client that reads': (ready) =>
        pair((client) => {
          client.resume();
          ready();
        }),
      'a client that was paused': (ready) =>
        pair((client) => {
          client.resume();
          client.pause();
          ready();
        }),
      'one without reference': (ready) =>
        pair((client) => {
          client.resume();
          client.unref();
          ready();
        }),
      'one with a reference again': (ready) =>
        pair((client) => {
          client.unref();
          client.resume();
          client.ref();
          ready();
        }),
      'the end was read': (ready) =>
        pair((client, socket) => {
          client.resume();
          client.on('end', ready);
          socket.end();
        }),
      'it has ended, and the other end not': (ready) =>
        pair((client) => {
          client.resume();
          client.end(ready);
        }),
      'a write that waits': (ready) =>
        pair((client, socket) => {
          socket.pause();
          client.pause();
          client.write(Buffer.alloc(20_000_000));
          ready();
        }),
      'a write that waits, without reference': (ready) =>
        pair((client, socket) => {
          socket.pause();
          client.unref();
          client.write(Buffer.alloc(20_000_000));
          ready();
        }),
      'a timeout of a socket': (ready) =>
        pair((client) => {
          client.unref();
          client.setTimeout(100_000);
          ready();
        }),
      'a server': (ready) => {
        const server = net.createServer();
        serve(server, ready);
        return () => server.close();
      },
      'a server without reference, and one with it again': (ready) => {
        const [first, second] = [net.createServer().unref(), net.createServer().unref()];
        serve(first, () =>
          serve(second, () => {
            second.ref();
            second.unref();
            ready();
          }),
        );
        return () => {
          first.close();
          second.close();
        };
      },
    });
  },

  'what keeps a process alive: dgram, http, tls, http2': (log) => {
    keepsAlive(log, {
      'a bound datagram socket': (ready) => {
        const socket = dgram.createSocket('udp4').bind(0, '127.0.0.1', ready);
        return () => socket.close();
      },
      'one without reference': (ready) => {
        const socket = dgram.createSocket('udp4').bind(0, '127.0.0.1', ready).unref();
        return () => socket.close();
      },
      'one that has sent': (ready) => {
        const socket = dgram.createSocket('udp4');
        socket.send('x', 9, '127.0.0.1', ready);
        return () => socket.close();
      },
      'a kept socket of an agent': (ready) => {
        const agent = new http.Agent({ keepAlive: true });
        const server = http.createServer((request, response) => {
          request.socket.unref();
          response.end('x');
        });
        serve(server, (port) => {
          server.unref();
          http.get({ port, host: '127.0.0.1', agent }, (response) => response.resume().on('end', ready));
        });
        return () => {
          agent.destroy();
          server.close();
        };
      },
      'a tls client': (ready) => tlsClient(ready, true),
      'a tls client without reference': (ready) => tlsClient(ready, false),
      'an http2 session without reference': (ready) => {
        const server = http2.createServer();
        server.on('session', (session) => session.unref());
        let client: http2.ClientHttp2Session | undefined;
        serve(server, (port) => {
          server.unref();
          client = http2.connect(`http://127.0.0.1:${port}`);
          client.on('remoteSettings', () => {
            client?.unref();
            ready();
          });
        });
        return () => {
          client?.destroy();
          server.close();
        };
      },
    });
  },

  'what there is, as the process tells it': (log) => {
    const seen = (what: string) => {
      const info = (process as { getActiveResourcesInfo?: () => string[] }).getActiveResourcesInfo?.() ?? [];
      const resources = info.filter((kind) => /TCP|UDP|Pipe/.test(kind)).sort();
      const handles = (process as unknown as { _getActiveHandles(): object[] })._getActiveHandles();
      const kinds = handles.map((handle) => handle.constructor.name).filter((name) => /Socket|Server/.test(name));
      log(`${what}: ${resources} | ${kinds.filter((name) => name !== 'WriteStream').sort()}`);
    };
    seen('at the beginning');
    const server = net.createServer((socket) => {
      socket.resume();
      setTimeout(() => {
        seen('connected');
        client.unref();
        seen('one without reference');
        client.ref();
        client.end();
      }, 20);
    });
    let client: net.Socket;
    serve(server, (port) => {
      seen('listening');
      client = net.connect(port, '127.0.0.1');
      client.resume();
      client.on('close', () => {
        server.close(() => setTimeout(() => seen('closed'), 20));
      });
    });
  },

  'process.exit with bytes just written': (log) => {
    // The exit of the process ends both ends: what is to be seen is that it ends at once, and orderly.
    process.on('exit', (code) => log(`exit ${code}`));
    const server = net.createServer((socket) => {
      socket.on('data', () => {
        log('data');
        socket.write(Buffer.alloc(1_000_000));
        process.exit(3);
      });
    });
    serve(server, (port) => net.connect(port, '127.0.0.1').resume().write('x'));
  },

  'an exception that nobody catches': (log) => {
    process.on('exit', (code) => log(`exit ${code}`));
    process.on('uncaughtExceptionMonitor', (error, origin) => log(`${origin} ${summary(error)}`));
    // What Node prints of it has the place of the error, or of its throw, which need not be the same.
    process.on('uncaughtException', () => process.exit(7));
    const server = net.createServer((socket) => {
      socket.on('data', () => {
        log('data');
        throw new Error('nobody catches it');
      });
    });
    serve(server, (port) => net.connect(port, '127.0.0.1').write('x'));
  },

  'a graceful shutdown by a signal': (log) => {
    const server = http.createServer((request, response) => {
      if (request.url === '/long') setTimeout(() => response.end('long'), 100);
      else response.end('short');
    });
    process.on('SIGTERM', () => {
      log('SIGTERM');
      server.close((error) => log(`closed ${error}`));
      server.closeIdleConnections();
    });
    const agent = new http.Agent({ keepAlive: true });
    serve(server, (port) => {
      const get = (path: string, then: () => void) =>
        http.get({ port, host: '127.0.0.1', agent, path }, (response) => {
          response.on('data', (data) => log(`${data} ${response.headers.connection}`));
          response.on('end', then);
        });
      get('/short', () =>
        setImmediate(() => {
          get('/long', () => agent.destroy());
          setTimeout(() => process.kill(process.pid, 'SIGTERM'), 40);
        }),
      );
    });
  },
};

main(scenarios);
