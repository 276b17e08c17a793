/** In which order a program's callbacks run: ticks, microtasks, timers, setImmediate and the events of many sockets. */
import * as net from 'node:net';
import { finished, pipeline } from 'node:stream';
import { fields, main, parties, type Scenario, serve, watch } from './support';

export const scenarios: Record<string, Scenario> = {
  'an answer comes behind setImmediate': (log) => {
    let left = 3;
    const server = net.createServer((socket) => {
      log('connection');
      setImmediate(() => log('immediate of connection'));
      socket.on('data', (data) => {
        log(`server ${data}`);
        setImmediate(() => log(`server immediate ${data}`));
        process.nextTick(() => log(`server tick ${data}`));
        socket.write(data);
      });
      socket.on('end', () => log('server end'));
    });
    serve(server, (port) => {
      const client = net.connect(port, '127.0.0.1', () => {
        log('connect');
        setImmediate(() => log('immediate of connect'));
        client.write(String(left));
      });
      client.on('data', (data) => {
        log(`client ${data}`);
        setImmediate(() => log(`client immediate ${data}`));
        queueMicrotask(() => log(`client microtask ${data}`));
        if (--left > 0) client.write(String(left));
        else client.end();
      });
      client.on('close', () => server.close(() => log('closed')));
    });
  },

  'nobody starves timers and setImmediate': (log) => {
    const server = net.createServer((socket) => socket.on('error', () => {}).pipe(socket));
    let answers = 0;
    serve(server, (port) => {
      const clients = Array.from({ length: 4 }, () => net.connect(port, '127.0.0.1'));
      let immediates = 0;
      let running = true;
      const count = () => {
        immediates++;
        if (running) setImmediate(count);
      };
      for (const client of clients) {
        client.on('error', () => {});
        client.write('x');
        client.on('data', (data) => {
          if (answers++ === 0) setImmediate(count);
          const due = performance.now() + 0.2;
          while (performance.now() < due);
          if (running) client.write(data);
        });
      }
      setTimeout(() => {
        running = false;
        // One round brings each client an answer, and one setImmediate.
        log(`immediates for each answer: ${immediates / answers > 0.2}`);
        log(`answers for each immediate: ${answers / immediates > 0.2}`);
        for (const client of clients) client.destroy();
        server.close();
      }, 300);
    });
  },

  'many connections at once': (log) => {
    const party = parties(log);
    let closed = 0;
    let accepted = 0;
    const server = net.createServer((socket) => {
      const say = party(`server ${accepted++}`);
      say('accepted');
      socket.on('data', (data) => {
        say(`data ${data}`);
        socket.write(data);
      });
      socket.on('end', () => say('end'));
    });
    serve(server, (port) => {
      let up = 0;
      const clients = ['a', 'b', 'c', 'd'].map((name) => {
        const say = party(`client ${name}`);
        const client = net.connect(port, '127.0.0.1', () => {
          say(`connect ${name}`);
          if (++up < clients.length) return;
          setTimeout(() => {
            for (const [i, other] of clients.entries()) other.write(`${i}`);
          }, 20);
        });
        client.on('data', (data) => {
          say(`${name} data ${data}`);
          client.end();
        });
        client.on('close', () => {
          say(`close ${name}`);
          if (++closed === clients.length) server.close();
        });
        return client;
      });
    });
  },

  'closing with bytes that nobody has read': (log) => {
    const party = parties(log);
    const sockets: net.Socket[] = [];
    const server = net.createServer((socket) => {
      sockets.push(socket);
      socket.on('data', (data) => {
        party('server')(`data ${data}`);
        for (const each of sockets) each.destroy();
      });
    });
    serve(server, (port) => {
      let closed = 0;
      const clients = ['a', 'b'].map((name) => {
        const client = net.connect(port, '127.0.0.1');
        watch(party(name), name, client);
        client.on('close', () => {
          if (++closed === 2) server.close();
        });
        return client;
      });
      setTimeout(() => {
        for (const client of clients) client.write('x');
      }, 50);
    });
  },

  'what one callback writes is one piece': (log) => {
    const server = net.createServer((socket) => {
      let bytes = 0;
      socket.on('data', (data) => {
        log(`data ${data}`);
        bytes += data.length;
        if (bytes === 7) client.end('h');
      });
      socket.on('end', () => server.close());
    });
    let client: net.Socket;
    serve(server, (port) => {
      client = net.connect(port, '127.0.0.1', () => {
        client.write('a');
        client.write(Buffer.from('b'));
        process.nextTick(() => client.write('c'));
        queueMicrotask(() => client.write('d'));
        setImmediate(() => {
          client.cork();
          client.write('e');
          client.write('f', 'latin1');
          client.write('67', 'hex');
          process.nextTick(() => client.uncork());
        });
      });
    });
  },

  'data and end in one segment': (log) => {
    const server = net.createServer((socket) => {
      socket.on('data', (data) => {
        log(`data ${data}`);
        setImmediate(() => log('immediate of data'));
      });
      socket.on('end', () => log('end'));
      socket.on('close', () => server.close(() => log('closed')));
    });
    serve(server, (port) => {
      const client = net.connect(port, '127.0.0.1');
      client.end('all of it');
    });
  },

  'a storm of pause and resume': (log) => {
    let received = 0;
    let pauses = 0;
    let wrong = 0;
    const server = net.createServer((socket) => {
      const block = Buffer.alloc(1000);
      for (let i = 0; i < 500; i++) {
        block.fill(i % 251);
        socket.write(Buffer.from(block));
      }
      socket.end();
    });
    serve(server, (port) => {
      const client = net.connect(port, '127.0.0.1');
      let paused = false;
      client.on('data', (data) => {
        if (paused) wrong++;
        for (let i = 0; i < data.length; i++) {
          if (data[i] !== Math.floor((received + i) / 1000) % 251) wrong++;
        }
        received += data.length;
        paused = true;
        pauses++;
        client.pause();
        const go = () => {
          paused = false;
          client.resume();
        };
        if (pauses % 3 === 0) process.nextTick(go);
        else if (pauses % 3 === 1) setImmediate(go);
        else setTimeout(go, 1);
      });
      client.on('end', () => log(`${received} bytes\n${wrong} wrong`));
      client.on('close', () => server.close());
    });
  },

  'small pieces for a paused socket': (log) => {
    let read = () => 0;
    const server = net.createServer((socket) => {
      read = () => socket.bytesRead;
      socket.pause();
      socket.on('data', (data) => log(`data ${data}`));
      socket.on('end', () => server.close());
      const look = setInterval(() => {
        if (socket.readableLength < 5) return;
        clearInterval(look);
        log(`${socket.isPaused()} ${socket.readableLength} ${socket.bytesRead}`);
        socket.resume();
      }, 5);
    });
    serve(server, (port) => {
      const client = net.connect(port, '127.0.0.1');
      let n = 0;
      let said = -1;
      const timer = setInterval(() => {
        // One after the other is there.
        if (said !== read()) {
          said = read();
          client.write(String(++n));
        }
        if (n < 5) return;
        clearInterval(timer);
        client.end();
      }, 2);
    });
  },

  'read() and readable': (log) => {
    const server = net.createServer((socket) => socket.end('0123456789'));
    serve(server, (port) => {
      const client = net.connect(port, '127.0.0.1');
      client.on('readable', () => {
        log(`readable ${client.readableLength}`);
        for (let part = client.read(4); part !== null; part = client.read(4)) log(`part ${part}`);
        log(`left ${client.read()}`);
      });
      client.on('end', () => log('end'));
      client.on('close', () => server.close());
    });
  },

  'for await, and a break in it': (log) => {
    const server = net.createServer((socket) => {
      socket.on('error', (error: NodeJS.ErrnoException) => log(`server ${error.code}`));
      socket.on('close', () => server.close());
      const timer = setInterval(() => socket.write('x'), 10);
      socket.on('close', () => clearInterval(timer));
    });
    serve(server, async (port) => {
      const client = net.connect(port, '127.0.0.1');
      let n = 0;
      client.on('close', (hadError) => log(`close ${hadError}`));
      for await (const chunk of client) {
        log(`chunk ${chunk}`);
        if (++n === 3) break;
      }
      log(`${client.destroyed}`);
    });
  },

  'pipeline and finished': (log) => {
    const party = parties(log);
    const server = net.createServer((socket) => {
      const say = party('server');
      pipeline(socket, socket, (error) => say(`pipeline ${error}`));
      finished(socket, (error) => say(`finished ${error}`));
    });
    serve(server, (port) => {
      const client = net.connect(port, '127.0.0.1', () => client.end('hello'));
      const say = party('client');
      client.on('data', (data) => say(`data ${data}`));
      finished(client, (error) => {
        say(`finished ${error}`);
        server.close();
      });
    });
  },

  'a listener that throws': (log) => {
    process.on('uncaughtException', (error) => log(`uncaught ${error.message}`));
    let closed = 0;
    const server = net.createServer((socket) => {
      socket.on('data', (data) => {
        log(`data ${data}`);
        if (String(data) === '1') throw new Error('thrown');
      });
      socket.on('end', () => log('end'));
    });
    serve(server, (port) => {
      const clients = [0, 1, 2].map(() => net.connect(port, '127.0.0.1'));
      setTimeout(() => {
        for (const [i, client] of clients.entries()) client.write(String(i));
        setTimeout(() => {
          for (const client of clients) client.end('more');
        }, 20);
      }, 50);
      for (const client of clients) {
        client.resume();
        client.on('close', () => {
          if (++closed === 3) server.close(() => log('closed'));
        });
      }
    });
  },

  'a rejection in a listener': (log) => {
    process.on('unhandledRejection', (error) => log(`unhandled ${(error as Error).message}`));
    const server = net.createServer({ pauseOnConnect: false }, (socket) => {
      socket.on('data', async (data) => {
        log(`data ${data}`);
        await null;
        throw new Error('late');
      });
      socket.on('end', () => server.close());
    });
    serve(server, (port) => net.connect(port, '127.0.0.1').end('x'));
  },

  'end, destroy and the callbacks of writes': (log) => {
    const server = net.createServer((socket) => {
      watch(log, 'server', socket);
    });
    serve(server, (port) => {
      const client = net.connect(port, '127.0.0.1', () => {
        client.write('one', (error) => log(`one ${fields(error)}`));
        client.write('', () => log('nothing'));
        client.end('two', () => log('ended'));
        client.write('three', (error) => log(`three ${fields(error)}`));
        log(`${client.writable} ${client.writableEnded} ${client.writableFinished}`);
      });
      client.on('error', (error) => log(`error ${fields(error)}`));
      client.on('finish', () => log('finish'));
      client.on('close', () => {
        log(`close ${client.destroyed}`);
        client.write('four', (error) => log(`four ${fields(error)}`));
        client.end((error?: Error) => log(`end again ${fields(error)}`));
        server.close();
      });
    });
  },

  'destroy in every callback': (log) => {
    const server = net.createServer((socket) => {
      socket.on('error', () => {});
      socket.write('hello');
    });
    const party = parties(log);
    serve(server, (port) => {
      let closed = 0;
      for (const event of ['lookup', 'connect', 'ready', 'data'] as const) {
        const client = net.connect(port, 'localhost');
        const seen: string[] = [];
        for (const name of ['connect', 'ready', 'data', 'end', 'error'] as const)
          client.on(name, () => seen.push(name));
        client.on(event, () => client.destroy(event === 'ready' ? new Error('own') : undefined));
        client.on('close', (hadError) => {
          party(event)(`${seen} ${hadError}`);
          if (++closed === 4) server.close();
        });
      }
    });
  },

  'writes before the connection is up': (log) => {
    const server = net.createServer((socket) => {
      // In how many pieces depends on the MTU: the first window is ten segments.
      let bytes = 0;
      socket.on('data', (data) => {
        bytes += data.length;
        if (bytes >= 20_011) log(`data ${bytes}`);
      });
      socket.on('end', () => server.close());
    });
    serve(server, (port) => {
      const client = net.connect(port, '127.0.0.1');
      log(`${client.write('a', () => log('a written'))} ${client.writableLength} ${client.bytesWritten}`);
      log(`${client.write('ä'.repeat(10), 'latin1')} ${client.writableLength} ${client.bytesWritten}`);
      log(`${client.write(Buffer.alloc(20_000))} ${client.writableLength} ${client.writableNeedDrain}`);
      client.on('drain', () => log(`drain ${client.writableLength} ${client.bytesWritten}`));
      client.on('connect', () => log(`connect ${client.writableLength}`));
      setTimeout(() => client.end(), 50);
    });
  },
};

main(scenarios);
