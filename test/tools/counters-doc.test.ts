import t from 'tap';
import { loadTool } from './tool';

interface CountersDoc {
  readCounters(root: string): [group: string, name: string, meaning: string][];
  countersAsMarkdown(root: string): string;
}

const header = `#define MILLRACE_A_COUNTERS(X) \\
  X(one, "first \\"thing\\"")  \\
  X(two, "a long "             \\
         "meaning")
struct C {};
`;

const stack = `template <typename V> void each_counter(V&& visit) const {
#define X(name, meaning) visit("a", #name, meaning, counters_.name);
  MILLRACE_A_COUNTERS(X)
#undef X
  visit("b", "three", "of "
                      "its own", 3);
}
`;

t.test('lists and counters of the stack itself, in its order', async (t) => {
  const { readCounters, countersAsMarkdown } = await loadTool<CountersDoc>('counters-doc.mjs');
  const root = t.testdir({ native: { a: { 'counters.h': header }, stack: { 'stack.h': stack } } });
  t.same(readCounters(root), [
    ['a', 'one', 'first "thing"'],
    ['a', 'two', 'a long meaning'],
    ['b', 'three', 'of its own'],
  ]);
  t.match(countersAsMarkdown(root), /\n## a\n\n\| counter \| meaning \|\n\|---\|---\|\n\| `one` \| first "thing" \|\n/);
});

t.test('a list that is not found is an error', async (t) => {
  const { readCounters } = await loadTool<CountersDoc>('counters-doc.mjs');
  const root = t.testdir({ native: { stack: { 'stack.h': stack } } });
  t.throws(() => readCounters(root), { message: /no entries of MILLRACE_A_COUNTERS/ });
});
