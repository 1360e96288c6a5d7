/** `stratafs help`, `--help` and `--version`. */
import { readFileSync } from 'node:fs';
import { display } from '../base/bytes.js';
import { UsageError } from '../base/errno.js';
import { nearest } from '../options/nearest.js';
import { OPTION_TABLE } from '../options/table.js';
import { type Command, command, type Group, groupHelp, usageOf } from './frame/command.js';
import { print } from './frame/output.js';
import { inColumns, wrap } from './frame/wrap.js';
import { ALIASES, ALL_WORDS, SECTIONS } from './words.js';

const USAGE = `Usage:  stratafs -o OPTIONS MNT        mount a union of layers on MNT
        stratafs COMMAND [ARG...]     'stratafs help COMMAND' tells more
`;

const STORE = 'Images, layers, containers, volumes';

const FLAGS = {
  '-h, --help': 'This text',
  '-V, --version': 'The version',
};

export const ENVIRONMENT = {
  STRATAFS_GRACE: 'Seconds that a host stays after its last mount (default 5)',
  STRATAFS_NODE: 'The node program that runs the host',
  NO_COLOR: 'Print no colours',
};

/** Where the help's second column begins. */
const WIDTH = 18;
const OPTION_WIDTH = 26;

const rows = (entries: Readonly<Record<string, string>>): string =>
  Object.entries(entries)
    .map(([left, text]) => inColumns(`  ${left}`, text, WIDTH))
    .join('');

const firstSentence = (text: string): string => text.split(/[.;:] /)[0];

/** The words under each heading of the help, in its order. */
export function sections(): Readonly<Record<string, readonly string[]>> {
  const placed = new Set([...Object.values(SECTIONS).flat(), ...ALIASES]);
  const there = (words: readonly string[]) => words.filter((word) => word in ALL_WORDS);
  const rest = Object.keys(ALL_WORDS).filter((word) => !placed.has(word));
  const [[first, words], ...others] = Object.entries(SECTIONS);
  return Object.fromEntries([
    [first, there(words)],
    [STORE, rest.sort()],
    ...others.map(([title, each]) => [title, there(each)] as const),
  ]);
}

/** The text of `stratafs --help`. The build writes it to dist/help.txt, from where the launcher prints it. */
export async function helpText(): Promise<string> {
  const parts = Object.entries(sections()).map(async ([title, words]) => {
    const abouts = await Promise.all(
      words.map(async (word) => [word, firstSentence((await ALL_WORDS[word]()).about)]),
    );
    return `\n${title}:\n${rows(Object.fromEntries(abouts) as Record<string, string>)}`;
  });
  const commands = (await Promise.all(parts)).join('');
  return `${USAGE}${commands}\nFlags:\n${rows(FLAGS)}\nEnvironment:\n${rows(ENVIRONMENT)}`;
}

/** The options of a mount, from their table. */
export function optionsText(): string {
  return OPTION_TABLE.flatMap(({ name, shown }) =>
    shown ? [inColumns(`  ${shown.usage ?? name}`, shown.help, OPTION_WIDTH)] : [],
  ).join('');
}

export function versionText(): string {
  const file = new URL('../../package.json', import.meta.url);
  const { version } = JSON.parse(readFileSync(file, 'utf8')) as { readonly version: string };
  return `stratafs ${version}\n`;
}

/** The help of one command: `['image', 'ls']`. Throws UsageError when there is none. */
async function helpOf(words: readonly string[]): Promise<string> {
  let at: Command | Group = { about: '', words: ALL_WORDS, plain: true };
  for (const word of words) {
    const below: Group['words'] = 'words' in at ? at.words : {};
    if (!Object.hasOwn(below, word)) {
      const near = nearest(word, Object.keys(below));
      const hint = near === undefined ? 'see stratafs --help' : `did you mean ${near}?`;
      throw new UsageError(`'${display(word)}' is no command: ${hint}`);
    }
    at = await below[word]();
  }
  const name = words.join(' ');
  const text = 'words' in at ? await groupHelp(name, at) : usageOf(name, at);
  return name === 'mount' ? `${text}\nMount options:\n${optionsText()}` : text;
}

export const help = command({
  usage: 'help [COMMAND...]',
  about: 'Show how a command is called',
  flags: {},
  args: [0, 3],
  plain: true,
  async run({ args }) {
    if (args[0] === 'bench') print(wrap('stratafs bench --help shows the options of the bench.'));
    print(args.length === 0 ? await helpText() : await helpOf(args));
    return 0;
  },
});
