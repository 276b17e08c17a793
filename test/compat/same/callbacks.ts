/** Whatever a program does in a callback: exceptions, stores and ids of the layers above net, and who caused what. */
import { AsyncLocalStorage, createHook } from 'node:async_hooks';
import * as dgram from 'node:dgram';
import * as http from 'node:http';
import * as http2 from 'node:http2';
import * as https from 'node:https';
import * as net from 'node:net';
import * as tls from 'node:tls';
import { CERTIFICATE, KEY } from '../certificate';
import { main, parties, type Scenario, serve } from './support';

const SERVER = { key: KEY, cert: CERTIFICATE };
const CLIENT = { host: '127.0.0.1', ca: CERTIFICATE, servername: 'example.test' };

/**
 * From 22 on Node's JSStream catches what is thrown while C++ takes one piece, and keeps the last: of several exceptions in
 * one piece the others are not told (docs/compatibility.md). Nothing else may be lost there either.
 */
const TELLS_EACH = Number(process.versions.node.split('.')[0]) < 22;

export const scenarios: Record<string, Scenario> = {
  'a throw in every callback of a connection': (log) => {
    const party = parties(log);
    process.on('uncaughtException', (error) => party(`uncaught ${error.message}`)('told'));
    const fail = (text: string): never => {
      throw new Error(text);
    };
    const server = net.createServer((socket) => {
      const say = party('server');
      socket.on('data', (data) => say(`data ${data.length > 10 ? 'many' : data}`));
      socket.on('data', () => socket.write('pong'));
      socket.on('end', () => say('end'));
      socket.on('error', (error) => say(error.message));
      socket.on('close', (hadError) => {
        say(`close ${hadError}`);
        fail('server close');
      });
      fail('connection');
    });
    // One after the other: which of two callbacks comes first is not what this is about.
    const stages = ['connect', 'ready', 'data', 'end', 'finish', 'close', 'written', 'ended', 'timeout'];
    serve(server, (port) => {
      const next = () => {
        const stage = stages.shift();
        if (stage === undefined) {
          server.close(() => {
            log('closed');
            fail('server closed');
          });
          return;
        }
        const say = party(`client ${stage}`);
        const client = net.connect(port, '127.0.0.1');
        let more = 3;
        const go = () => {
          if (more-- > 0) client.write('ping');
          else client.end('last', () => stage === 'ended' && fail('ended'));
        };
        client.on('close', () => setImmediate(next));
        for (const event of ['connect', 'ready', 'data', 'end', 'finish', 'close', 'timeout', 'drain'] as const) {
          client.on(event, () => {
            if (event !== 'data') say(event);
            if (event === stage) fail(`client ${event}`);
          });
        }
        client.on('data', go);
        client.once('connect', () => {
          if (stage === 'timeout') client.setTimeout(20);
          client.write('ping', () => stage === 'written' && fail('written'));
        });
        // Where the throw took the place of what would have gone on.
        client.once('timeout', () => client.setTimeout(0));
        setTimeout(() => client.end(), 120);
        setTimeout(() => client.destroy(), 240);
      };
      next();
    });
  },

  'a throw in the callbacks of http, tls and dgram': (log) => {
    const party = parties(log);
    process.on('uncaughtException', (error) => party(`uncaught ${error.message}`)('told'));
    const fail = (text: string): never => {
      throw new Error(text);
    };
    const secure = https.createServer(SERVER, (request, response) => {
      response.end(`over tls ${request.url}`);
      fail(`request ${request.url}`);
    });
    secure.on('secureConnection', () => fail('secureConnection'));
    serve(secure, (port) => {
      const agent = new https.Agent({ keepAlive: true, maxSockets: 1 });
      const get = (left: number) => {
        const request = https.get({ port, ...CLIENT, agent, path: `/${left}` }, (response) => {
          response.on('data', (data) => party('client')(`${data}`));
          response.on('end', () => {
            setImmediate(() => {
              if (left > 1) return get(left - 1);
              agent.destroy();
              secure.close(() => datagrams());
            });
            fail('response end');
          });
        });
        request.on('socket', (socket) => socket.once('secureConnect', () => fail('secureConnect')));
      };
      get(2);
    });
    const datagrams = () => {
      const receiver = dgram.createSocket('udp4');
      const sender = dgram.createSocket('udp4');
      receiver.on('message', (message) => {
        party('dgram')(`message ${message}`);
        if (String(message) === 'last') {
          receiver.close(() => fail('receiver closed'));
          sender.close();
        }
        fail('message');
      });
      receiver.bind(0, '127.0.0.1', () => {
        const { port } = receiver.address();
        sender.send('first', port, '127.0.0.1', () => {
          sender.send('last', port, '127.0.0.1', () => fail('last sent'));
          fail('first sent');
        });
        fail('listening');
      });
    };
  },

  'a throw between the frames of http2 that came together': (log) => {
    const party = parties(log);
    process.on('uncaughtException', (error) => TELLS_EACH && party(`uncaught ${error.message}`)('told'));
    const fail = (text: string): never => {
      throw new Error(text);
    };
    // Over plain TCP and over TLS: what C++ hands on of one piece, a record at most, is for several streams.
    const rounds = [
      { server: http2.createServer(), scheme: 'http' },
      { server: http2.createSecureServer(SERVER), scheme: 'https' },
    ];
    const run = () => {
      const round = rounds.shift();
      if (round === undefined) return;
      const { server, scheme } = round;
      server.on('stream', (stream, headers) => {
        const path = String(headers[':path']);
        const say = party(`${scheme} server ${path}`);
        let bytes = 0;
        stream.on('data', (data: Buffer) => {
          bytes += data.length;
          if (path === '/2') fail(`${scheme} data`);
        });
        stream.on('end', () => {
          say(`end of ${bytes}`);
          stream.end('answer');
        });
        stream.on('close', () => {
          say('close');
          if (path === '/4') fail(`${scheme} server close`);
        });
        stream.respond({ ':status': 200 });
        if (path === '/1' || path === '/3') fail(`${scheme} stream ${path}`);
      });
      serve(server, (port) => {
        const session = http2.connect(`${scheme}://127.0.0.1:${port}`, { ca: CERTIFICATE, servername: 'example.test' });
        let open = 8;
        session.on('connect', () => {
          for (let i = 0; i < 8; i++) {
            const say = party(`${scheme} client ${i}`);
            const stream = session.request({ ':method': 'POST', ':path': `/${i}` });
            stream.on('response', () => {
              say('response');
              if (i === 5) fail(`${scheme} response`);
            });
            stream.on('data', (data) => {
              say(`data ${data}`);
              if (i === 6) fail(`${scheme} client data`);
            });
            stream.on('end', () => say('end'));
            stream.on('error', (error) => say(error.message));
            stream.on('close', () => {
              say('close');
              open--;
              if (open === 0) {
                session.close();
                server.close(run);
              }
            });
            stream.write('x'.repeat(300));
            stream.end('y'.repeat(200));
          }
        });
      });
    };
    run();
  },

  'a throw between the records of tls that came together': (log) => {
    const party = parties(log);
    process.on('uncaughtException', (error) => TELLS_EACH && party(`uncaught ${error.message}`)('told'));
    const server = tls.createServer(SERVER, (socket) => {
      socket.resume();
      // Small records; many fit into one read.
      socket.setMaxSendFragment(512);
      socket.end(Buffer.alloc(60_000, 'a'));
    });
    serve(server, (port) => {
      const client = tls.connect({ port, ...CLIENT });
      let [bytes, records] = [0, 0];
      client.setTimeout(5000);
      client.on('data', (data) => {
        bytes += data.length;
        records++;
        if (records % 7 === 0) throw new Error('record');
      });
      client.on('end', () => {
        party('client')(`end of ${bytes}`);
        client.end();
      });
      client.on('close', () => {
        party('client')('close');
        server.close();
      });
    });
  },

  'a store through tls': (log) => {
    const party = parties(log);
    const store = new AsyncLocalStorage<string>();
    const say = (who: string, what: string) => party(who)(`${what}: ${store.getStore()}`);
    const server = store.run('server', () =>
      tls.createServer(
        {
          ...SERVER,
          ALPNProtocols: ['a'],
          SNICallback: (name, done) => {
            say('server', `SNI ${name}`);
            store.run('SNI', () => setImmediate(() => done(null)));
          },
        },
        (socket) => {
          say('server', 'secureConnection');
          store.run('accepted', () => {
            for (const event of ['data', 'end', 'close'] as const) socket.on(event, () => say('server', event));
          });
          socket.once('data', () => store.run('answer', () => socket.end('answer', () => say('server', 'ended'))));
        },
      ),
    );
    server.on('keylog', () => {});
    store.run('listen', () =>
      serve(server, (port) => {
        const client = store.run('client', () => tls.connect({ port, ...CLIENT, ALPNProtocols: ['a'] }));
        for (const event of ['secureConnect', 'session', 'end', 'close'] as const) {
          client.once(event, () => say('client', event));
        }
        client.on('data', () => say('client', 'data'));
        client.on('secureConnect', () =>
          store.run('hello', () => client.write('hello', () => say('client', 'written'))),
        );
        client.on('close', () => server.close(() => say('server', 'closed')));
      }),
    );
  },

  'a store through http2': (log) => {
    const party = parties(log);
    const store = new AsyncLocalStorage<string>();
    const say = (who: string, what: string) => party(who)(`${what}: ${store.getStore()}`);
    const server = store.run('server', () => http2.createServer());
    server.on('stream', (stream) => {
      say('server', 'stream');
      store.run('handler', () => {
        stream.on('end', () => say('server', 'end'));
        stream.on('close', () => say('server', 'close'));
      });
      stream.respond({ ':status': 200 });
      stream.pipe(stream);
    });
    store.run('listen', () =>
      serve(server, (port) => {
        const session = store.run('session', () => http2.connect(`http://127.0.0.1:${port}`));
        session.on('connect', () => say('session', 'connect'));
        session.on('close', () => say('session', 'close'));
        store.run('request', () => {
          const stream = session.request({ ':path': '/', ':method': 'POST' });
          stream.on('response', () => say('client', 'response'));
          stream.on('data', () => say('client', 'data'));
          stream.on('end', () => say('client', 'end'));
          stream.on('close', () => {
            say('client', 'close');
            session.close(() => server.close());
          });
          store.run('body', () => stream.end('body', () => say('client', 'ended')));
        });
      }),
    );
  },

  'who caused what': (log) => {
    const kinds = new Map<number, string>([[1, 'the program']]);
    const lines = new Set<string>();
    // Writes of JSStream have other names, and http's parsers are taken from a pool.
    const wanted = /^(?:TCPSERVERWRAP|TCPCONNECTWRAP|GETADDRINFOREQWRAP|HTTPCLIENTREQUEST|HTTPINCOMINGMESSAGE)$/;
    createHook({
      init: (id, kind, trigger) => {
        kinds.set(id, kind);
        if (wanted.test(kind)) lines.add(`${kind} by ${kinds.get(trigger)?.replace('JSSTREAM', 'TCPWRAP')}`);
      },
    }).enable();
    const server = http.createServer((_request, response) => response.end('x'));
    server.listen(0, 'localhost', () => {
      const { port } = server.address() as net.AddressInfo;
      http.get({ port, host: 'localhost', agent: false }, (response) => {
        response.resume();
        response.on('end', () => server.close());
      });
    });
    process.on('exit', () => {
      for (const line of [...lines].sort()) log(line);
      log('end');
    });
  },
};

main(scenarios);
