/** The planted faults of test/mutations still fit the sources; `npm run mutations` shows that they are caught. */
import t from 'tap';
import { loadTool } from './tool';

void t.test('every planted fault is found exactly once in its source', async (t) => {
  const { stale } = await loadTool<{ stale: () => string[] }>('mutations.mjs');
  t.strictSame(stale(), []);
});
