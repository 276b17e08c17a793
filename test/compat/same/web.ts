/** What a program sees of http: the agent's pool, keep-alive, and the ends of requests. */
import * as http from 'node:http';
import * as net from 'node:net';
import type { AddressInfo } from 'node:net';
import { fields, main, parties, type Scenario, serve } from './support';

function portOf(server: net.Server): number {
  return (server.address() as AddressInfo).port;
}

function pool(agent: http.Agent): string {
  const count = (lists: NodeJS.ReadOnlyDict<unknown[]>) => Object.values(lists).flat().length;
  return `${count(agent.sockets)} used, ${count(agent.freeSockets)} free, ${count(agent.requests)} waiting`;
}

export const scenarios: Record<string, Scenario> = {
  'an agent keeps its sockets': (log) => {
    const ports = new Set<number | undefined>();
    const server = http.createServer((request, response) => {
      ports.add(request.socket.remotePort);
      response.end(request.url);
    });
    const agent = new http.Agent({ keepAlive: true, maxSockets: 2 });
    agent.on('free', () => log(`free: ${pool(agent)}`));
    serve(server, (port) => {
      let left = 6;
      for (let i = 0; i < 6; i++) {
        const request = http.get({ port, host: '127.0.0.1', agent, path: `/${i}` }, (response) => {
          response.on('data', (data) => log(`${data} ${request.reusedSocket}`));
          response.on('end', () => {
            if (--left > 0) return;
            setImmediate(() => {
              log(`${ports.size} sockets; ${pool(agent)}`);
              agent.destroy();
              server.close(() => log('closed'));
            });
          });
        });
      }
      log(pool(agent));
    });
  },

  'a kept socket that hears something out of turn': (log) => {
    let n = 0;
    const server = net.createServer((socket) => {
      const name = ++n;
      socket.on('error', () => {});
      let requests = 0;
      socket.on('data', () => {
        socket.write(`HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\n${name}`);
        if (name === 1 && ++requests === 1)
          setTimeout(() => socket.write('HTTP/1.1 500 Poison\r\nContent-Length: 0\r\n\r\n'), 30);
      });
    });
    const agent = new http.Agent({ keepAlive: true });
    serve(server, (port) => {
      const get = (then: () => void) => {
        const request = http.get({ port, host: '127.0.0.1', agent }, (response) => {
          response.on('data', (data) => log(`${response.statusCode} ${data} ${request.reusedSocket}`));
          response.on('end', then);
        });
        request.on('error', (error) => log(fields(error)));
      };
      get(() => {
        setTimeout(() => {
          log(pool(agent));
          get(() => {
            agent.destroy();
            server.close();
          });
        }, 150);
      });
    });
  },

  'a kept socket that the server closes': (log) => {
    const server = http.createServer((_request, response) => response.end('x'));
    server.keepAliveTimeout = 50;
    const agent = new http.Agent({ keepAlive: true });
    serve(server, (port) => {
      const get = (then: () => void) => {
        const request = http.get({ port, host: '127.0.0.1', agent }, (response) => {
          response.resume();
          response.on('end', () => {
            log(`${response.statusCode} ${request.reusedSocket}`);
            then();
          });
        });
        request.on('socket', (socket) => socket.once('close', (hadError) => log(`socket closed ${hadError}`)));
        request.on('error', (error) => log(fields(error)));
      };
      get(() => {
        const look = setInterval(() => {
          if (Object.keys(agent.freeSockets).length > 0) return;
          clearInterval(look);
          get(() => {
            agent.destroy();
            server.close();
          });
        }, 20);
      });
    });
  },

  'a reused socket that was reset': (log) => {
    let requests = 0;
    const server = http.createServer((request, response) => {
      if (++requests === 2) request.socket.resetAndDestroy();
      else response.end('x');
    });
    const agent = new http.Agent({ keepAlive: true });
    serve(server, (port) => {
      const get = (then: () => void) => {
        const request = http.get({ port, host: '127.0.0.1', agent }, (response) => {
          response.resume();
          response.on('end', () => setImmediate(then));
        });
        request.on('error', (error) => {
          log(`${fields(error)} ${request.reusedSocket}`);
          then();
        });
        request.on('close', () => log('close'));
      };
      get(() =>
        get(() => {
          agent.destroy();
          server.close();
        }),
      );
    });
  },

  'requests that end early': (log) => {
    const party = parties(log);
    const server = http.createServer((request, response) => {
      const say = party(`server ${request.url}`);
      for (const event of ['aborted', 'end', 'close'] as const) request.on(event, () => say(`request ${event}`));
      request.on('error', (error) => say(`request ${fields(error)}`));
      response.on('close', () => say(`response close ${response.writableFinished}`));
      request.resume();
      if (request.url === '/body') return;
      response.write('part');
      if (request.url === '/cut') setTimeout(() => request.socket.destroy(), 20);
    });
    serve(server, (port) => {
      const tries = ['/abort', '/cut', '/body', '/signal'];
      let left = tries.length;
      for (const path of tries) {
        const say = party(`client ${path}`);
        const abort = new AbortController();
        const request = http.request({
          port,
          host: '127.0.0.1',
          path,
          method: 'POST',
          agent: false,
          signal: abort.signal,
        });
        request.on('response', (response) => {
          say(`response ${response.statusCode}`);
          response.on('data', () => {
            say('data');
            if (path === '/abort') request.destroy();
            if (path === '/signal') abort.abort();
          });
          response.on('error', (error) => say(`response ${fields(error)}`));
          response.on('aborted', () => say('aborted'));
          response.on('end', () => say('end'));
          response.on('close', () => say(`response close ${response.complete}`));
        });
        request.on('error', (error) => say(fields(error)));
        request.on('close', () => {
          say('close');
          if (--left === 0) setTimeout(() => server.close(), 50);
        });
        if (path === '/body') request.write('half', () => request.destroy(new Error('own')));
        else request.end();
      }
    });
  },

  'the server says what is wrong, and times out': (log) => {
    const server = http.createServer({ headersTimeout: 100, requestTimeout: 100, connectionsCheckingInterval: 20 });
    server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
      log(`clientError ${error.code}`);
      socket.end('HTTP/1.1 400 Bad Request\r\n\r\n');
    });
    serve(server, (port) => {
      const tries = ['GET / HTTP/9.9\r\n\r\n', 'GET / HTTP/1.1\r\nHost', ''];
      const next = () => {
        const text = tries.shift();
        if (text === undefined) {
          server.close();
          return;
        }
        const client = net.connect(port, '127.0.0.1', () => client.write(text));
        let answer = '';
        client.on('data', (data) => {
          answer += data;
        });
        client.on('end', () => log(`answer ${answer.split('\r\n')[0]}`));
        client.on('error', (error) => log(fields(error)));
        client.on('close', (hadError) => {
          log(`close ${hadError}`);
          next();
        });
      };
      next();
    });
  },

  'closing a server with idle and busy connections': (log) => {
    const server = http.createServer((request, response) => {
      if (request.url === '/busy') setTimeout(() => response.end('done'), 80);
      else response.end('x');
    });
    const agent = new http.Agent({ keepAlive: true });
    server.on('close', () => log('server close'));
    serve(server, (port) => {
      http.get({ port, host: '127.0.0.1', agent, path: '/idle' }, (response) => {
        response.resume();
        response.on('end', () => {
          http.get({ port, host: '127.0.0.1', agent: false, path: '/busy' }, (busy) => {
            log(`busy ${busy.statusCode} ${busy.headers.connection}`);
            busy.resume();
            busy.on('end', () => log(`end; ${pool(agent)}`));
          });
          setTimeout(() => {
            server.close((error) => log(`closed ${error}`));
            server.closeIdleConnections();
          }, 30);
        });
      });
    });
  },

  '100-continue, trailers and informational answers': (log) => {
    const server = http.createServer();
    server.on('checkContinue', (request, response) => {
      log('checkContinue');
      response.writeContinue();
      request.on('data', (data) => log(`request data ${data}`));
      request.on('end', () => {
        log(`request trailers ${JSON.stringify(request.trailers)}`);
        response.writeProcessing();
        response.writeHead(200, { Trailer: 'x-sum' });
        response.write('body');
        response.addTrailers({ 'x-sum': '42' });
        response.end();
      });
    });
    serve(server, (port) => {
      const headers = { Expect: '100-continue', 'Transfer-Encoding': 'chunked', Trailer: 'x-end' };
      const request = http.request({ port, host: '127.0.0.1', method: 'POST', headers, agent: false });
      request.on('continue', () => {
        log('continue');
        request.write('one');
        request.addTrailers({ 'x-end': 'yes' });
        request.end();
      });
      request.on('information', ({ statusCode }) => log(`information ${statusCode}`));
      request.on('response', (response) => {
        response.on('data', (data) => log(`data ${data}`));
        response.on('end', () => {
          log(`trailers ${JSON.stringify(response.trailers)}`);
          server.close();
        });
      });
      request.flushHeaders();
    });
  },

  'back-pressure of a slow reader': (log) => {
    const server = http.createServer((_request, response) => {
      let full = 0;
      let drains = 0;
      let written = 0;
      const block = Buffer.alloc(65_536);
      const fill = () => {
        while (written < 20_000_000) {
          written += block.length;
          if (!response.write(block)) {
            full++;
            return;
          }
        }
        response.end();
      };
      response.on('drain', () => {
        drains++;
        fill();
      });
      response.on('finish', () => log(`finish: waited ${full > 0}, drained ${drains === full}`));
      fill();
    });
    serve(server, (port) => {
      http.get({ port, host: '127.0.0.1', agent: false }, (response) => {
        let bytes = 0;
        setTimeout(() => {
          response.on('data', (data) => {
            bytes += data.length;
          });
          response.on('end', () => {
            log(`${bytes} bytes`);
            server.close();
          });
        }, 100);
      });
    });
  },

  'fetch: answers, streams and aborts': (log) => {
    const server = http.createServer(async (request, response) => {
      let body = '';
      for await (const chunk of request) body += chunk;
      if (request.url === '/slow') response.write('begin');
      else response.end(`${request.method} ${body}`);
    });
    serve(server, async () => {
      const base = `http://127.0.0.1:${portOf(server)}`;
      const answer = await fetch(base, { method: 'POST', body: 'hello' });
      log(`${answer.status} ${await answer.text()}`);
      const abort = new AbortController();
      const slow = await fetch(`${base}/slow`, { signal: abort.signal });
      const reader = slow.body?.getReader();
      log(`${Buffer.from((await reader?.read())?.value ?? [])}`);
      abort.abort();
      await reader?.read().catch((error: Error) => log(`${error.name} ${error.message}`));
      await new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      const refused = await fetch(base).catch((error: Error) => error);
      const cause = (refused as Error).cause;
      log(`${refused} ${cause instanceof AggregateError ? 'many' : fields(cause)}`);
    });
    setTimeout(() => server.closeAllConnections(), 1500).unref();
  },
};

main(scenarios);
