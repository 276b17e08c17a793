/**
 * The same as scenarios.ts for TLS and http2, where the order in which the last bytes, the end and the closing come up
 * decides which error a program sees.
 */
import * as http2 from 'node:http2';
import * as https from 'node:https';
import * as net from 'node:net';
import * as tls from 'node:tls';
import { CERTIFICATE, KEY } from '../certificate';
import { type Log, main, parties, type Scenario, serve } from './support';

const SERVER = { key: KEY, cert: CERTIFICATE };
const CLIENT = { host: '127.0.0.1', ca: CERTIFICATE, servername: 'example.test' };

function watch(log: Log, emitter: NodeJS.EventEmitter, events: readonly string[]): void {
  for (const event of events) {
    emitter.on(event, (...args: unknown[]) => {
      const [first] = args;
      if (first instanceof Error) log(`${event} ${(first as NodeJS.ErrnoException).code}`);
      else log(`${event} ${args.filter((arg) => typeof arg === 'number' || typeof arg === 'boolean')}`);
    });
  }
}

const TLS_EVENTS = ['secureConnect', 'end', 'close', 'error'];

/** All that a TLSSocket tells of itself, as far as it is the same in every run. */
function getters(socket: tls.TLSSocket): string[] {
  const { subject, valid_to: until } = socket.getPeerCertificate() ?? {};
  const address = socket.address() as net.AddressInfo;
  return [
    `${socket.encrypted} ${socket.authorized} ${String(socket.authorizationError)} ${socket.alpnProtocol}`,
    `${socket.getProtocol()} ${JSON.stringify(socket.getCipher())} ${JSON.stringify(socket.getEphemeralKeyInfo())}`,
    `${JSON.stringify(subject)} ${until} ${JSON.stringify((socket.getCertificate() as tls.PeerCertificate).subject)}`,
    `${socket.isSessionReused()} ${socket.getFinished()?.length} ${socket.getPeerFinished()?.length}`,
    `${socket.exportKeyingMaterial(16, 'label', Buffer.alloc(4)).length} ${socket.getSharedSigalgs()?.length}`,
    `${address.address} ${address.family} ${typeof address.port} ${socket.remoteAddress} ${socket.remoteFamily}`,
    `${socket.localAddress} ${typeof socket.localPort} ${socket.readyState} ${socket.connecting} ${socket.pending}`,
    `${(socket as { servername?: unknown }).servername} ${socket.setMaxSendFragment(1024)} ${socket.timeout}`,
  ];
}

