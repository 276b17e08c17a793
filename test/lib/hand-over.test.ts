import t from 'tap';
import { handOver } from '../../lib/index';

const INSTALLED = Symbol.for('millrace.facade.installed');

/** What the facade answers; undefined: there is none. */
function answer(errno: number | null | undefined): void {
  const value = errno === undefined ? undefined : { handOver: () => errno };
  Object.defineProperty(globalThis, INSTALLED, { value, configurable: true });
}

t.test('without a facade every socket is the kernel’s', async (t) => {
  t.equal(handOver({}), false);
  answer(undefined);
  t.equal(handOver({}), false);
});

t.test('what the facade answers', async (t) => {
  answer(null);
  t.equal(handOver({}), false, 'it was the kernel’s');
  answer(0);
  t.equal(handOver({}), true);
  answer(-1);
  const expected = { errno: -1, code: 'EPERM', syscall: 'handOver', message: 'handOver EPERM: needs CAP_NET_ADMIN' };
  t.throws(() => handOver({}), expected);
  answer(-107);
  t.throws(() => handOver({}), { code: 'ENOTCONN', message: /not connected yet, or no longer/ });
  answer(-105);
  t.throws(() => handOver({}), { code: 'ENOBUFS', message: 'handOver ENOBUFS' });
});

t.test('another copy of the package, of a time when the facade said less', async (t) => {
  Object.defineProperty(globalThis, INSTALLED, { value: true, configurable: true });
  t.equal(handOver({}), false);
});
