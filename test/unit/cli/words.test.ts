import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it, test } from 'vitest';
import { UsageError } from '../../../src/base/errno.js';
import { completionText } from '../../../src/cli/completion.js';
import { groupHelp, usageOf } from '../../../src/cli/frame/command.js';
import { helpText, sections } from '../../../src/cli/help.js';
import { manualText } from '../../../src/cli/manual.js';
import { commandTree } from '../../../src/cli/tree.js';
import { ALIASES, ALL_WORDS, commandOf, SECTIONS, WORDS } from '../../../src/cli/words.js';
import { OPTION_TABLE } from '../../../src/options/table.js';
import { REPOSITORY } from '../../support/root.js';
import { mustRun, scratch } from '../../support/run.js';

test('the launcher leaves to Node what are words of the store', () => {
  const header = readFileSync(join(REPOSITORY, 'native/launcher_words.h'), 'utf8');
  const list = header.slice(header.indexOf('kStoreWords[] = {'), header.indexOf('};'));
  const words = [...list.matchAll(/"([a-z-]+)"/g)].map(([, word]) => word);
  expect(words).toEqual(Object.keys(WORDS).sort());
});

describe('what is typed', () => {
  const refused: readonly (readonly [argv: string[], message: string])[] = [
    [[], 'nothing to mount'],
    [['unmout', '/mnt'], "'unmout' is no command: did you mean unmount?"],
    [['/some/where'], 'a mount needs options'],
    [['--jason'], "unknown option '--jason'"],
    [['histroy'], 'did you mean history?'],
  ];
  it.each(refused)('%j is refused as a wrong command line', (argv, message) => {
    expect(() => commandOf(argv)).toThrow(UsageError);
    expect(() => commandOf(argv)).toThrow(message);
  });

  it('is a mount when it has -o, whatever its words', () => {
    for (const argv of [
      ['diff', '/mnt', '-o', 'lowerdir=/a'],
      ['-olowerdir=/a', 'stats'],
      ['none', '/mnt', '-sno', 'ro'],
      ['-f', '/mnt', '-o', 'lowerdir=/a'],
    ]) {
      expect(commandOf(argv)).toBeUndefined();
    }
  });
});

describe('the texts that are made from the tables', () => {
  it('fit 80 columns', async () => {
    const { leaves, below } = await commandTree();
    const texts = [await helpText(), ...leaves.map(({ name, spec }) => usageOf(name, spec))];
    for (const name of Object.keys(below).filter((above) => above !== '')) {
      const group = await ALL_WORDS[name]();
      if ('words' in group) texts.push(await groupHelp(name, group));
    }
    const wide = texts.flatMap((text) => text.split('\n').filter((line) => line.length > 80));
    expect(wide).toEqual([]);
  });

  it('name every command once in the help', async () => {
    const shown = Object.values(sections()).flat();
    expect(shown.concat(ALIASES).sort()).toEqual(Object.keys(ALL_WORDS).sort());
    expect(
      Object.values(SECTIONS)
        .flat()
        .filter((word) => ALIASES.includes(word)),
    ).toEqual([]);
    const help = await helpText();
    for (const word of shown) expect(help).toContain(`\n  ${word} `);
  });

  it('name every command, flag and mount option in the manual', async () => {
    const manual = (await manualText('1.2.3')).replaceAll('\\-', '-');
    const { leaves } = await commandTree();
    for (const { name, flags } of leaves) {
      if (ALIASES.includes(name)) continue;
      expect(manual).toContain(`.SS stratafs ${name}`);
      for (const flag of Object.keys(flags)) {
        if (!['help', 'root', 'no-sync'].includes(flag)) expect(manual).toContain(`--${flag}`);
      }
    }
    for (const { name, shown } of OPTION_TABLE) if (shown) expect(manual).toContain(name);
  });
});

describe('the completion of bash', () => {
  const base = scratch('completion');
  afterAll(() => {
    rmSync(base, { recursive: true });
  });

  const complete = async (...line: string[]): Promise<string[]> => {
    const script = join(base, 'stratafs.bash');
    writeFileSync(script, await completionText('bash'));
    const words = line.map((word) => `'${word}'`).join(' ');
    const ask = `. ${script}; COMP_WORDS=(${words}); COMP_CWORD=${line.length - 1}; _stratafs; printf '%s\\n' "\${COMPREPLY[@]}"`;
    const { stdout } = await mustRun('bash', ['-c', ask]);
    return stdout.trimEnd().split('\n').sort();
  };

  it('knows commands, words below them and flags', async () => {
    expect(await complete('stratafs', 'unm')).toEqual(['unmount']);
    expect(await complete('stratafs', 'image', 'tr')).toEqual(['tree']);
    expect(await complete('stratafs', 'diff', '--j')).toEqual(['--json']);
    expect(await complete('stratafs', 'image', 'ls', '--quie')).toEqual(['--quiet']);
  });
});

it.each(['bash', 'zsh', 'fish'] as const)(
  'the completion of %s names every command',
  async (shell) => {
    const script = await completionText(shell);
    for (const word of Object.keys(ALL_WORDS)) expect(script).toContain(word);
  },
);
