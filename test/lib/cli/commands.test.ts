import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { optionsAsMarkdown, printedOptions } from '../../../lib/cli/print-options';
import { OPTION_NAMES } from '../../../lib/options';
import { millrace } from './cli';

const root = join(__dirname, '..', '..', '..', '..');

t.test('help and version', async (t) => {
  const help = millrace(['help']);
  t.match(help, { code: 0, stderr: '' });
  for (const word of ['millrace run', 'millrace doctor', 'millrace options']) t.ok(help.stdout.includes(word), word);
  t.same(millrace(['--help']), help);
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
  t.match(millrace(['--version']), { code: 0, stdout: `${version}\n` });
});

t.test('a command line that cannot be understood ends with 2', async (t) => {
  t.match(millrace([]), { code: 2, stdout: '', stderr: /there is no command/ });
  t.match(millrace(['rnu', 'x']), { code: 2, stderr: /no command 'rnu'; did you mean run\?/ });
  t.match(millrace(['options', '--jason']), { code: 2, stderr: /'--jason'/ });
  t.match(millrace(['doctor', 'eth0']), { code: 2, stderr: /doctor takes no argument/ });
});

t.test('options, as text, JSON and Markdown', async (t) => {
  const json = JSON.parse(millrace(['options', '--json']).stdout) as { name: string; variable: string }[];
  t.same(
    json.map((option) => option.name),
    OPTION_NAMES,
  );
  t.same(json, printedOptions());
  const text = millrace(['options']).stdout;
  for (const { variable } of json) t.ok(text.includes(`\n${variable} `) || text.startsWith(`${variable} `), variable);
  t.equal(millrace(['options', '--markdown']).stdout, optionsAsMarkdown());
});

t.test('every row of the Markdown table has four cells', async (t) => {
  const rows = optionsAsMarkdown()
    .split('\n')
    .filter((line) => line.startsWith('| `MILLRACE'));
  t.equal(rows.length, OPTION_NAMES.length);
  for (const row of rows) t.equal(row.replaceAll('\\|', '').split('|').length, 6, row.slice(0, 40));
});
