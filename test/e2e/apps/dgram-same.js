// SPDX-License-Identifier: MIT
// Plain dgram programs, one per name, that print what they see; the same program must print the same under plain Node and
// under millrace. Each line is one fact. Nothing here knows of millrace.
//   node dgram-same.js <name> <mill-ipv4> <mill-ipv6> <peer-ipv4> <peer-ipv6> <interface>
'use strict';

const dgram = require('node:dgram');
const { once } = require('node:events');

const [name, mill4, mill6, peer4, peer6, device] = process.argv.slice(2);
const kEcho4 = 7004;
const kEcho6 = 7006;
const open = [];

const say = (...words) =>
  console.log(words.map((word) => (typeof word === 'string' ? word : JSON.stringify(word))).join(' '));
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const facts = (error) => ({
  code: error.code,
  syscall: error.syscall,
  address: error.address,
  message: error.message.replace(/\d{5}/, 'PORT'),
});

function create(options) {
  const socket = dgram.createSocket(options);
  open.push(socket);
  return socket;
}

/** A bound socket, or the error of binding. */
async function bound(options, ...args) {
  const socket = create(options);
  const outcome = Promise.race([once(socket, 'listening'), once(socket, 'error')]);
  socket.bind(...args);
  const [error] = await outcome;
  if (error) throw error;
  return socket;
}

const tried = async (what, action) => {
  try {
    const result = await action();
    say(what, result === undefined ? 'ok' : result);
    return result;
  } catch (error) {
    say(what, facts(error));
    return null;
  }
};

/** send() as a promise: bytes, or the error. */
function send(socket, ...args) {
  return new Promise((resolve, reject) => {
    socket.send(...args, (error, bytes) => (error ? reject(error) : resolve(bytes)));
  });
}

/** The next datagram, or null when none comes in so many ms from now or `from` on. */
function next(socket, ms = 400, from = Promise.resolve()) {
  return new Promise((resolve) => {
    let timer;
    const done = (value) => {
      clearTimeout(timer);
      socket.off('message', hear);
      resolve(value);
    };
    const hear = (message, from) =>
      done([
        message.length > 40 ? message.length : String(message),
        from.address,
        from.family,
        from.size,
        from.port > 9999 ? 'P' : from.port,
      ]);
    socket.on('message', hear);
    void from.then(() => (timer = setTimeout(done, ms, null)));
  });
}

/** Sends and says what comes back. */
async function echo(socket, what, ...args) {
  // The first one may have to wait until a device has begun.
  const sent = tried(`${what}: sent`, () => send(socket, ...args));
  const answer = next(socket, 400, sent);
  await sent;
  say(`${what}: came`, await answer);
}

const tell = (socket, message) => send(socket, JSON.stringify(message), kEcho4, peer4);
const tell6 = (socket, message) => send(socket, JSON.stringify(message), kEcho6, peer6);
const portOf = (socket) => socket.address().port;

