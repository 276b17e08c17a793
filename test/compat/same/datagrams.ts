/** What a program sees of dgram. */
import * as dgram from 'node:dgram';
import type { AddressInfo } from 'node:net';
import { fields, main, parties, type Scenario } from './support';

type Type = dgram.SocketType;

function attempt(action: () => unknown): string {
  try {
    return String(action());
  } catch (error) {
    return fields(error);
  }
}

function bound(type: Type, then: (socket: dgram.Socket, port: number) => void): void {
  const socket = dgram.createSocket(type);
  socket.bind(0, type === 'udp4' ? '127.0.0.1' : '::1', () => then(socket, (socket.address() as AddressInfo).port));
}

export const scenarios: Record<string, Scenario> = {
  'every form of send': (log) => {
    bound('udp4', (server, port) => {
      const wanted = 10;
      const seen: string[] = [];
      server.on('message', (message) => {
        seen.push(`${message.length} ${message}`);
        if (seen.length < wanted) return;
        for (const text of seen) log(text);
        server.close();
        client.close(() => log('closed'));
      });
      const client = dgram.createSocket('udp4');
      const said = (name: string) => (error: Error | null, bytes: number) => log(`${name} ${fields(error)} ${bytes}`);
      client.send('text', port, '127.0.0.1', said('text'));
      client.send(Buffer.from('buffer'), port, '127.0.0.1', said('buffer'));
      client.send(new Uint8Array([65, 66]), port, '127.0.0.1', said('array'));
      client.send(new DataView(Uint8Array.of(67, 68, 69).buffer, 1), port, '127.0.0.1', said('view'));
      client.send(['list', Buffer.from(' of '), 'parts'], port, '127.0.0.1', said('list'));
      client.send([], port, '127.0.0.1', said('empty list'));
      client.send('', port, '127.0.0.1', said('empty'));
      client.send('0123456789', 2, 5, port, '127.0.0.1', said('part'));
      client.send('no address', port, said('no address'));
      client.send('name', port, 'localhost', said('name'));
    });
  },

  'what is wrong with a send': (log) => {
    const socket = dgram.createSocket('udp4');
    log(attempt(() => socket.send('x', 0)));
    log(attempt(() => socket.send('x', 70_000)));
    log(attempt(() => socket.send(1 as unknown as string, 1)));
    log(attempt(() => socket.send('x', 5, 5, 1000)));
    log(attempt(() => socket.address()));
    log(attempt(() => socket.remoteAddress()));
    log(attempt(() => socket.disconnect()));
    socket.send(Buffer.alloc(65_508), 1000, '127.0.0.1', (error) => {
      log(fields(error));
      socket.send('x', 1000, '::1', (other) => {
        log(fields(other));
        socket.close();
        log(attempt(() => socket.send('x', 1000)));
        log(attempt(() => socket.close()));
        log(attempt(() => socket.address()));
      });
    });
  },

  'a datagram of every size': (log) => {
    bound('udp4', (server, port) => {
      const client = dgram.createSocket('udp4');
      const sizes = [0, 1, 1471, 1472, 1473, 9000, 32_768, 65_507];
      const send = () => {
        const size = sizes.shift();
        if (size === undefined) {
          server.close();
          client.close();
          return;
        }
        client.send(Buffer.alloc(size, size % 251), port, '127.0.0.1', (error, bytes) =>
          log(`sent ${fields(error)} ${bytes}`),
        );
      };
      server.on('message', (message, from) => {
        log(`${message.length} ${from.size} ${message.every((byte) => byte === message.length % 251)}`);
        send();
      });
      send();
    });
  },

  connected: (log) => {
    bound('udp4', (server, port) => {
      const client = dgram.createSocket('udp4');
      client.on('error', (error) => log(`error ${fields(error)}`));
      server.on('message', (message, from) => {
        log(`server ${message} ${from.port === client.address().port}`);
        server.send(`re ${message}`, from.port, from.address);
      });
      client.on('message', (message, from) => {
        log(`client ${message} ${from.port === port}`);
        if (String(message) !== 're two') return;
        log(attempt(() => client.send('x', port, '127.0.0.1')));
        client.disconnect();
        log(attempt(() => client.remoteAddress()));
        log(attempt(() => client.send('x')));
        client.connect(port, '127.0.0.1', () => {
          log('connected again');
          client.close();
          server.close();
        });
      });
      log(attempt(() => client.connect(0)));
      client.connect(port, '127.0.0.1', () => {
        const { address, family, port: given } = client.remoteAddress();
        log(`connect ${address} ${family} ${given === port} ${client.address().address}`);
        log(attempt(() => client.connect(port)));
        client.send('one', (error, bytes) => log(`sent ${fields(error)} ${bytes}`));
        client.send(['t', 'wo']);
      });
    });
  },

  'strangers do not reach a connected socket': (log) => {
    bound('udp4', (peer, port) => {
      const client = dgram.createSocket('udp4');
      client.on('message', (message) => {
        log(`message ${message}`);
        if (String(message) !== 'last') return;
        peer.close();
        stranger.close();
        client.close();
      });
      const stranger = dgram.createSocket('udp4');
      client.connect(port, '127.0.0.1', () => {
        const own = client.address().port;
        stranger.send('strange', own, '127.0.0.1', () => {
          peer.send('first', own, '127.0.0.1', () => peer.send('last', own, '127.0.0.1'));
        });
      });
    });
  },

  refused: (log) => {
    bound('udp4', (gone, port) => {
      gone.close(() => {
        const client = dgram.createSocket('udp4');
        const loose = dgram.createSocket('udp4');
        loose.on('error', (error) => log(`loose ${fields(error)}`));
        loose.send('x', port, '127.0.0.1', (error, bytes) => log(`loose sent ${fields(error)} ${bytes}`));
        client.on('error', (error) => {
          log(`error ${fields(error)}`);
          client.send('again', (problem) => {
            log(`second ${fields(problem)}`);
            setTimeout(() => {
              client.close();
              loose.close();
            }, 50);
          });
          client.removeAllListeners('error');
          client.on('error', () => {});
        });
        client.connect(port, '127.0.0.1', () => client.send('x', (error) => log(`first ${fields(error)}`)));
      });
    });
  },

  'sharing a port': (log) => {
    const first = dgram.createSocket({ type: 'udp4', reuseAddr: true });
    first.bind(0, '127.0.0.1', () => {
      const { port } = first.address();
      const second = dgram.createSocket('udp4');
      second.on('error', (error) => {
        log(fields(error));
        const third = dgram.createSocket({ type: 'udp4', reuseAddr: true });
        third.bind({ port, address: '127.0.0.1', exclusive: true }, () => {
          log(`both ${third.address().port === port}`);
          third.on('message', (message) => {
            log(`third ${message}`);
            first.close(() => third.close(() => log('closed')));
          });
          first.on('message', (message) => log(`first ${message}`));
          // Linux gives it to the one that bound last.
          third.send('x', port, '127.0.0.1');
        });
      });
      second.bind(port, '127.0.0.1');
    });
  },

  binding: (log) => {
    const socket = dgram.createSocket('udp4');
    socket.on('listening', () => log('listening'));
    socket.on('error', (error) => log(fields(error)));
    socket.bind({ port: 0, address: '192.0.2.9' });
    log(attempt(() => socket.bind(0)));
    socket.once('error', () => {
      const other = dgram.createSocket('udp6');
      other.bind(0, () => {
        const { address, family } = other.address();
        log(`${address} ${family}`);
        const target = other.address().port;
        const client = dgram.createSocket('udp4');
        other.on('message', (message, from) => {
          log(`${message} ${from.address} ${from.family}`);
          other.close();
          client.close();
          socket.close();
        });
        client.send('mapped', target, '127.0.0.1');
      });
    });
  },

  options: (log) => {
    const early = dgram.createSocket({ type: 'udp4', recvBufferSize: 20_000, sendBufferSize: 30_000 });
    log(attempt(() => early.getRecvBufferSize()));
    log(attempt(() => early.setTTL(10)));
    bound('udp4', (socket) => {
      for (const value of [0, 1, 255, 256]) {
        log(`ttl ${attempt(() => socket.setTTL(value))}`);
        log(`multicast ttl ${attempt(() => socket.setMulticastTTL(value))}`);
      }
      log(attempt(() => socket.setBroadcast(true)));
      log(attempt(() => socket.setMulticastLoopback(true)));
      log(attempt(() => socket.setMulticastInterface('127.0.0.1')));
      log(attempt(() => socket.setMulticastInterface('nonsense')));
      log(attempt(() => socket.addMembership('127.0.0.1')));
      log(attempt(() => socket.dropMembership('224.0.0.114')));
      for (const size of [1000, 50_000, 1_000_000_000, -1]) {
        log(attempt(() => socket.setRecvBufferSize(size)));
        log(attempt(() => socket.setSendBufferSize(size)));
        log(`${attempt(() => socket.getRecvBufferSize())} ${attempt(() => socket.getSendBufferSize())}`);
      }
      log(`${socket.getSendQueueSize()} ${socket.getSendQueueCount()}`);
      log(`${socket.ref() === socket} ${socket.unref() === socket}`);
      socket.ref();
      socket.close();
      early.bind(0, '127.0.0.1', () => {
        log(`${early.getRecvBufferSize()} ${early.getSendBufferSize()}`);
        early.close();
      });
    });
  },

  'multicast and broadcast': (log) => {
    const receiver = dgram.createSocket({ type: 'udp4', reuseAddr: true });
    receiver.bind(0, () => {
      const { port } = receiver.address();
      receiver.addMembership('224.0.0.114', '127.0.0.1');
      const sender = dgram.createSocket('udp4');
      sender.bind(0, () => {
        sender.setMulticastInterface('127.0.0.1');
        sender.setMulticastLoopback(true);
        sender.send('forbidden', port, '255.255.255.255', (error) => {
          log(fields(error));
          sender.send('to the group', port, '224.0.0.114', (problem, bytes) => log(`sent ${fields(problem)} ${bytes}`));
        });
      });
      receiver.on('message', (message) => {
        log(`message ${message}`);
        receiver.dropMembership('224.0.0.114', '127.0.0.1');
        receiver.close();
        sender.close();
      });
    });
  },

  'order of messages, ticks and immediates': (log) => {
    const party = parties(log);
    bound('udp4', (server, port) => {
      const say = party('server');
      server.on('message', (message, from) => {
        say(`message ${message}`);
        process.nextTick(() => say(`tick ${message}`));
        queueMicrotask(() => say(`microtask ${message}`));
        setImmediate(() => say(`immediate ${message}`));
        server.send(message, from.port, from.address);
      });
      const client = dgram.createSocket('udp4');
      let left = 3;
      client.on('message', (message) => {
        party('client')(`message ${message}`);
        setImmediate(() => party('client')(`immediate ${message}`));
        if (--left > 0) return;
        client.close();
        server.close();
      });
      for (const text of ['a', 'b', 'c']) client.send(text, port, '127.0.0.1', () => party('client')(`sent ${text}`));
    });
  },

  'a listener that throws': (log) => {
    process.on('uncaughtException', (error) => log(`uncaught ${error.message}`));
    bound('udp4', (server, port) => {
      server.on('message', (message) => {
        log(`message ${message}`);
        if (String(message) === 'b') throw new Error('thrown');
        if (String(message) === 'c') server.close(() => log('closed'));
      });
      const client = dgram.createSocket('udp4');
      for (const text of ['a', 'b', 'c']) client.send(text, port, '127.0.0.1');
      setTimeout(() => client.close(), 50);
    });
  },

  'AbortSignal, and close from everywhere': (log) => {
    const abort = new AbortController();
    const first = dgram.createSocket({ type: 'udp4', signal: abort.signal });
    first.on('close', () => log('first closed'));
    first.bind(0, '127.0.0.1', () => abort.abort());
    const second = dgram.createSocket('udp4');
    second.bind(0, () => second.close(() => log('second closed')));
    const third = dgram.createSocket('udp4', (message) => {
      log(`third ${message}`);
      third.close();
    });
    third.bind(0, '127.0.0.1', () => third.send('itself', third.address().port, '127.0.0.1'));
    const fourth = dgram.createSocket('udp4');
    fourth.send('x', 9, '127.0.0.1', () => {
      log('fourth sent');
      fourth.close();
    });
  },

  reusePort: (log) => {
    const options = { type: 'udp4', reusePort: true } as dgram.SocketOptions;
    const first = dgram.createSocket(options);
    first.on('error', (error) => log(`first ${fields(error)}`));
    first.bind(0, '127.0.0.1', () => {
      const second = dgram.createSocket(options);
      // A Node that does not know the option refuses.
      second.on('error', (error) => {
        log(`second ${fields(error)}`);
        first.close(() => log('closed'));
      });
      second.bind(first.address().port, '127.0.0.1', () => {
        log('both');
        second.close(() => first.close(() => log('closed')));
      });
    });
  },

  'udp6, and its scope': (log) => {
    bound('udp6', (server, port) => {
      server.on('message', (message, from) => {
        log(`${message} ${from.address} ${from.family}`);
        if (String(message) === 'last') {
          server.close();
          client.close();
        }
      });
      const client = dgram.createSocket({ type: 'udp6', ipv6Only: true });
      client.send('first', port, '::1', (error, bytes) => {
        log(`${fields(error)} ${bytes}`);
        client.send('v4', port, '127.0.0.1', (problem) => {
          log(fields(problem));
          client.send('last', port, '::1');
        });
      });
    });
  },
};

main(scenarios);
