/**
 * What users of other packages that put something under net, http or tls have complained of: bytes that were not theirs,
 * listeners that stayed behind, sockets of the file system taken for TCP, patches of others that no longer saw anything.
 */
import * as dgram from 'node:dgram';
import * as http from 'node:http';
import * as net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Duplex, PassThrough } from 'node:stream';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { main, type Scenario, serve } from './support';

/** Counts of listeners by event, without those of `once` that have run. */
function listeners(emitter: NodeJS.EventEmitter): string {
  const counts = emitter.eventNames().map((name) => `${String(name)}:${emitter.listenerCount(name)}`);
  return counts.sort().join(' ');
}

function shape(data: Buffer): string {
  return `${data.constructor.name} ${data.length} of ${data.buffer.byteLength} at ${data.byteOffset}`;
}

/** Cheap and certain: a collection of the whole heap. */
function collect(): void {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
}

export const scenarios: Record<string, Scenario> = {
  'what was received is the program’s own': (log) => {
    const kept: { data: Buffer; first: number }[] = [];
    const sizes = [1, 64, 65, 1000, 10_000];
    let turn = 0;
    const server = net.createServer((socket) => {
      const answer = () => socket.write(Buffer.alloc(sizes[turn % sizes.length] as number, turn + 1));
      socket.on('data', answer);
      socket.on('error', (error) => log(`server ${error.message}`));
    });
    serve(server, (port) => {
      const client = net.connect(port, '127.0.0.1', () => client.write('.'));
      let wanted = sizes[0] as number;
      client.on('data', (data) => {
        wanted -= data.length;
        log(`whole memory: ${data.byteOffset === 0 && data.buffer.byteLength === data.length}`);
        // Every third goes to somebody else; the others must neither vanish with it nor change.
        if (turn % 3 === 0) {
          const moved = structuredClone(data.buffer, { transfer: [data.buffer as ArrayBuffer] });
          log(`moved ${moved.byteLength > 0}, left ${data.length}`);
        } else kept.push({ data, first: turn + 1 });
        if (wanted > 0) return;
        wanted = sizes[++turn % sizes.length] as number;
        if (turn % 7 === 0) collect();
        if (turn < 40) client.write('.');
        else client.end();
      });
      client.on('close', () => {
        log(`kept whole: ${kept.every(({ data, first }) => data.length > 0 && data.every((byte) => byte === first))}`);
        server.close();
      });
    });
  },

  'what a paused socket has kept, too': (log) => {
    const server = net.createServer((socket) => {
      socket.pause();
      setTimeout(() => {
        socket.on('data', (data) => log(shape(data)));
        socket.on('end', () => server.close(() => log('closed')));
        socket.resume();
      }, 60);
    });
    serve(server, (port) => net.connect(port, '127.0.0.1').resume().end(Buffer.alloc(3000)));
  },

  'datagrams, too': (log) => {
    const kept: Buffer[] = [];
    const sizes = [0, 1, 64, 65, 1400, 20_000];
    const receiver = dgram.createSocket('udp4');
    receiver.bind(0, '127.0.0.1', () => {
      const { port } = receiver.address();
      const sender = dgram.createSocket('udp4');
      const send = () => sender.send(Buffer.alloc(sizes[kept.length % sizes.length] as number, kept.length), port);
      receiver.on('message', (message) => {
        log(shape(message));
        kept.push(message);
        if (kept.length % 4 === 0) {
          const { buffer } = message;
          structuredClone(buffer, { transfer: [buffer as ArrayBuffer] });
        }
        if (kept.length < 24) return send();
        log(
          `${kept.every((data, i) => data.length === 0 || data.every((byte) => byte === i))} ${kept.map((data) => data.length)}`,
        );
        receiver.close();
        sender.close();
      });
      send();
    });
  },

  'listeners on a socket at every stage': (log) => {
    const server = net.createServer((socket) => {
      log(`accepted ${listeners(socket)}`);
      socket.on('data', () => {
        log(`data ${listeners(socket)}`);
        socket.end('bye');
      });
      socket.on('close', () => log(`server close ${listeners(socket)}`));
    });
    serve(server, (port) => {
      const client = net.connect(port, 'localhost');
      log(`connecting ${listeners(client)}`);
      client.once('connect', () => {
        log(`connect ${listeners(client)}`);
        client.write('x');
      });
      client.on('end', () => log(`end ${listeners(client)}`));
      client.on('close', () => {
        setImmediate(() => log(`close ${listeners(client)}`));
        server.close();
      });
      client.resume();
    });
    log(`server ${listeners(server)}`);
  },

  'nothing piles up on a kept socket': (log) => {
    const warnings: string[] = [];
    process.on('warning', ({ name }) => warnings.push(name));
    const server = http.createServer((_request, response) => response.end('x'));
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    const seen = new Set<string>();
    serve(server, (port) => {
      let left = 40;
      const next = () => {
        const request = http.get({ port, host: '127.0.0.1', agent }, (response) => {
          response.resume();
          response.on('end', () => {
            if (left === 39) seen.clear();
            seen.add(listeners(request.socket as net.Socket));
            if (--left > 0) return setImmediate(next);
            log(`${seen.size} ${[...seen]}`);
            log(`warnings: ${warnings}`);
            agent.destroy();
            return server.close();
          });
        });
      };
      next();
    });
  },

  'sockets of the file system are not TCP': (log) => {
    const path = join(tmpdir(), `same-${process.pid}.sock`);
    const server = http.createServer((request, response) => {
      log(`${request.url} ${request.socket.remoteAddress} ${JSON.stringify(request.socket.address())}`);
      response.end('over a path');
    });
    server.listen(path, () => {
      log(`${server.address() === path}`);
      http.get({ socketPath: path, path: '/', agent: false }, (response) => {
        response.on('data', (data) => log(`${data}`));
        response.on('end', () => server.close(() => log('closed')));
      });
      const client = net.connect(path, () => {
        log(`${client.remoteAddress} ${client.localPort} ${client.readyState}`);
        client.destroy();
      });
    });
    const missing = net.connect(`${path}.none`);
    missing.on('error', (error: NodeJS.ErrnoException) => log(`${error.code} ${error.syscall}`));
  },

  'an agent of one’s own': (log) => {
    class Own extends http.Agent {
      made = 0;
      override createConnection(options: http.ClientRequestArgs, done?: (error: Error | null, stream: Duplex) => void) {
        log(`createConnection ${++this.made} ${options.host}`);
        if (this.made === 1) return net.connect(Number(options.port), '127.0.0.1');
        if (this.made === 3) {
          const answer = new PassThrough();
          answer.end('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nmine');
          return answer as unknown as net.Socket;
        }
        const socket = net.connect(Number(options.port), '127.0.0.1');
        socket.once('connect', () => done?.(null, socket));
        return undefined;
      }
    }
    const server = http.createServer((_request, response) => response.end('from the server'));
    const agent = new Own();
    serve(server, (port) => {
      const get = (left: number) =>
        http.get({ port, host: 'example.test', agent }, (response) => {
          response.on('data', (data) => log(`${data}`));
          response.on('end', () => {
            if (left > 1) get(left - 1);
            else server.close();
          });
        });
      get(3);
    });
  },

  'others have patched net, above and below its API': (log) => {
    const seen: string[] = [];
    type Method = (...args: unknown[]) => unknown;
    const wrap = (target: object, name: string, told = name) => {
      const object = target as Record<string, Method>;
      const original = object[name] as Method;
      object[name] = function (this: unknown, ...args: unknown[]) {
        if (!seen.includes(told)) seen.push(told);
        return Reflect.apply(original, this, args);
      };
    };
    wrap(net.Socket.prototype, 'connect');
    wrap(net.Socket.prototype, 'write');
    wrap(net.Server.prototype, '_listen2');
    const server = net.createServer((socket) => {
      const handle = (socket as unknown as { _handle: object })._handle;
      wrap(handle, 'onread', 'server onread');
      wrap(handle, 'close', 'server close');
      socket.pipe(socket);
    });
    serve(server, (port) => {
      wrap((server as unknown as { _handle: object })._handle, 'onconnection');
      const client = net.connect(port, '127.0.0.1', () => {
        wrap((client as unknown as { _handle: object })._handle, 'onread', 'client onread');
        client.end('x');
      });
      client.on('data', (data) => log(`${data}`));
      client.on('close', () => {
        server.close(() => log(seen.sort().join('\n')));
      });
    });
  },

  'settings are seen on the class of the handle': (log) => {
    type Handle = Record<string, (...args: unknown[]) => unknown>;
    const probe = net.createServer();
    probe.listen(0, '127.0.0.1', () => {
      const prototype = Object.getPrototypeOf((probe as unknown as { _handle: object })._handle) as Handle;
      const counts: Record<string, number> = {};
      for (const name of ['setNoDelay', 'setKeepAlive', 'ref', 'unref']) {
        const original = prototype[name] as Handle[string];
        counts[name] = 0;
        prototype[name] = function (this: unknown, ...args: unknown[]) {
          counts[name] = (counts[name] ?? 0) + 1;
          return Reflect.apply(original, this, args);
        };
      }
      probe.close();
      const server = net.createServer((socket) => socket.resume());
      serve(server, (port) => {
        const client = net.connect({ port, host: '127.0.0.1', noDelay: true, keepAlive: true }, () => {
          client.setNoDelay(false);
          client.unref();
          client.ref();
          client.end();
        });
        client.resume();
        client.on('close', () => server.close(() => log(`closed\n${JSON.stringify(counts)}`)));
      });
    });
  },

  'idle sockets are not garbage': (log) => {
    const server = net.createServer((socket) => {
      socket.on('data', (data) => socket.end(data));
    });
    serve(server, (port) => {
      let answers = 0;
      let closed = 0;
      const clients = Array.from({ length: 50 }, () => {
        const client = net.connect(port, '127.0.0.1');
        client.on('data', () => answers++);
        client.on('close', () => {
          if (++closed === 50) server.close(() => log(`${answers} answers`));
        });
        return client;
      }).map((client) => new WeakRef(client));
      const look = setInterval(() => {
        server.getConnections((_error, count) => {
          if (count < 50) return;
          clearInterval(look);
          collect();
          log('all are up');
          // What a collection lets go of is let go of in a later round.
          setTimeout(() => {
            collect();
            for (const client of clients) client.deref()?.write('x');
          }, 20);
        });
      }, 5);
    });
  },

  'bytes for one consumer do not reach another': (log) => {
    // First plain text, then http on the same connection, its first bytes in the same segment.
    const web = http.createServer((request, response) => response.end(`http ${request.url}`));
    const server = net.createServer((socket) => {
      socket.once('data', (data) => {
        const text = String(data);
        const at = text.indexOf('\n');
        log(`greeting ${text.slice(0, at)}`);
        socket.pause();
        web.emit('connection', socket);
        socket.unshift(Buffer.from(text.slice(at + 1)));
        socket.resume();
      });
    });
    serve(server, (port) => {
      const client = net.connect(port, '127.0.0.1', () =>
        client.write('hello\nGET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'),
      );
      let text = '';
      client.on('data', (data) => {
        text += data;
      });
      client.on('end', () => {
        log(text.slice(text.indexOf('\r\n\r\n') + 4).replace(/\r\n/g, ' '));
        server.close();
      });
    });
  },
};

main(scenarios);
