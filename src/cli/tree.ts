/** All commands with their flags, for what is made from them: completions and the manual. */
import { type Command, shownFlags } from './frame/command.js';
import type { Flags } from './frame/flags.js';
import { ALL_WORDS } from './words.js';

export interface Leaf {
  /** `image ls` */
  readonly name: string;
  readonly spec: Command;
  readonly flags: Flags;
}

export interface Tree {
  readonly leaves: readonly Leaf[];
  /** Words below a word: `image` → `ls`, `rm`, ...; '' → all commands. */
  readonly below: Readonly<Record<string, readonly string[]>>;
  readonly abouts: Readonly<Record<string, string>>;
}

export async function commandTree(): Promise<Tree> {
  const leaves: Leaf[] = [];
  const below: Record<string, readonly string[]> = {};
  const abouts: Record<string, string> = {};
  const walk = async (words: typeof ALL_WORDS, above: string): Promise<void> => {
    below[above] = Object.keys(words).sort();
    for (const word of below[above]) {
      const name = above === '' ? word : `${above} ${word}`;
      const found = await words[word]();
      abouts[name] = found.about;
      if ('words' in found) await walk(found.words, name);
      else leaves.push({ name, spec: found, flags: shownFlags(found) });
    }
  };
  await walk(ALL_WORDS, '');
  return { leaves, below, abouts };
}
