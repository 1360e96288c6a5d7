/** The table of docs/options.md is that of src/options/table.ts, line for line. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { optionsText } from '../../../src/cli/help.js';
import { OPTION_TABLE, optionRow } from '../../../src/options/table.js';

const OPTIONS = join(import.meta.dirname, '../../../docs/options.md');
const HEAD = '| option | meaning |\n|---|---|\n';

const expected = OPTION_TABLE.flatMap(({ name, shown }) => {
  if (!shown) return [];
  const form = (shown.usage ?? name).replaceAll('|', '\\|');
  return [`| \`${form}\` | ${shown.docs ?? shown.help} |`];
});

describe('the table of options', () => {
  it('is the one in docs/options.md: copy what is missing there', () => {
    const readme = readFileSync(OPTIONS, 'utf8');
    const from = readme.indexOf(HEAD) + HEAD.length;
    expect(from).toBeGreaterThan(HEAD.length);
    const table = readme.slice(from, readme.indexOf('\n\n', from)).split('\n');
    expect(table).toEqual(expected);
  });

  it('is shown by help mount', () => {
    const help = optionsText().replaceAll(/\s+/g, ' ');
    const missing = OPTION_TABLE.filter(({ shown }) => shown && !help.includes(shown.help));
    expect(missing).toEqual([]);
  });

  it('has each name once', () => {
    const names = OPTION_TABLE.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
  });

  it('leaves the x- words to mount(8), and knows no others', () => {
    expect(optionRow('x-systemd.automount')).toBeDefined();
    expect(optionRow('X-mount.mkdir')).toBeDefined();
    expect(optionRow('nonsense')).toBeUndefined();
  });
});
