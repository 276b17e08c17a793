import { test } from 'tap';
import { loadBinding, type NativeConfig } from '../../lib/binding';
import {
  type Connection,
  type ConnectionSink,
  type DatagramSink,
  NOT_OURS,
  type SocketAddress,
} from '../../lib/engine';
import { compilePolicy } from '../../lib/policy';
import { StackEngine } from '../../lib/stack';

const CONFIG: NativeConfig = {
  port: 'loopback',
  interfaces: [],
  queues: 0,
  xdpMode: 'auto',
  dpdkArgs: '',
  dpdkDevice: '',
  dpdkAddress: '',
  dpdkNeighbors: '',
  dpdkTap: '',
  dpdkShared: false,
  dpdkObject: '',
  debug: false,
  fault: '',
  pcapFile: '',
  frames: 4096,
  frameBytes: 16_384,
  socketsMax: 2048,
  connectionsMax: 1024,
  listenersMax: 64,
  udpSocketsMax: 64,
  udpReceiveBufferBytes: 1_048_576,
  sendBufferBytes: 262_144,
  receiveBufferBytes: 262_144,
  congestion: 'cubic',
  ecn: 'passive',
  mtuProbing: 'off',
  pathMtuMinBytes: 552,
  keepalive: true,
  keepaliveIdleSeconds: 7200,
  guardianMs: 4,
  lingerMs: 1000,
  spinUs: 0,
};

const ANY: SocketAddress = { address: '127.0.0.1', port: 7, family: 'IPv4' };

function openEngine(accelerate = '', config: Partial<NativeConfig> = {}): StackEngine {
  const engine = new StackEngine(loadBinding(), { ...CONFIG, ...config }, compilePolicy(accelerate));
  engine.hold(true);
  return engine;
}

/** A sink that records, and whose promises resolve with what happens. */
class Recorder implements ConnectionSink {
  received = '';
  readonly log: string[] = [];
  readonly own: Uint8Array[] = [];
  #wake: () => void = () => {};

  onConnect(status: number): void {
    this.#note(`connect ${status}`);
  }
  onData(slab: ArrayBuffer, offset: number, length: number): void {
    this.received += Buffer.from(slab, offset, length).toString('latin1');
    this.#note('data');
  }
  onBytes(bytes: Uint8Array): void {
    this.own.push(bytes);
    this.onData(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.length);
  }
  onEnd(): void {
    this.#note('end');
  }
  onError(errno: number): void {
    this.#note(`error ${errno}`);
  }
  onWritable(): void {
    this.#note('writable');
  }
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
  saw(entry: string): boolean {
    return this.log.includes(entry);
  }
  #note(entry: string): void {
    this.log.push(entry);
    this.#wake();
  }
}

async function pair(engine: StackEngine): Promise<{
  client: Connection;
  clientSink: Recorder;
  server: Connection;
  serverSink: Recorder;
}> {
  const serverSink = new Recorder();
  let server: Connection | undefined;
  engine.listen(ANY, false, 128, {
    onConnection(connection) {
      server = connection;
      connection.sink = serverSink;
      return () => connection.setReading(true);
    },
  });
  const clientSink = new Recorder();
  const client = engine.connect('127.0.0.1', 7, null, clientSink);
  if (client === null || typeof client === 'number') throw new Error(`connect: ${client}`);
  client.setReading(true);
  await clientSink.until(() => clientSink.saw('connect 0') && server !== undefined);
  return { client, clientSink, server: server as Connection, serverSink };
}

test('bytes of several turns that nobody has looked at come as one piece', async (t) => {
  const engine = openEngine();
  const { client, server, serverSink } = await pair(engine);
  // 17 bytes: no multiple of any alignment. Every so many commands there is a turn.
  const line = 'seventeen bytes.\n';
  t.equal(line.length, 17);
  for (let i = 0; i < 1000; i++) client.writeLatin1(line);
  await serverSink.until(() => serverSink.received.length === 17_000);
  t.equal(serverSink.received, line.repeat(1000));
  t.ok(serverSink.log.filter((entry) => entry === 'data').length <= 2);
  client.close();
  server.close();
  engine.close();
});

test('a connection: text, buffers, end', async (t) => {
  const engine = openEngine();
  const { client, clientSink, server, serverSink } = await pair(engine);
  t.equal(server.remote.port, client.local.port);
  t.equal(server.local.port, 7);
  t.equal(client.writeLatin1('hello '), 6);
  t.equal(client.writeUtf8('wörld'), 6);
  t.equal(client.write(Buffer.from('!')), 1);
  await serverSink.until(() => serverSink.received.length === 13);
  t.equal(Buffer.from(serverSink.received, 'latin1').toString(), 'hello wörld!');
  server.write(Buffer.from('answer'));
  server.shutdown();
  await clientSink.until(() => clientSink.saw('end'));
  t.equal(clientSink.received, 'answer');
  client.close();
  server.close();
  engine.close();
});

test('who wants bytes of his own gets many at once in memory that has no others', async (t) => {
  const engine = openEngine();
  const { client, clientSink, server } = await pair(engine);
  client.setReading(true, true);
  const bytes = Buffer.from(Array.from({ length: 200_000 }, (_, i) => (i * 7 + (i >>> 8)) & 0xff));
  t.equal(server.write(Buffer.from('few')), 3);
  t.equal(server.writeAll([bytes.subarray(0, 10), bytes.subarray(10, 10), bytes.subarray(10)], 200_000), 200_000);
  await clientSink.until(() => clientSink.received.length === 200_003);
  t.equal(clientSink.received, `few${bytes.toString('latin1')}`);
  t.ok(clientSink.own.length >= 3);
  for (const piece of clientSink.own) {
    t.equal(piece.byteOffset, 0);
    t.equal(piece.buffer.byteLength, piece.length);
  }
  client.close();
  server.close();
  engine.close();
});

