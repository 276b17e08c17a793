/** The many forms in which net, tls and dgram take what they are asked for, and the layers that people put on sockets. */
import * as dgram from 'node:dgram';
import * as fs from 'node:fs';
import * as http from 'node:http';
import * as http2 from 'node:http2';
import * as https from 'node:https';
import * as net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Duplex, pipeline, Readable, Transform } from 'node:stream';
import { text } from 'node:stream/consumers';
import * as tls from 'node:tls';
import { createGzip, createGunzip } from 'node:zlib';
import { CERTIFICATE, KEY } from '../certificate';
import { fields, main, parties, type Scenario, serve } from './support';

const SERVER = { key: KEY, cert: CERTIFICATE };
const CLIENT = { host: '127.0.0.1', ca: CERTIFICATE, servername: 'example.test' };

function attempt(action: () => unknown): string {
  try {
    const result = action();
    return result instanceof Promise ? 'a promise' : String(result);
  } catch (error) {
    return fields(error);
  }
}

const portOf = (server: net.Server): number => (server.address() as net.AddressInfo).port;

export const scenarios: Record<string, Scenario> = {
  'every form of listen': (log) => {
    const path = join(tmpdir(), `forms-${process.pid}.sock`);
    const donor = net.createServer();
    const tries: [string, (server: net.Server) => unknown][] = [
      ['nothing', (server) => server.listen()],
      ['a callback', (server) => server.listen(() => log('callback'))],
      ['a port', (server) => server.listen(0)],
      ['a text', (server) => server.listen('0' as unknown as number)],
      ['port, host, backlog', (server) => server.listen(0, '127.0.0.1', 5, () => log('callback'))],
      ['options', (server) => server.listen({ port: 0, host: '127.0.0.1', backlog: 3, exclusive: true })],
      ['ipv6Only', (server) => server.listen({ port: 0, host: '::', ipv6Only: true })],
      ['reusePort', (server) => server.listen({ port: 0, host: '127.0.0.1', reusePort: true } as net.ListenOptions)],
      ['a path', (server) => server.listen({ path })],
      ['a descriptor', (server) => server.listen({ fd: (donor as unknown as { _handle: { fd: number } })._handle.fd })],
      ['a server', (server) => server.listen(donor)],
      ['a handle', (server) => server.listen((donor as unknown as { _handle: object })._handle)],
      ['nonsense', (server) => server.listen({} as net.ListenOptions)],
      ['a port too high', (server) => server.listen(65_536)],
      ['a wrong host', (server) => server.listen(0, 'none.invalid')],
      ['a wrong descriptor', (server) => server.listen({ fd: 9999 })],
    ];
    donor.listen(0, '127.0.0.1', () => {
      const next = () => {
        const [name, listen] = tries.shift() ?? [];
        if (listen === undefined) {
          donor.close(() => log('closed'));
          return;
        }
        const server = net.createServer((socket) => socket.end('x'));
        const result = attempt(() => listen(server) === server);
        log(`${name}: ${result}`);
        if (result !== 'true') return next();
        server.on('error', (error) => {
          log(fields(error));
          next();
        });
        server.on('listening', () => {
          const address = server.address();
          const shown = typeof address === 'string' ? 'a path' : `${address?.address} ${address?.family}`;
          log(`listening ${shown} ${server.listening}`);
          log(attempt(() => server.listen(0)));
          const sharesOne = name === 'a descriptor' || name === 'a server' || name === 'a handle';
          if (sharesOne) {
            server.close(next);
            return;
          }
          const to = typeof address === 'string' ? { path: address } : { port: portOf(server), host: 'localhost' };
          const wide = typeof address !== 'string' && address?.address === '::';
          const client = net.connect(wide ? { port: portOf(server), host: '::1' } : to);
          client.on('data', (data) => log(`data ${data}`));
          client.on('close', () => server.close(next));
        });
      };
      next();
    });
  },

  'every form of connect': (log) => {
    const server = net.createServer((socket) => socket.end('x'));
    server.listen(0, () => {
      const port = portOf(server);
      type Lookup = net.LookupFunction;
      const lookup =
        (error: Error | null, address: unknown, family: number): Lookup =>
        (_name, _options, done) =>
          process.nextTick(done as (...args: unknown[]) => void, error, address, family);
      const tries: [string, () => net.Socket][] = [
        ['port', () => net.connect(port)],
        ['a text', () => net.connect(String(port) as unknown as number)],
        ['port and host', () => net.createConnection(port, '127.0.0.1')],
        ['options', () => net.connect({ port, host: 'localhost', family: 4 })],
        ['noDelay, keepAlive, timeout', () => net.connect({ port, noDelay: true, keepAlive: true, timeout: 5000 })],
        ['a socket of one’s own', () => new net.Socket().connect(port, '127.0.0.1', () => log('callback'))],
        ['a class of one’s own', () => new (class Own extends net.Socket {})().connect({ port, host: '127.0.0.1' })],
        ['allowHalfOpen', () => net.connect({ port, host: '127.0.0.1', allowHalfOpen: true })],
        ['a lookup', () => net.connect({ port, host: 'a.test', family: 4, lookup: lookup(null, '127.0.0.1', 4) })],
        [
          'a lookup that fails',
          () => net.connect({ port, host: 'a.test', family: 4, lookup: lookup(new Error('no'), '', 4) }),
        ],
        ['a lookup of nonsense', () => net.connect({ port, host: 'a.test', family: 4, lookup: lookup(null, 'x', 4) })],
        [
          'a lookup without family',
          () => net.connect({ port, host: 'a.test', family: 4, lookup: lookup(null, '127.0.0.1', 0) }),
        ],
        ['nothing', () => net.connect({} as net.NetConnectOpts)],
        ['a port too high', () => net.connect(65_536)],
        ['a port that is none', () => net.connect({ port: 'x' as unknown as number })],
        ['a localAddress that is none', () => net.connect({ port, localAddress: 'x' })],
        ['a localPort that is none', () => net.connect({ port, localPort: -1 })],
        ['hints that are none', () => net.connect({ port, host: 'localhost', hints: -1 })],
        ['onread that is none', () => net.connect({ port, onread: { buffer: 1, callback: 2 } } as never)],
        ['an empty host', () => net.connect({ port, host: '' })],
      ];
      const next = () => {
        const [name, connect] = tries.shift() ?? [];
        if (connect === undefined) {
          server.close(() => log('closed'));
          return;
        }
        let client: net.Socket;
        try {
          client = connect();
        } catch (error) {
          log(`${name}: ${fields(error)}`);
          return next();
        }
        log(`${name}: ${client.connecting} ${client.allowHalfOpen} ${client.timeout}`);
        client.on('lookup', (error, address, family) => log(`lookup ${fields(error)} ${address} ${family}`));
        client.on('connect', () => log(`connect ${client.remoteAddress} ${client.remoteFamily}`));
        client.on('data', (data) => log(`data ${data}`));
        client.on('end', () => client.end());
        client.on('error', (error) => log(fields(error)));
        client.on('close', (hadError) => {
          log(`close ${hadError}`);
          next();
        });
      };
      next();
    });
  },

  'onread: a factory, over TLS too': (log) => {
    const content = Buffer.alloc(300_000, 'abcdefghij');
    const server = net.createServer((socket) => socket.end(content));
    const secure = tls.createServer(SERVER, (socket) => socket.end(content));
    serve(server, (port) => {
      serve(secure, (securePort) => {
        const onread = (name: string) => {
          let buffers = 0;
          let text = '';
          return {
            buffer: () => {
              buffers++;
              return Buffer.alloc(1000);
            },
            callback: (bytes: number, buffer: Uint8Array) => {
              text += Buffer.from(buffer.buffer, buffer.byteOffset, bytes);
              if (text.length === content.length) log(`${name} ${text === String(content)} ${buffers > 1}`);
              return true;
            },
          };
        };
        const client = net.connect({ port, host: '127.0.0.1', onread: onread('net') } as net.NetConnectOpts);
        client.on('end', () => log(`end ${client.bytesRead}`));
        client.on('close', () => {
          const over = tls.connect({ port: securePort, ...CLIENT, onread: onread('tls') } as tls.ConnectionOptions);
          over.on('end', () => log('end'));
          over.on('close', () => {
            server.close();
            secure.close();
          });
        });
      });
    });
  },

  'resetAndDestroy on what is not TCP, or not any more': (log) => {
    const path = join(tmpdir(), `reset-${process.pid}.sock`);
    const server = net.createServer((socket) => socket.on('error', (error) => log(fields(error))).resume());
    const fresh = new net.Socket().on('error', (error) => log(`fresh ${fields(error)}`));
    log(attempt(() => fresh.resetAndDestroy() === fresh));
    server.listen(path, () => {
      const client = net.connect(path, () => {
        log(attempt(() => client.resetAndDestroy()));
        client.destroy();
      });
      client.on('error', (error) => log(fields(error)));
      client.once('close', () => {
        log(attempt(() => client.resetAndDestroy() === client));
        server.close(() => {
          server.listen(0, '127.0.0.1', () => {
            const second = net.connect(portOf(server), '127.0.0.1', () => second.destroy());
            second.on('error', (error) => log(`second ${fields(error)}`));
            second.once('close', () => {
              log(attempt(() => second.resetAndDestroy() === second));
              setImmediate(() => server.close(() => log('closed')));
            });
          });
        });
      });
    });
  },

  'a reset below tls, https and http2': (log) => {
    const party = parties(log);
    const secure = tls.createServer(SERVER, (socket) => {
      const say = party('tls server');
      socket.on('error', (error) => say(fields(error)));
      socket.on('close', (hadError) => say(`close ${hadError}`));
      socket.on('data', (data) => say(`data ${data}`));
    });
    const web = https.createServer(SERVER, (request, response) => {
      const say = party('https server');
      request.on('error', (error) => say(`request ${fields(error)}`));
      request.on('close', () => say('request close'));
      response.on('close', () => say(`response close ${response.writableFinished}`));
      response.write('part');
    });
    const two = http2.createServer();
    two.on('session', (session) => session.on('close', () => party('http2 server')('session close')));
    two.on('sessionError', (error) => party('http2 server')(`session ${fields(error)}`));
    two.on('stream', (stream) => {
      stream.on('error', (error) => party('http2 server')(`stream ${fields(error)}`));
      stream.on('close', () => party('http2 server')(`stream close ${stream.rstCode}`));
      stream.respond();
      stream.write('part');
    });
    serve(secure, (port) => {
      const say = party('tls client');
      const below = net.connect(port, '127.0.0.1');
      const client = tls.connect({ socket: below, ...CLIENT }, () => client.write('x', () => setTimeout(reset, 30)));
      const reset = () => {
        // It is no TCP socket to Node.
        say(attempt(() => client.resetAndDestroy() === client));
        say(attempt(() => below.resetAndDestroy() === below));
      };
      client.on('error', (error) => say(fields(error)));
      client.on('close', (hadError) => {
        say(`close ${hadError}`);
        serve(web, second);
      });
    });
    const second = (port: number) => {
      const socket = net.connect(port, '127.0.0.1');
      const request = https.get({
        createConnection: () => tls.connect({ socket, ...CLIENT }),
        headers: { connection: 'close' },
      } as https.RequestOptions);
      const say = party('https client');
      request.on('response', (response) => {
        response.on('data', () => socket.resetAndDestroy());
        response.on('error', (error) => say(`response ${fields(error)}`));
        response.on('close', () => {
          say('close');
          setTimeout(() => serve(two, third), 50);
        });
      });
      request.on('error', (error) => say(fields(error)));
    };
    const third = (port: number) => {
      const socket = net.connect(port, '127.0.0.1');
      const session = http2.connect('http://127.0.0.1', { createConnection: () => socket });
      const stream = session.request();
      const say = party('http2 client');
      stream.on('data', () => socket.resetAndDestroy());
      stream.on('error', (error) => say(fields(error)));
      session.on('error', (error) => say(`session ${fields(error)}`));
      session.on('close', () => {
        say('session close');
        setTimeout(() => {
          for (const server of [secure, web, two]) server.close();
        }, 50);
      });
    };
  },

  'tls: keys, names, protocols, TLS in TLS and STARTTLS': (log) => {
    const party = parties(log);
    const inner = tls.createServer(
      {
        ...SERVER,
        SNICallback: (name, done) => {
          party('server')(`SNI ${name}`);
          done(null, tls.createSecureContext(SERVER));
        },
        ALPNCallback: ({ servername, protocols }: { servername: string; protocols: string[] }) => {
          party('server')(`ALPN ${servername} ${protocols}`);
          return protocols.at(-1);
        },
      } as tls.TlsOptions,
      (socket) => {
        party('server')(`secure ${(socket as { servername?: unknown }).servername} ${socket.alpnProtocol}`);
        socket.pipe(socket);
      },
    );
    inner.on('keylog', (line) => party('server')(`keylog ${String(line).split(' ')[0]}`));
    // A proxy that speaks TLS itself, as to a company's gateway; and a server that begins in plain text.
    const proxy = tls.createServer(SERVER, (socket) => {
      const through = net.connect(portOf(inner), '127.0.0.1');
      socket.pipe(through).pipe(socket);
      for (const end of [socket, through]) end.on('error', () => {});
    });
    const starting = net.createServer((socket) => {
      socket.write('ready\n');
      socket.once('data', (data) => {
        party('server')(`plain ${String(data).trim()}`);
        const through = new tls.TLSSocket(socket, { ...SERVER, isServer: true } as tls.TLSSocketOptions);
        through.on('data', (words) => through.end(words));
        socket.write('go\n');
      });
    });
    const talk = (name: string, client: tls.TLSSocket, then: () => void) => {
      client.on('keylog', (line) => party(name)(`keylog ${String(line).split(' ')[0]}`));
      client.on('secureConnect', () => {
        party(name)(`${client.authorized} ${client.alpnProtocol} ${client.getProtocol()}`);
        client.write(name);
      });
      client.on('data', (data) => {
        party(name)(`data ${data}`);
        client.end();
      });
      client.on('error', (error) => party(name)(fields(error)));
      client.on('close', (hadError) => {
        party(name)(`close ${hadError}`);
        then();
      });
    };
    const options = { ...CLIENT, ALPNProtocols: ['first', 'second'] };
    serve(inner, (port) => {
      serve(proxy, (proxyPort) => {
        serve(starting, (startingPort) => {
          talk('direct', tls.connect({ port, ...options }), () => {
            const outer = tls.connect({ port: proxyPort, ...CLIENT });
            talk('at once', tls.connect({ socket: outer, ...options }), () => {
              const up = tls.connect({ port: proxyPort, ...CLIENT }, () => {
                talk('when it is up', tls.connect({ socket: up, ...options }), () => {
                  const socket = net.connect(startingPort, '127.0.0.1');
                  socket.once('data', (data) => {
                    party('starting')(`plain ${String(data).trim()}`);
                    socket.write('start\n');
                    socket.once('data', (answer) => {
                      party('starting')(`plain ${String(answer).trim()}`);
                      talk('starting', tls.connect({ socket, ...CLIENT }), () => {
                        for (const server of [inner, proxy, starting]) server.close();
                      });
                    });
                  });
                });
              });
            });
          });
        });
      });
    });
  },

  'upgrades, and a proxy’s CONNECT': (log) => {
    const party = parties(log);
    const server = http.createServer((_request, response) => response.end('no'));
    server.on('upgrade', (request, socket, head) => {
      party('server')(`upgrade ${request.headers.upgrade} ${head}`);
      socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: own\r\n\r\nfirst');
      socket.on('data', (data: Buffer) => socket.write(data));
      socket.on('end', () => {
        party('server')('end');
        socket.end();
      });
      socket.on('close', () => party('server')('close'));
    });
    server.on('connect', (request, socket, head) => {
      party('server')(`CONNECT ${request.url?.replace(/\d+$/, 'N')} ${head.length}`);
      const [host, port] = String(request.url).split(':');
      const through = net.connect(Number(port), host, () => {
        socket.write('HTTP/1.1 200 OK\r\n\r\n');
        socket.pipe(through).pipe(socket);
      });
      for (const end of [socket, through]) end.on('error', () => {});
    });
    serve(server, (port) => {
      const request = http.get({ port, host: '127.0.0.1', headers: { Connection: 'Upgrade', Upgrade: 'own' } });
      request.on('upgrade', (_response, socket, head) => {
        const say = party('upgrade');
        let all = String(head);
        socket.on('data', (data: Buffer) => {
          all += data;
          if (all === 'firstping') {
            say(all);
            socket.end();
          }
        });
        socket.on('close', () => {
          say('close');
          through(port);
        });
        socket.write('ping');
      });
    });
    const through = (port: number) => {
      const say = party('connect');
      const request = http.request({ port, host: '127.0.0.1', method: 'CONNECT', path: `127.0.0.1:${port}` });
      request.on('connect', (response, socket, head) => {
        say(`${response.statusCode} ${head.length}`);
        const inside = http.get({ host: 'x', path: '/', createConnection: () => socket as net.Socket });
        inside.on('response', async (answer) => {
          say(await text(answer));
          socket.destroy();
          server.close();
        });
      });
      request.end();
    };
  },

  'files up and down by pipeline, compressed': (log) => {
    const source = join(tmpdir(), `forms-${process.pid}.bin`);
    const content = Buffer.alloc(3_000_000, 'The quick brown fox. ');
    fs.writeFileSync(source, content);
    const sum = () => {
      let total = 0;
      return new Transform({
        transform(chunk: Buffer, _encoding, done) {
          total += chunk.length;
          done(null, chunk);
        },
        flush(done) {
          log(`passed ${total}`);
          done();
        },
      });
    };
    const server = http.createServer((request, response) => {
      if (request.method === 'PUT') {
        pipeline(request, createGunzip(), fs.createWriteStream(`${source}.up`), (error) => {
          log(`stored ${fields(error)} ${fs.readFileSync(`${source}.up`).equals(content)}`);
          response.end('stored');
        });
      } else pipeline(fs.createReadStream(source), sum(), response, (error) => log(`sent ${fields(error)}`));
    });
    serve(server, (port) => {
      const to = { port, host: '127.0.0.1', agent: false };
      const put = http.request({ ...to, method: 'PUT' }, async (response) => {
        log(await text(response));
        http.get(to, (answer) => {
          pipeline(answer, fs.createWriteStream(`${source}.down`), (error) => {
            log(`fetched ${fields(error)} ${fs.readFileSync(`${source}.down`).equals(content)}`);
            // A client that goes in the middle.
            http.get(to, (cut) => {
              cut.once('data', () => cut.destroy());
              cut.on('close', () => {
                setTimeout(() => {
                  for (const name of [source, `${source}.up`, `${source}.down`]) fs.rmSync(name);
                  server.close(() => log('closed'));
                }, 50);
              });
            });
          });
        });
      });
      pipeline(fs.createReadStream(source), createGzip({ level: 1 }), put, () => {});
    });
  },

  'server-sent events, and long polling': (log) => {
    const party = parties(log);
    const waiting: http.ServerResponse[] = [];
    const server = http.createServer((request, response) => {
      if (request.url === '/events') {
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        response.flushHeaders();
        let n = 0;
        const timer = setInterval(() => response.write(`data: ${++n}\n\n`), 15);
        request.on('close', () => {
          clearInterval(timer);
          party('events')('the server knows');
          poll();
        });
      } else if (request.url === '/wait') waiting.push(response);
      else {
        for (const each of waiting.splice(0)) each.end('news');
        response.end('told');
      }
    });
    let poll = () => {};
    serve(server, (port) => {
      const to = { port, host: '127.0.0.1', agent: false };
      http.get({ ...to, path: '/events' }, (response) => {
        let all = '';
        response.setEncoding('utf8');
        response.on('data', (data) => {
          all += data;
          if (!all.includes('data: 4\n\n')) return;
          party('events')(`${all.startsWith('data: 1\n\ndata: 2\n\n')} ${response.headers['transfer-encoding']}`);
          response.destroy();
        });
        response.on('close', () => party('events')(`close ${response.complete}`));
      });
      poll = () => {
        poll = () => {};
        for (const name of ['a', 'b']) {
          http.get({ ...to, path: '/wait' }, async (response) => {
            party(name)(await text(response));
            if (name === 'b') server.close(() => party('end')('closed'));
          });
        }
        setTimeout(() => http.get({ ...to, path: '/tell' }, async (r) => party('teller')(await text(r))), 40);
      };
    });
  },

  'web streams, iterators and what else becomes of a socket': (log) => {
    const party = parties(log);
    const server = net.createServer((socket) => {
      socket.on('error', () => {});
      socket.pipe(socket);
    });
    serve(server, async (port) => {
      const client = net.connect(port, '127.0.0.1');
      client.setEncoding('utf8');
      Readable.from(['one ', 'two ', 'three']).pipe(client);
      let all = '';
      for await (const part of client) all += part;
      party('client')(`${all} ${client.destroyed}`);
      const second = net.connect(port, '127.0.0.1');
      const { readable, writable } = Duplex.toWeb(second);
      const writer = writable.getWriter();
      await writer.write(Buffer.from('web'));
      const reader = readable.getReader();
      party('second')(String(Buffer.from((await reader.read()).value as Uint8Array)));
      await writer.close();
      party('second')(`${(await reader.read()).done}`);
      const third = net.connect(port, '127.0.0.1');
      third.write('destroySoon');
      third.destroySoon();
      third.on('data', () => party('third')('data'));
      third.on('close', (hadError) => {
        party('third')(`close ${hadError} ${third.bytesWritten}`);
        server.close(() => party('server')('closed'));
      });
    });
  },

  'disposed of by await using': (log) => {
    type Disposable = { [key: symbol]: undefined | (() => Promise<void>) };
    const symbol = (Symbol as unknown as { asyncDispose?: symbol }).asyncDispose ?? Symbol('none');
    const server = net.createServer((socket) => socket.resume());
    server.on('close', () => log('server close'));
    serve(server, async () => {
      await (server as unknown as Disposable)[symbol]?.();
      log(`${server.listening}`);
      if (server.listening) server.close();
      const socket = dgram.createSocket('udp4');
      socket.on('close', () => log('socket close'));
      socket.bind(0, '127.0.0.1', async () => {
        const dispose = (socket as unknown as Disposable)[symbol]?.bind(socket);
        if (dispose === undefined) socket.close();
        else await dispose();
        log(attempt(() => socket.address()));
      });
    });
  },

  'dgram: lookup, block lists, descriptors, binding at once': (log) => {
    const blocked = new net.BlockList();
    blocked.addAddress('127.0.0.2');
    const receiver = dgram.createSocket({ type: 'udp4', receiveBlockList: blocked } as dgram.SocketOptions);
    const sender = dgram.createSocket({
      type: 'udp4',
      sendBlockList: blocked,
      lookup: (name: string, _options: unknown, done: (...args: unknown[]) => void) => {
        log(`lookup ${name}`);
        if (name === 'none.test') process.nextTick(done, new Error('no such name'));
        else process.nextTick(done, null, '127.0.0.1', 4);
      },
    } as unknown as dgram.SocketOptions);
    const other = dgram.createSocket('udp4');
    receiver.on('message', (message) => {
      log(`message ${message}`);
      if (String(message) === 'last') for (const socket of [receiver, sender, other]) socket.close();
    });
    other.bind(0, '127.0.0.2');
    receiver.bind(0, '127.0.0.1', () => {
      const { port } = receiver.address();
      sender.send('by name', port, 'a.test', (error, bytes) => {
        log(`sent ${fields(error)} ${bytes}`);
        sender.send('x', port, 'none.test', (problem) => {
          log(`no name ${fields(problem)}`);
          sender.send('blocked', port, '127.0.0.2', (refused) => {
            log(`blocked ${fields(refused)}`);
            other.send('from a blocked one', port, '127.0.0.1', () => {
              log(
                attempt(() => dgram.createSocket('udp4').bind({ fd: 9999 } as unknown as dgram.BindOptions) !== null),
              );
              const early = dgram.createSocket('udp4') as dgram.Socket & {
                bindSync?: (options: object) => unknown;
                connectSync?: (port: number, host: string) => unknown;
              };
              early.on('error', (error) => log(fields(error)));
              log(attempt(() => early.bindSync?.({ port: 0, address: '127.0.0.1' }) === undefined));
              log(attempt(() => early.connectSync?.(port, '127.0.0.1') === undefined));
              if (early.connectSync !== undefined) early.send('at once', () => early.close());
              else early.close();
              setTimeout(() => sender.send('last', port, '127.0.0.1'), 30);
            });
          });
        });
      });
    });
  },

  'dgram: closing at every stage': (log) => {
    const party = parties(log);
    const stages: [string, (socket: dgram.Socket) => void][] = [
      ['at once', (socket) => socket.close()],
      ['binding', (socket) => socket.bind(0).close()],
      [
        'looking a name up',
        (socket) => {
          socket.send('x', 9, 'localhost', (error) => party('looking a name up')(`sent ${fields(error)}`));
          socket.close();
        },
      ],
      [
        'connecting',
        (socket) => {
          socket.connect(9, '127.0.0.1');
          socket.close();
        },
      ],
      ['sent', (socket) => socket.send('x', 9, '127.0.0.1', () => socket.close())],
      [
        'received',
        (socket) =>
          socket.bind(0, '127.0.0.1', () => {
            for (let i = 0; i < 5; i++) socket.send(String(i), socket.address().port, '127.0.0.1');
          }),
      ],
    ];
    for (const [name, stage] of stages) {
      const socket = dgram.createSocket('udp4');
      const say = party(name);
      socket.on('error', (error) => say(fields(error)));
      socket.on('listening', () => say('listening'));
      socket.on('connect', () => say('connect'));
      socket.on('message', (message) => {
        say(`message ${message}`);
        socket.close();
      });
      socket.on('close', () => {
        say('close');
        say(attempt(() => socket.close()));
      });
      say(attempt(() => stage(socket)));
    }
  },

  'what arguments net refuses': (log) => {
    const server = net.createServer((socket) => socket.resume());
    serve(server, (port) => {
      const client = net.connect(port, '127.0.0.1', () => {
        const wrong: [string, () => unknown][] = [
          ['write(null)', () => client.write(null as unknown as string)],
          ['write(1)', () => client.write(1 as unknown as string)],
          ['write of a wrong encoding', () => client.write('x', 'none' as BufferEncoding)],
          ['setTimeout', () => client.setTimeout('x' as unknown as number)],
          ['setTimeout with no function', () => client.setTimeout(1, 'x' as never)],
          ['setEncoding', () => client.setEncoding('none' as BufferEncoding)],
          ['setKeepAlive', () => client.setKeepAlive('x' as never, 'y' as never) === client],
          ['setNoDelay', () => client.setNoDelay('x' as never) === client],
          ['address', () => Object.keys(client.address())],
        ];
        for (const [name, action] of wrong) {
          client.once('error', (error) => log(`${name} told ${fields(error)}`));
          log(`${name}: ${attempt(action)}`);
        }
        setTimeout(() => {
          client.destroy();
          server.close(() => log('closed'));
        }, 30);
      });
    });
  },
};

main(scenarios);