const programs = {
  async bind() {
    for (const [type, address] of [
      ['udp4', '127.0.0.1'],
      ['udp4', mill4],
      ['udp4', '0.0.0.0'],
      ['udp4', '255.255.255.255'],
      ['udp4', '10.77.255.255'],
      ['udp4', '239.1.2.3'],
      ['udp4', peer4],
      ['udp6', '::1'],
      ['udp6', mill6],
      ['udp6', '::'],
      ['udp6', peer6],
      ['udp6', `ff02::4d%${device}`],
    ]) {
      await tried(`bind ${address}`, async () => {
        const socket = await bound(type, 5000, address);
        const at = socket.address();
        const other = create(type);
        other.bind(5000, address);
        const [error] = await Promise.race([once(other, 'error'), once(other, 'listening')]);
        say('again', error ? facts(error) : 'ok');
        other.close();
        socket.close();
        await once(socket, 'close');
        return at;
      });
    }
    const socket = await bound('udp4');
    await tried('bind twice', () => socket.bind());
    say('chosen', portOf(socket) > 1023, { ...socket.address(), port: 0 });
  },

  async unbound() {
    const here = await bound('udp4', 0, '127.0.0.1');
    here.on('message', (message, from) => here.send(message, from.port, from.address));
    const own = await bound('udp4', 0, mill4);
    own.on('message', (message, from) => own.send(message, from.port, from.address));
    const socket = create('udp4');
    await tried('address before', () => socket.address());
    await echo(socket, 'peer', 'one', kEcho4, peer4);
    const port = portOf(socket);
    await echo(socket, 'loopback', 'two', portOf(here), '127.0.0.1');
    await echo(socket, 'own address', 'three', portOf(own), mill4);
    await echo(socket, 'peer again', 'four', kEcho4, peer4);
    await echo(socket, 'other port', 'five', kEcho4 + 1, peer4);
    say('same port', portOf(socket) === port);
    const six = create('udp6');
    await echo(six, 'peer6', 'six', kEcho6, peer6);
    await echo(six, 'mapped', 'seven', kEcho4, `::ffff:${peer4}`);
    await echo(six, 'bare v4', 'eight', kEcho4, peer4);
    await echo(socket, 'v6 from udp4', 'nine', kEcho6, peer6);
    // Somebody whom we never sent to.
    const answer = next(socket);
    await tell(await bound('udp4'), { from: 1, to: mill4, port, text: 'stranger' });
    say('stranger', await answer);
    await echo(socket, 'no route', 'x', 9, '203.0.113.1');
    await echo(socket, 'zero', 'x', 9, '0.0.0.0');
  },

  async connected() {
    const socket = await bound('udp4');
    await tried('remote before', () => socket.remoteAddress());
    await tried('disconnect before', () => socket.disconnect());
    socket.connect(kEcho4, peer4);
    await tried('connecting', () => socket.connect(kEcho4, peer4));
    await once(socket, 'connect');
    say('local', socket.address().address, 'remote', socket.remoteAddress());
    await echo(socket, 'connected', 'one');
    await tried('with address', () => send(socket, 'x', kEcho4, peer4));
    await tried('connect twice', () => socket.connect(kEcho4, peer4));
    const helper = await bound('udp4');
    const port = portOf(socket);
    let answer = next(socket);
    await tell(helper, { from: 1, to: mill4, port, text: 'not from the peer' });
    say('filtered', await answer);
    answer = next(socket);
    await tell(helper, { from: 0, to: mill4, port, text: 'from the peer' });
    say('let in', await answer);
    socket.disconnect();
    await tried('remote after', () => socket.remoteAddress());
    say('address after', socket.address().address, socket.address().port === port, socket.address().port === 0);
    await echo(socket, 'named', 'two', kEcho4, peer4);
    say('address then', socket.address().address, socket.address().port === port, socket.address().port === 0);
    await new Promise((resolve) => socket.connect(kEcho4 + 1, peer4, resolve));
    await echo(socket, 'other peer', 'three');
    socket.disconnect();
    const fixed = await bound('udp4', 5001, mill4);
    await new Promise((resolve) => fixed.connect(kEcho4, peer4, resolve));
    await echo(fixed, 'fixed', 'four');
    fixed.disconnect();
    say('fixed after', fixed.address());
    await echo(fixed, 'fixed named', 'five', kEcho4, peer4);
    const here = await bound('udp4', 0, '127.0.0.1');
    here.on('message', (message, from) => here.send(message, from.port, from.address));
    const local = await bound('udp4');
    await new Promise((resolve) => local.connect(portOf(here), '127.0.0.1', resolve));
    say('local of loopback', local.address().address);
    await echo(local, 'loopback', 'six');
    answer = next(local);
    await tell(helper, { to: mill4, port: portOf(local), text: 'not for this peer' });
    say('not let in', await answer);
    local.disconnect();
    await echo(local, 'loopback, then the peer', 'seven', kEcho4, peer4);
    const six = create('udp6');
    await new Promise((resolve) => six.connect(kEcho6, peer6, resolve));
    say('local6', six.address().address);
    await echo(six, 'connected6', 'eight');
  },

  async refused() {
    for (const [type, host] of [
      ['udp4', peer4],
      ['udp6', peer6],
      ['udp4', '127.0.0.1'],
    ]) {
      const socket = create(type);
      await new Promise((resolve) => socket.connect(9, host, resolve));
      const failed = once(socket, 'error');
      socket.send('x');
      const [error] = await failed;
      say(host, facts(error));
      await sleep(50);
      await tried(`${host} goes on`, () => send(socket, 'x'));
      await once(socket, 'error');
      const loose = create(type);
      loose.on('error', (later) => say('unconnected hears', facts(later)));
      await tried(`${host} unconnected`, () => send(loose, 'x', 9, host));
      await sleep(150);
    }
  },

  async sizes() {
    for (const [type, port, host, sizes] of [
      ['udp4', kEcho4, peer4, [0, 1, 1471, 1472, 1473, 2000, 9000, 65507, 65508, 70000]],
      ['udp6', kEcho6, peer6, [0, 1, 1451, 1452, 1453, 2000, 9000, 65507, 65527, 65528]],
    ]) {
      const socket = await bound(type);
      for (const size of sizes) await echo(socket, `${type} ${size}`, Buffer.alloc(size, size & 0xff), port, host);
      const joined = create(type);
      await new Promise((resolve) => joined.connect(port, host, resolve));
      for (const size of sizes) await echo(joined, `${type} connected ${size}`, Buffer.alloc(size, size & 0xff));
      joined.close();
    }
  },

  async forms() {
    const socket = await bound('udp4');
    const to = [kEcho4, peer4];
    await echo(socket, 'string', 'grüße', ...to);
    await echo(socket, 'buffer', Buffer.from('buffer'), ...to);
    await echo(socket, 'offset', Buffer.from('0123456789'), 2, 5, ...to);
    await echo(socket, 'list', ['a', Buffer.from('b'), new Uint8Array([99]), new DataView(new ArrayBuffer(1))], ...to);
    await echo(socket, 'empty list', [], ...to);
    await echo(socket, 'words', new Uint16Array([0x4142, 0x4344]), ...to);
    await tried('number', () => send(socket, 5, ...to));
    await tried('list of numbers', () => send(socket, [5], ...to));
    await tried('offset beyond', () => send(socket, Buffer.from('0123'), 5, 1, ...to));
    await tried('length beyond', () => send(socket, Buffer.from('0123'), 2, 5, ...to));
    await tried('port 0', () => send(socket, 'x', 0, peer4));
    await tried('port 65536', () => send(socket, 'x', 65536, peer4));
    await tried('no port', () => send(socket, 'x'));
    await tried('address a number', () => send(socket, 'x', kEcho4, 5));
    await tried('a name', () =>
      send(socket, 'x', kEcho4, 'no.such.name.invalid').catch((error) =>
        Promise.reject(
          Object.assign(error, { message: error.message.replace('EAI_AGAIN', 'ENOTFOUND'), code: 'ENOTFOUND' }),
        ),
      ),
    );
    const silent = create('udp4');
    silent.on('error', (error) => say('without callback', facts(error)));
    silent.send('x', kEcho4, '::1');
    silent.send(Buffer.alloc(65508), kEcho4, peer4);
    await sleep(50);
    const looked = create({
      type: 'udp4',
      lookup: (host, _options, done) => done(null, host === 'peer.test' ? peer4 : host, 4),
    });
    await echo(looked, 'own lookup', 'one', kEcho4, 'peer.test');
    await echo(looked, 'own lookup of an address', 'two', kEcho4, peer4);
    const here = await bound('udp4', 0, '127.0.0.1');
    here.on('message', (message, from) => here.send(message, from.port, from.address));
    await echo(socket, 'localhost', 'three', portOf(here), 'localhost');
    await echo(socket, 'no address', 'four', portOf(here));
    const order = [];
    const both = new Promise((resolve) => {
      socket.send('five', ...to, () => {
        order.push('callback');
        resolve();
      });
    });
    order.push('returned');
    process.nextTick(() => order.push('tick'));
    await both;
    say('order', order);
    await tried('closed', () => {
      const gone = create('udp4');
      gone.close();
      return send(gone, 'x', ...to);
    });
    await tried('after the end', async () => {
      const last = await bound('udp4');
      last.send('x', ...to);
      last.close();
      await once(last, 'close');
      last.close();
    });
  },

  async options() {
    const socket = create('udp4');
    for (const [what, ...args] of [
      ['setTTL', 5],
      ['setBroadcast', true],
      ['setMulticastTTL', 5],
      ['setMulticastLoopback', true],
      ['setMulticastInterface', mill4],
      ['getRecvBufferSize'],
      ['setRecvBufferSize', 8192],
      ['getSendQueueSize'],
      ['getSendQueueCount'],
    ]) {
      await tried(`unbound ${what}`, () => socket[what](...args));
    }
    await new Promise((resolve) => socket.bind(0, resolve));
    for (const [what, ...args] of [
      ['setTTL', 0],
      ['setTTL', 1],
      ['setTTL', 255],
      ['setTTL', 256],
      ['setTTL', 'x'],
      ['setBroadcast', true],
      ['setBroadcast', false],
      ['setMulticastTTL', 0],
      ['setMulticastTTL', 255],
      ['setMulticastTTL', 256],
      ['setMulticastLoopback', 0],
      ['setMulticastInterface', mill4],
      ['setMulticastInterface', '203.0.113.9'],
      ['setMulticastInterface', 'x'],
      ['getRecvBufferSize'],
      ['getSendBufferSize'],
      ['setRecvBufferSize', 10000],
      ['getRecvBufferSize'],
      ['setRecvBufferSize', 0],
      ['setRecvBufferSize', -1],
      ['setRecvBufferSize', 2 ** 31],
      ['setRecvBufferSize', 2 ** 30],
      ['getRecvBufferSize'],
      ['setSendBufferSize', 20000],
      ['getSendBufferSize'],
      ['getSendQueueSize'],
      ['getSendQueueCount'],
      ['remoteAddress'],
    ]) {
      await tried(`${what} ${args.join()}`, () => socket[what](...args));
    }
    say('self', socket.ref() === socket, socket.unref() === socket, socket.ref() === socket);
    await tried('bad type', () => create('udp5'));
    await tried('no options', () => create());
    await tried('bad size', () => create({ type: 'udp4', recvBufferSize: 'x' }));
    const sized = await bound({ type: 'udp4', recvBufferSize: 9000, sendBufferSize: 9000 });
    say('sized', sized.getRecvBufferSize(), sized.getSendBufferSize());
    const aborter = new AbortController();
    const aborted = create({ type: 'udp4', signal: aborter.signal });
    aborted.bind();
    await once(aborted, 'listening');
    aborter.abort();
    await once(aborted, 'close');
    say('aborted');
  },

  async broadcast() {
    const socket = await bound('udp4');
    for (const to of ['255.255.255.255', '10.77.255.255']) {
      await tried(`${to} without`, () => send(socket, 'x', kEcho4, to));
      const joined = create('udp4');
      const failed = once(joined, 'error').then(([error]) => error);
      const done = new Promise((resolve) => joined.connect(kEcho4, to, resolve));
      const error = await Promise.race([failed, done]);
      say(`${to} connect`, error instanceof Error ? facts(error) : 'ok');
    }
    socket.setBroadcast(true);
    await echo(socket, 'subnet', 'one', kEcho4, '10.77.255.255');
    for (const to of ['10.77.255.255', '255.255.255.255']) {
      const heard = next(socket);
      const helper = await bound('udp4');
      await tell(helper, { to, port: portOf(socket), text: `to ${to}` });
      say('heard', to, await heard);
    }
    socket.setBroadcast(false);
    await tried('without again', () => send(socket, 'x', kEcho4, '10.77.255.255'));
    const own = await bound('udp4', 5002, mill4);
    const heard = next(own);
    await tell(await bound('udp4'), { to: '10.77.255.255', port: 5002, text: 'x' });
    say('bound to the address', await heard);
    const all = await bound('udp4', 5003, '10.77.255.255');
    const all2 = next(all);
    await tell(await bound('udp4'), { to: '10.77.255.255', port: 5003, text: 'bound to broadcast' });
    say('bound to the broadcast address', await all2);
  },

  async multicast() {
    const group = '239.77.1.1';
    const helper = await bound('udp4');
    const socket = await bound('udp4', 5010);
    const hear = async (what, message) => {
      const heard = next(socket);
      await tell(helper, { to: group, port: 5010, ...message });
      say(what, await heard);
    };
    await hear('before', { text: 'one' });
    socket.addMembership(group, mill4);
    await tried('twice', () => socket.addMembership(group, mill4));
    await sleep(50);
    await hear('joined', { text: 'two' });
    await hear('from another', { from: 1, text: 'three' });
    await hear('long', { text: 'x'.repeat(4000) });
    socket.dropMembership(group, mill4);
    await sleep(50);
    await hear('left', { text: 'four' });
    await tried('drop twice', () => socket.dropMembership(group, mill4));
    await tried('no group', () => socket.addMembership('10.77.0.9', mill4));
    await tried('no address', () => socket.addMembership());
    await tried('not an address', () => socket.addMembership('x'));
    await tried('foreign interface', () => socket.addMembership(group, '203.0.113.9'));
    const unbound = create('udp4');
    await tried('unbound', () => unbound.addMembership(group, mill4));
    socket.addMembership(group, mill4);
    await sleep(50);
    // What we send ourselves comes back by the kernel, or not.
    socket.setMulticastInterface(mill4);
    for (const on of [true, false]) {
      socket.setMulticastLoopback(on);
      const own = next(socket);
      await tried(`own, loopback ${on}`, () => send(socket, 'own', 5010, group));
      say('own', await own);
    }
    const grouped = await bound('udp4', 5011, group);
    grouped.addMembership(group, mill4);
    await sleep(50);
    const heard = next(grouped);
    await tell(helper, { to: group, port: 5011, text: 'to the group' });
    say('bound to the group', await heard);
    const unicast = next(grouped);
    await tell(helper, { to: mill4, port: 5011, text: 'to the host' });
    say('bound to the group, unicast', await unicast);
    const connected = await bound('udp4', 5012);
    connected.addMembership(group, mill4);
    await new Promise((resolve) => connected.connect(kEcho4, peer4, resolve));
    await sleep(50);
    for (const from of [0, 1]) {
      const came = next(connected);
      await tell(helper, { from, to: group, port: 5012, text: `connected ${from}` });
      say('connected', from, await came);
    }
  },

  async sources() {
    const group = '232.77.1.1';
    const helper = await bound('udp4');
    const socket = await bound('udp4', 5020);
    const hear = async (what) => {
      await sleep(50);
      const heard = next(socket);
      await tell(helper, { to: group, port: 5020, text: what });
      say(what, await heard);
    };
    await hear('before');
    socket.addSourceSpecificMembership('10.77.9.9', group, mill4);
    await hear('another source');
    socket.addSourceSpecificMembership(peer4, group, mill4);
    await tried('twice', () => socket.addSourceSpecificMembership(peer4, group, mill4));
    await hear('this source');
    await tried('any-source too', () => socket.addMembership(group, mill4));
    socket.dropSourceSpecificMembership(peer4, group, mill4);
    await hear('dropped');
    await tried('drop twice', () => socket.dropSourceSpecificMembership(peer4, group, mill4));
    await tried('no source', () => socket.addSourceSpecificMembership('x', group, mill4));
    await tried('no group', () => socket.addSourceSpecificMembership(peer4, 'x', mill4));
    await tried('no group address', () => socket.addSourceSpecificMembership(peer4, peer4, mill4));
  },

  async multicast6() {
    const group = 'ff05::77:1';
    const on = `${'::'}%${device}`;
    const helper = await bound('udp6');
    const socket = await bound('udp6', 5030);
    const hear = async (what, message) => {
      await sleep(50);
      const heard = next(socket);
      await tell6(helper, { to: group, port: 5030, ...message });
      const came = await heard;
      say(what, came);
    };
    await hear('before', { text: 'one' });
    await tried('join', () => socket.addMembership(group, on));
    await tried('twice', () => socket.addMembership(group, on));
    await hear('joined', { text: 'two' });
    await hear('long', { text: 'x'.repeat(4000) });
    await tried('drop', () => socket.dropMembership(group, on));
    await hear('left', { text: 'three' });
    await tried('source', () => socket.addSourceSpecificMembership(peer6, 'ff35::77:2', on));
    await sleep(50);
    const heard = next(socket);
    await tell6(helper, { to: 'ff35::77:2', port: 5030, text: 'of this source' });
    say('this source', await heard);
    await tried('interface', () => socket.setMulticastInterface(on));
    await tried('no interface', () => socket.setMulticastInterface('::%nothing0'));
    const own = next(socket);
    await tried('join again', () => socket.addMembership(group, on));
    await tried('own', () => send(socket, 'own', 5030, group));
    const came = await own;
    say('own', came?.[0]);
  },

  async sharing() {
    const first = await bound({ type: 'udp4', reuseAddr: true }, 5040);
    const second = await bound({ type: 'udp4', reuseAddr: true }, 5040);
    const helper = await bound('udp4');
    const ask = async (what, to) => {
      const one = next(first);
      const two = next(second);
      await tell(helper, { to, port: 5040, text: what });
      say(what, 'first', await one, 'second', await two);
    };
    await ask('unicast', mill4);
    await ask('broadcast', '10.77.255.255');
    first.addMembership('239.77.1.2', mill4);
    second.addMembership('239.77.1.2', mill4);
    await sleep(50);
    await ask('multicast', '239.77.1.2');
    await echo(first, 'first sends', 'x', kEcho4, peer4);
    second.close();
    await once(second, 'close');
    const one = next(first);
    await tell(helper, { to: mill4, port: 5040, text: 'alone' });
    say('alone', await one);
    await tried('not shared', () => bound('udp4', 5040));
    const wildcard = await bound('udp4', 5041);
    await tried('narrower', () => bound('udp4', 5041, mill4));
    wildcard.close();
    const four = await bound('udp4', 5042);
    await tried('both families', () => bound('udp6', 5042));
    await tried('six only', async () => (await bound({ type: 'udp6', ipv6Only: true }, 5042)).address().address);
    await echo(four, 'beside it', 'x', kEcho4, peer4);
    const dual = await bound('udp6', 5043);
    const heard = next(dual);
    await tell(helper, { to: mill4, port: 5043, text: 'v4 on v6' });
    say('dual stack', await heard);
    await echo(dual, 'answers', 'x', kEcho4, `::ffff:${peer4}`);
    await tried('exclusive', async () =>
      (await bound('udp4', { port: 5044, exclusive: true, address: mill4 })).address(),
    );
    if ('reusePort' in dgram.Socket.prototype || Number(process.versions.node.split('.')[0]) >= 23) {
      const spread = await bound({ type: 'udp4', reusePort: true }, 5045);
      await tried('spread', async () => (await bound({ type: 'udp4', reusePort: true }, 5045)).address().port);
      await echo(spread, 'spread', 'x', kEcho4, peer4);
    }
  },
};

programs[name]().then(
  () => {
    for (const socket of open) {
      try {
        socket.close();
      } catch {}
    }
    say('end');
  },
  (error) => {
    say('failed', error.stack);
    process.exit(1);
  },
);
setTimeout(() => {
  say('too late');
  process.exit(2);
}, 25000).unref();