test('megabytes both ways arrive whole, with back-pressure', async (t) => {
  const engine = openEngine();
  const { client, clientSink, server, serverSink } = await pair(engine);
  const bytes = Buffer.alloc(5_000_000);
  for (let i = 0; i < bytes.length; i++) bytes[i] = (i * 31 + (i >>> 8)) & 0xff;
  let refused = 0;
  const send = async (from: Connection, sink: Recorder): Promise<void> => {
    for (let at = 0; at < bytes.length; ) {
      const taken = from.write(bytes.subarray(at));
      at += taken;
      if (at === bytes.length) return;
      refused++;
      const seen = sink.log.filter((entry) => entry === 'writable').length;
      await sink.until(() => sink.log.filter((entry) => entry === 'writable').length > seen);
    }
  };
  await Promise.all([send(client, clientSink), send(server, serverSink)]);
  await serverSink.until(() => serverSink.received.length === bytes.length);
  await clientSink.until(() => clientSink.received.length === bytes.length);
  t.ok(bytes.equals(Buffer.from(serverSink.received, 'latin1')));
  t.ok(bytes.equals(Buffer.from(clientSink.received, 'latin1')));
  t.ok(refused > 0, 'writers met a full send buffer');
  client.abort();
  server.abort();
  engine.close();
});

test('nobody listens there: the connection is the kernel`s business', async (t) => {
  const engine = openEngine();
  t.equal(engine.connect('127.0.0.1', 9, null, new Recorder()), null);
  engine.close();
});

test('policy decides', async (t) => {
  const engine = openEngine('tcp:listen:*:7000-7100 !tcp:listen:*:7050');
  const sink = { onConnection: () => () => {} };
  const at = (port: number): SocketAddress => ({ ...ANY, port });
  t.equal(engine.listen(at(80), false, 10, sink), null);
  t.equal(engine.listen(at(7050), false, 10, sink), null);
  const listener = engine.listen(at(7001), false, 10, sink);
  t.ok(listener !== null && typeof listener !== 'number');
  t.equal(engine.listen(at(7001), false, 10, sink), -98, 'EADDRINUSE');
  engine.close();
});

test('a reset comes behind the bytes before it', async (t) => {
  const engine = openEngine();
  const { client, server, serverSink } = await pair(engine);
  server.setReading(false);
  client.writeLatin1('before');
  client.abort();
  await new Promise((resolve) => setTimeout(resolve, 20));
  t.same(serverSink.log, []);
  server.setReading(true);
  await serverSink.until(() => serverSink.saw('error -104'));
  t.same(serverSink.log, ['data', 'error -104']);
  t.equal(serverSink.received, 'before');
  server.close();
  engine.close();
});

test('datagrams: boundaries, zero length, sender, and what is not ours', async (t) => {
  const engine = openEngine();
  const got: string[] = [];
  let wake: () => void = () => {};
  const sink: DatagramSink = {
    onMessage(slab, offset, length, address, port, family) {
      got.push(`${Buffer.from(slab, offset, length)} from ${address}:${port} ${family}`);
      wake();
    },
    onError() {},
  };
  const bind = (port: number) => {
    const socket = engine.bind({ ...ANY, port }, false, sink);
    if (socket === null || typeof socket === 'number') throw new Error(`bind: ${socket}`);
    socket.setReading(true);
    return socket;
  };
  const a = bind(4001);
  const b = bind(4002);
  t.equal(a.send([Buffer.from('one'), Buffer.from('two')], 2, '127.0.0.1', 4002), 6);
  t.equal(a.send([], 0, '127.0.0.1', 4002), 0);
  t.equal(a.send([Buffer.from('x')], 1, '127.0.0.1', 4003), NOT_OURS);
  t.equal(a.send([Buffer.alloc(60_000)], 1, '127.0.0.1', 4002), NOT_OURS, 'longer than the MTU');
  t.equal(b.connect('127.0.0.1', 4001), 0);
  t.equal(b.sendConnected([Buffer.from('back')], 1), 4);
  while (got.length < 3) {
    await new Promise<void>((resolve) => {
      wake = resolve;
    });
  }
  t.same(got.sort(), [' from 127.0.0.1:4001 IPv4', 'back from 127.0.0.1:4002 IPv4', 'onetwo from 127.0.0.1:4001 IPv4']);
  a.close();
  t.equal(b.send([Buffer.from('x')], 1, '127.0.0.1', 4001), NOT_OURS, 'closed: the destination is looked up anew');
  b.close();
  engine.close();
});

test('posts run in order, from the loop, and keep the process alive until then', async (t) => {
  const engine = openEngine();
  const order: number[] = [];
  await new Promise<void>((resolve) => {
    engine.post(0, () => {
      order.push(1);
    });
    const context = engine.createContext({}, 'TEST');
    engine.post(context, () => () => order.push(2));
    engine.post(0, () => {
      order.push(3);
      engine.freeContext(context);
      resolve();
    });
    order.push(0);
  });
  t.same(order, [0, 1, 2, 3]);
  engine.close();
});

test('statistics name every counter with a meaning', async (t) => {
  const engine = openEngine();
  for (const [group, name, meaning] of engine.meanings()) t.ok(meaning.length > 5, `${group}.${name}`);
  t.equal(engine.counters()['stack']?.['sockets'], 0);
  t.equal(engine.ports()[0]?.name, 'loopback');
  engine.close();
});