export const scenarios: Record<string, Scenario> = {
  'tls: what a socket tells of itself, and a session resumed': (log) => {
    const party = parties(log);
    const server = tls.createServer({ ...SERVER, ALPNProtocols: ['b', 'a'], ecdhCurve: 'P-256' }, (socket) => {
      for (const line of getters(socket)) party('server')(line);
      socket.end('x');
      socket.on('close', () => party('server')(`${socket.bytesRead > 100} ${socket.bytesWritten > 100}`));
    });
    serve(server, (port) => {
      let session: Buffer | undefined;
      const next = (over: 'itself' | 'a socket that connects' | 'a socket that is up') => {
        const say = party(`client over ${over}`);
        const options: tls.ConnectionOptions = { ...CLIENT, ALPNProtocols: ['a', 'c'] };
        if (session !== undefined) options.session = session;
        const start = (socket?: net.Socket) => {
          const client = tls.connect(socket === undefined ? { ...options, port } : { ...options, socket });
          client.on('session', (given) => {
            session = given;
          });
          client.on('secureConnect', () => {
            for (const line of getters(client)) say(line);
          });
          client.on('data', (data) => say(`data ${data}`));
          client.on('error', (error) => say(`error ${error.message}`));
          client.on('close', () => {
            say(`session ${session !== undefined} ${client.bytesRead > 100}`);
            if (over === 'itself') next('a socket that connects');
            else if (over === 'a socket that connects') next('a socket that is up');
            else server.close();
          });
        };
        if (over === 'itself') start();
        else if (over === 'a socket that connects') start(net.connect(port, '127.0.0.1'));
        else {
          const socket = net.connect(port, '127.0.0.1', () => start(socket));
        }
      };
      next('itself');
    });
  },

  'tls: who survives exceptions leaves behind the first of two records': (log) => {
    process.on('uncaughtException', (error) => log(`uncaught ${error.message}`));
    const party = parties(log);
    const server = tls.createServer(SERVER, (socket) => {
      watch(party('server'), socket, ['end', 'close', 'error']);
      // Both are here when the other end looks: it has read the second one, too, and so there is no reset.
      socket.on('data', () => {
        socket.write('first');
        socket.write('second');
      });
    });
    serve(server, (port) => {
      const client = tls.connect({ ...CLIENT, port }, () => client.write('go'));
      watch(party('client'), client, ['end', 'close', 'error']);
      client.on('data', (data) => {
        party('client')(`data ${data}`);
        client.destroy();
        server.close();
      });
    });
  },

  'http2: a session destroyed with a code tells the peer': (log) => {
    const party = parties(log);
    const server = http2.createServer();
    const events = ['goaway', 'error', 'close'];
    server.on('session', (session) => {
      watch(party('server session'), session, events);
      session.on('stream', (stream: http2.ServerHttp2Stream) => {
        watch(party('server stream'), stream, events);
        session.destroy(http2.constants.NGHTTP2_REFUSED_STREAM as unknown as Error);
      });
    });
    serve(server, (port) => {
      const session = http2.connect(`http://127.0.0.1:${port}`);
      watch(party('client session'), session, events);
      const stream = session.request({ ':path': '/' });
      watch(party('client stream'), stream, events);
      stream.on('close', () => server.close());
    });
  },

  'http2: bodies both ways and orderly ends': (log) => {
    const party = parties(log);
    const server = http2.createServer();
    server.on('stream', (stream) => {
      watch(party('server'), stream, ['end', 'close', 'error']); // 24 does not always say 'finish'
      stream.respond({ ':status': 200 });
      stream.pipe(stream);
    });
    serve(server, (port) => {
      const session = http2.connect(`http://127.0.0.1:${port}`);
      watch(party('session'), session, ['connect', 'close', 'error', 'goaway']);
      const stream = session.request({ ':path': '/', ':method': 'POST' });
      const note = party('client');
      watch(note, stream, ['end', 'finish', 'close', 'error']);
      let bytes = 0;
      stream.on('data', (data: Buffer) => {
        bytes += data.length;
      });
      stream.on('end', () => note(`${bytes} bytes`));
      stream.on('close', () => session.close(() => server.close()));
      stream.end(Buffer.alloc(1 << 20));
    });
  },

  'tls: the alert of a refused handshake arrives': (log) => {
    const party = parties(log);
    const server = tls.createServer({ ...SERVER, requestCert: true, rejectUnauthorized: true, ca: CERTIFICATE });
    const note = party('server');
    server.on('tlsClientError', (error: NodeJS.ErrnoException) => note(`tlsClientError ${error.code}`));
    serve(server, (port) => {
      const client = tls.connect({ port, ...CLIENT, maxVersion: 'TLSv1.2' });
      watch(party('client'), client, TLS_EVENTS);
      client.on('close', () => server.close());
    });
  },

  'tls: a server that ends at once': (log) => {
    const party = parties(log);
    const server = tls.createServer({ ...SERVER, maxVersion: 'TLSv1.2' }, (socket) => {
      watch(party('server'), socket, TLS_EVENTS);
      socket.end();
    });
    serve(server, (port) => {
      const client = tls.connect({ port, ...CLIENT });
      watch(party('client'), client, TLS_EVENTS);
      client.resume();
      client.on('secureConnect', () => server.close());
    });
  },

  'tls: the socket below is destroyed': (log) => {
    const party = parties(log);
    const secure = tls.createServer(SERVER);
    let below: net.Socket;
    let above: tls.TLSSocket;
    const noteAbove = party('server above');
    secure.on('secureConnection', (socket) => {
      above = socket;
      watch(noteAbove, socket, TLS_EVENTS);
      socket.on('data', (data) => socket.write(data));
    });
    const server = net.createServer((socket) => {
      below = socket;
      watch(party('server below'), socket, ['close', 'error']);
      secure.emit('connection', socket);
    });
    serve(server, (port) => {
      const client = tls.connect({ port, ...CLIENT });
      const note = party('client');
      watch(note, client, TLS_EVENTS);
      client.write('.');
      client.on('data', () => {
        below.destroy();
        note(`below ${below.destroyed}, above ${above.destroyed}`);
        // The callbacks of closing come behind those of setImmediate.
        setImmediate(() => noteAbove(`immediate ${above.destroyed}`));
        server.close();
      });
    });
  },

  'https: the next address when the first does not answer': (log) => {
    const party = parties(log);
    const server = https.createServer(SERVER, (_request, response) => response.end('hello'));
    serve(server, (port) => {
      const note = party('client');
      const request = https.get({
        port,
        ...CLIENT,
        host: 'example.test',
        agent: false,
        autoSelectFamily: true,
        lookup: (_name, _options, callback) => {
          (callback as unknown as (error: null, list: object[]) => void)(null, [
            { address: '127.0.0.2', family: 4 },
            { address: '127.0.0.1', family: 4 },
          ]);
        },
      } as https.RequestOptions);
      request.on('socket', (socket) => watch(note, socket, ['connect', 'secureConnect', 'error', 'close']));
      request.on('response', (response) => {
        note(`status ${response.statusCode} from ${response.socket.remoteAddress}`);
        response.resume();
        response.on('end', () => server.close());
      });
    });
  },
};

main(scenarios);
