import t from 'tap';
import { loadTool } from './tool';

interface Counts {
  passed: number;
  failed: number;
  skipped: string[];
}

async function read(output: string, code: number): Promise<Counts> {
  const { readTap } = await loadTool<{ readTap(output: string, code: number): Counts }>('test-groups.mjs');
  return readTap(output, code);
}

t.test('what a test file printed is counted as tap counts it', async (t) => {
  t.same(await read('TAP version 14\nok 1 - a\n1..1\n# { total: 1, pass: 1 }\n', 0), {
    passed: 1,
    failed: 0,
    skipped: [],
  });
  t.same(await read('not ok 1 - a\n1..1\n# { total: 3, pass: 1, fail: 2 }\n', 1), {
    passed: 1,
    failed: 2,
    skipped: [],
  });
  const skipped = '    ok 1 - deep # SKIP why\nok 2 - flat # SKIP not here\n1..2\n# { total: 3, pass: 1, skip: 2 }\n';
  t.same(await read(skipped, 0), { passed: 1, failed: 0, skipped: ['deep: why', 'flat: not here'] });
  t.same(await read('1..0 # no root\n# { total: 1, pass: 0, skip: 1 }\n', 0), {
    passed: 0,
    failed: 0,
    skipped: ['the whole file: no root'],
  });
});

t.test('what ended badly is a failure, whatever it printed', async (t) => {
  t.match(await read('ok 1 - a\n1..1\n# { total: 1, pass: 1 }\n', 139), { failed: 1 }, 'a crash at the end');
  t.match(await read('ok 1 - a\n', 0), { failed: 1 }, 'no plan, no summary');
  t.match(await read('', 124), { failed: 1 }, 'too late');
  t.match(await read('1..0\n# { total: 0, pass: 0 }\n', 0), { failed: 1 }, 'nothing was tested');
});
