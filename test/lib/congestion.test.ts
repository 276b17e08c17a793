import t from 'tap';
import { connectionInfo, setCongestion } from '../../lib/index';

const INSTALLED = Symbol.for('millrace.facade.installed');

/** What the facade answers, and what it was asked. */
function answer(errno: number | null): string[] {
  const asked: string[] = [];
  const setCongestion = (_target: object, name: string): number | null => {
    asked.push(name);
    return errno;
  };
  Object.defineProperty(globalThis, INSTALLED, { value: { setCongestion }, configurable: true });
  return asked;
}

t.test('without a facade every socket is the kernel’s', async (t) => {
  t.equal(setCongestion({}, 'bbr'), false);
  t.equal(connectionInfo({}), null);
});

t.test('what the facade answers', async (t) => {
  answer(null);
  t.equal(setCongestion({}, 'bbr'), false, 'it was the kernel’s');
  const asked = answer(0);
  t.equal(setCongestion({}, 'cubic'), true);
  t.equal(setCongestion({}, 'reno'), true);
  t.same(asked, ['cubic', 'newreno'], "TCP_CONGESTION's name for NewReno");
  answer(-107);
  const message = 'setCongestion ENOTCONN: the socket has ended';
  t.throws(() => setCongestion({}, 'bbr'), { errno: -107, code: 'ENOTCONN', syscall: 'setCongestion', message });
});

t.test('wrong arguments never reach it', async (t) => {
  const asked = answer(0);
  t.throws(() => setCongestion({}, 'vegas' as 'bbr'), {
    name: 'TypeError',
    code: 'ERR_INVALID_ARG_VALUE',
    message: "The argument 'name' must be one of: 'cubic', 'newreno', 'bbr'. Received 'vegas'",
  });
  for (const wrong of [undefined, null, 7, 'socket']) {
    const expected = { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' };
    t.throws(() => setCongestion(wrong as unknown as object, 'bbr'), expected, String(wrong));
    t.throws(() => connectionInfo(wrong as unknown as object), expected, String(wrong));
  }
  t.same(asked, []);
});

t.test('another copy of the package, of a time when the facade said less', async (t) => {
  Object.defineProperty(globalThis, INSTALLED, { value: true, configurable: true });
  t.equal(setCongestion({}, 'bbr'), false);
  t.equal(connectionInfo({}), null);
});
