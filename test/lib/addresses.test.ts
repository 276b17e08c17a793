import { isIPv6 } from 'node:net';
import { test } from 'tap';
import { formatAddress, isMapped, parseAddress, putAddress } from '../../lib/addresses';

function roundTrip(text: string, mapped = false): string {
  const words = new Uint32Array(4);
  putAddress(words, 0, parseAddress(text));
  return formatAddress(words, 0, mapped);
}

test('addresses survive the way to the stack and back, in their canonical text', async (t) => {
  const same = [
    '0.0.0.0',
    '127.0.0.1',
    '255.255.255.255',
    '10.1.2.3',
    '::',
    '::1',
    'fe80::1',
    '2001:db8::8:800:200c:417a',
  ];
  for (const text of same) t.equal(roundTrip(text), text);
  t.equal(roundTrip('2001:0DB8:0:0:1:0:0:1'), '2001:db8::1:0:0:1', 'RFC 5952: the first of two equal runs');
  t.equal(roundTrip('2001:db8:0:1:1:1:1:1'), '2001:db8:0:1:1:1:1:1', 'RFC 5952: a single zero group stays');
  t.equal(roundTrip('::ffff:1.2.3.4'), '1.2.3.4');
  t.equal(roundTrip('1.2.3.4', true), '::ffff:1.2.3.4', 'as a dual-stack socket sees it');
  t.equal(roundTrip('64:ff9b::192.0.2.33'), '64:ff9b::c000:221');
  t.equal(roundTrip('fe80::1%eth9'), 'fe80::1', 'the zone is not part of the address');
});

test('bytes lie in memory as on the wire', async (t) => {
  const words = new Uint32Array(4);
  putAddress(words, 0, parseAddress('1.2.3.4'));
  t.same([...new Uint8Array(words.buffer)], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 1, 2, 3, 4]);
  t.ok(isMapped(words, 0));
  putAddress(words, 0, parseAddress('102:304:506:708:90a:b0c:d0e:f10'));
  t.same([...new Uint8Array(words.buffer)], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);
  t.notOk(isMapped(words, 0));
});

test('any IPv6 address: the text is valid and stands for the same bytes', async (t) => {
  let seed = 12345;
  const next = (): number => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    return seed;
  };
  for (let i = 0; i < 2000; i++) {
    const words = Uint32Array.from({ length: 4 }, () =>
      next() % 3 === 0 ? 0 : next() & (next() % 2 ? 0xffffffff : 0xff0000ff),
    );
    if (isMapped(words, 0)) continue;
    const text = formatAddress(words, 0);
    if (!isIPv6(text)) t.fail(`${text} is not an address`);
    const again = new Uint32Array(4);
    putAddress(again, 0, parseAddress(text));
    if (again.join() !== words.join()) t.fail(`${text} came back different`);
  }
  t.pass('2000 addresses');
});
