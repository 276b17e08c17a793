// SPDX-License-Identifier: MIT
// Everything that can go wrong with a connection over a wire, as a plain program sees it: one line a fact, and the same
// lines under plain Node and under millrace. Nothing here knows of millrace.
//   failures.js <own-ipv4> <own-ipv6> <peer-ipv4> <peer-ipv6>
'use strict';

const net = require('node:net');

const [mill4, mill6, peer4, peer6] = process.argv.slice(2);
const kCloser = 7000; // takes a connection, and does with it what it is told by a line
const kNobody = 7999;

const shown = (value) => (typeof value === 'number' && value > 30_000 ? 'PORT' : value);

/** The families side by side, each in its own order. */
const logs = [[], []];

function facts(error) {
  const own = Object.entries(error).map(([key, value]) => `${key}=${shown(value)}`);
  if (error.errors) own.push(`[${error.errors.map(facts)}]`);
  return `${error.constructor.name} "${error.message.replace(/:\d{5}\b/g, ':PORT')}" ${own.join(' ')}`;
}

/** Runs one connection to its close, and says all that it hears. */
function talk(name, options, act) {
  const log = logs[Number(name.startsWith('6'))];
  const say = (text) => log.push(`${name}: ${text}`);
  return new Promise((resolve) => {
    let client;
    try {
      client = net.connect(options);
    } catch (error) {
      say(`throws ${facts(error)}`);
      resolve();
      return;
    }
    client.on('connect', () => {
      say(`connect ${client.remoteAddress} ${client.remoteFamily} from ${client.localAddress}`);
      act?.(client, say);
    });
    client.on('data', (data) => say(`data ${data}`));
    client.on('end', () => say('end'));
    client.on('error', (error) => say(facts(error)));
    client.on('close', (hadError) => {
      // How often one has written into what was gone is a matter of when one hears of it.
      say(`close ${hadError} ${client.bytesRead} ${name.includes('writes into') ? 'some' : client.bytesWritten}`);
      resolve();
    });
    client.setTimeout(8000, () => client.destroy(new Error('nothing happens')));
  });
}

function busy(ms) {
  for (const end = performance.now() + ms; performance.now() < end; );
}

const told = (word) => (client) => client.write(`${word}\n`);

/** Writes on until it is told that it cannot. */
function insist(client, say) {
  if (client.destroyed) return;
  const timer = setInterval(() => client.write('x', (error) => error && say(`write ${facts(error)}`)), 20);
  client.on('close', () => clearInterval(timer));
}

async function every(family, own, peer) {
  const to = { host: peer, port: kCloser };
  const near = peer.replace(/2$/, '99');
  await talk(`${family} refused`, { host: peer, port: kNobody });
  await talk(`${family} refused from an address`, { host: peer, port: kNobody, localAddress: own });
  await talk(`${family} nobody has the address`, { host: near, port: kNobody });
  await talk(`${family} no route`, { host: family === 4 ? '203.0.113.9' : '2001:db8::9', port: 80 });
  await talk(`${family} unreachable`, { host: family === 4 ? '10.99.1.1' : 'fd99:1::1', port: 80 });
  await talk(`${family} prohibited`, { host: family === 4 ? '10.99.2.1' : 'fd99:2::1', port: 80 });
  await talk(`${family} black hole`, { host: family === 4 ? '10.99.3.1' : 'fd99:3::1', port: 80 });
  await talk(`${family} not our address`, { ...to, localAddress: family === 4 ? '203.0.113.7' : '2001:db8::7' });
  await talk(`${family} a group`, { host: family === 4 ? '224.0.0.1' : 'ff02::1', port: 80 });
  if (family === 4) await talk('4 broadcast', { host: '10.77.255.255', port: 80 });
  if (family === 4) await talk('4 all ones', { host: '255.255.255.255', port: 80 });
  await talk(`${family} port 0`, { host: peer, port: 0 });
  await talk(`${family} itself`, { host: own, port: kNobody });
  await talk(`${family} goes well`, to, told('end'));
  await talk(`${family} reset`, to, told('reset'));
  await talk(`${family} words and reset`, to, told('last words and reset'));
  // The reset comes in the round of the loop that brought the question, and not with it.
  await talk(`${family} reset for an answer, while busy`, to, (client) => {
    client.write('ask me\n');
    client.once('data', () => client.write('yes', () => busy(100)));
  });
  await talk(`${family} closed with bytes unread`, to, (client) => client.write(`ignore\n${'x'.repeat(5000)}`));
  await talk(`${family} writes into what was closed`, { ...to, allowHalfOpen: true }, (client, say) => {
    client.write('end\n');
    client.on('end', () => insist(client, say));
  });
  await talk(`${family} writes into what was reset`, to, (client, say) => {
    client.pause();
    client.write('reset\n');
    setTimeout(insist, 300, client, say);
    setTimeout(() => client.resume(), 600);
  });
  await talk(`${family} unreachable, by ICMP`, { host: family === 4 ? '10.98.1.1' : 'fd98:1::1', port: 80 });
  await talk(`${family} prohibited, by ICMP`, { host: family === 4 ? '10.98.2.1' : 'fd98:2::1', port: 80 });
  await talk(`${family} one port twice`, { ...to, localPort: 45_001 }, (client, say) => {
    const second = net.connect({ ...to, localPort: 45_001 });
    second.on('error', (error) => {
      say(`second ${facts(error)}`);
      client.write('end\n');
    });
    second.on('connect', () => say('second connect'));
  });
}

async function run() {
  await Promise.all([every(4, mill4, peer4), every(6, mill6, peer6)]);
  await talk('every address fails', {
    host: 'a.test',
    port: kNobody,
    autoSelectFamily: true,
    lookup: (_name, _options, done) =>
      done(null, [
        { address: peer6, family: 6 },
        { address: peer4, family: 4 },
      ]),
  });
  for (const line of logs.flat()) console.log(line);
  console.log('end');
}

void run();
