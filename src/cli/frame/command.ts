/** One command of the command line: its words, flags and arguments as a table, and what it does. */
import { writeSync } from 'node:fs';
import { UsageError, UserError } from '../../base/errno.js';
import { nearest } from '../../options/nearest.js';
import { FlagError, type Flags, flagHelp, parseFlags, textOf, type Values } from './flags.js';
import { print, sayError } from './output.js';
import { inColumns, wrap } from './wrap.js';

/** Flags that stand before the command, or after it: they concern the store. */
export interface Globals {
  readonly root?: string;
  readonly sync?: boolean;
}

interface Input<F extends Flags> {
  readonly values: Values<F>;
  readonly given: ReadonlySet<string>;
  /** As text. */
  readonly args: readonly string[];
  /** As bytes (latin1), for paths. */
  readonly rawArgs: readonly string[];
  readonly globals: Globals;
}

export interface Command<F extends Flags = Flags> {
  /** `pull [OPTIONS] NAME[:TAG|@DIGEST]`, as after `Usage:  stratafs `. */
  readonly usage: string;
  /** One line. */
  readonly about: string;
  readonly flags: F;
  /** How many arguments: least and most. */
  readonly args: readonly [least: number, most: number];
  /** False: what follows the first argument belongs to the container's command. */
  readonly interspersed?: boolean;
  /** True: no command of the store. It has no store's flags, and a wrong command line exits with 2. */
  readonly plain?: boolean;
  /** True: all arguments are the command's own, flags too. */
  readonly verbatim?: boolean;
  /** Further paragraphs of the help, and of the manual. */
  readonly notes?: readonly string[];
  /** Resolves with the exit status. */
  run(input: Input<F>): Promise<number>;
}

/** A word with words below it, as `image`. */
export interface Group {
  readonly about: string;
  readonly words: Words;
  /** As that of a command. */
  readonly plain?: boolean;
}

/** A command's module is loaded when it is called, not before: start-up stays short. */
export type Words = Readonly<Record<string, () => Promise<Command | Group>>>;

/** Types a command's `run` by its flags, and forgets that type for the table of commands. */
export const command = <const F extends Flags>(spec: Command<F>): Command => spec;

const GLOBAL_FLAGS = {
  root: { kind: 'path', help: 'Where the store lies (default /var/lib/stratafs, or in $HOME)' },
  'no-sync': {
    kind: 'bool',
    help: 'Do not wait for the disk: a power loss may cost whole objects',
  },
} as const satisfies Flags;

const HELP = { help: { kind: 'bool', help: 'Print usage' } } as const satisfies Flags;

const HELP_FLAG = {
  help: { kind: 'bool', short: 'h', help: 'Print this text' },
} as const satisfies Flags;

/** The flags that the help shows. */
export const shownFlags = ({ flags, plain }: Command): Flags =>
  plain ? { ...flags, ...HELP_FLAG } : { ...flags, ...GLOBAL_FLAGS };

/** The help of a command, in 80 columns. `name`: how it was called. */
export function usageOf(name: string, spec: Command): string {
  const line = wrap(`Usage:  stratafs ${usageLine(name, spec.usage)}`, '          ');
  const notes = (spec.notes ?? []).map((note) => `\n${wrap(note)}`).join('');
  return `${line}\n${wrap(spec.about)}${notes}\nOptions:\n${flagHelp(shownFlags(spec))}`;
}

/** The usage under the name it was called by: `rmi` and `image rm` are one command. */
export function usageLine(name: string, usage: string): string {
  const rest = /(?<= )([[<{-]|[A-Z]).*$/.exec(usage)?.[0] ?? '';
  return `${name} ${rest}`.trim();
}

function wrongCount(name: string, spec: Command, count: number): string {
  const [least, most] = spec.args;
  const plural = (n: number): string => `${n} argument${n === 1 ? '' : 's'}`;
  const wants =
    least === most
      ? least === 0
        ? 'accepts no arguments'
        : `requires exactly ${plural(least)}`
      : count < least
        ? `requires at least ${plural(least)}`
        : `requires at most ${plural(most)}`;
  const usage = `Usage:  stratafs ${usageLine(name, spec.usage)}`;
  return `"stratafs ${name}" ${wants}.\nSee 'stratafs ${name} --help'.\n\n${usage}\n\n${spec.about}\n`;
}

/** Where the second column of a group's help begins. */
const GROUP_WIDTH = 14;

/** The help of a word with words below it. */
export async function groupHelp(name: string, group: Group): Promise<string> {
  const lines = Object.entries(group.words).map(async ([word, load]) =>
    inColumns(`  ${word}`, (await load()).about, GROUP_WIDTH),
  );
  const words = (await Promise.all(lines)).join('');
  return `Usage:  stratafs ${name} COMMAND\n\n${group.about}\n\nCommands:\n${words}\nRun 'stratafs ${name} COMMAND --help' for more information on a command.\n`;
}

/** Flags of the store before the first word; returns what follows them. Throws FlagError. */
export function takeGlobals(argv: readonly string[]): {
  globals: Globals;
  rest: readonly string[];
} {
  const { values, args } = parseFlags(GLOBAL_FLAGS, argv, false);
  return { globals: globalsOf(values), rest: args };
}

function globalsOf(values: Values<typeof GLOBAL_FLAGS>): Globals {
  return {
    ...(values.root === undefined ? {} : { root: textOf(values.root) }),
    ...(values['no-sync'] ? { sync: false } : {}),
  };
}

/** Throws FlagError; of a plain command UsageError, which says what was meant. */
function parse(name: string, spec: Command, all: Flags, argv: readonly string[]) {
  try {
    return parseFlags(all, argv, spec.interspersed ?? true);
  } catch (error) {
    if (!(error instanceof FlagError) || !spec.plain) throw error;
    const unknown = /^unknown flag: --(.*)$/.exec(error.message)?.[1];
    const near = unknown === undefined ? undefined : nearest(unknown, Object.keys(all));
    const hint = near === undefined ? `see stratafs help ${name}` : `did you mean --${near}?`;
    throw new UsageError(`${error.message}: ${hint}`);
  }
}

const plainCount = (name: string, spec: Command): string =>
  `${name} is called otherwise: stratafs ${usageLine(name, spec.usage)}`;

async function runCommand(
  name: string,
  spec: Command,
  argv: readonly string[],
  before: Globals,
): Promise<number> {
  if (spec.plain && Object.keys(before).length > 0) {
    throw new UsageError(`${name} takes no flags of the store`);
  }
  const all: Flags = spec.plain
    ? { ...HELP_FLAG, ...spec.flags }
    : { ...GLOBAL_FLAGS, ...HELP, ...spec.flags };
  const { values, given, args } = spec.verbatim
    ? { ...parseFlags(all, []), args: argv }
    : parse(name, spec, all, argv);
  if (given.has('help')) {
    print(usageOf(name, spec));
    return 0;
  }
  const [least, most] = spec.args;
  if (args.length < least || args.length > most) {
    if (spec.plain) throw new UsageError(plainCount(name, spec));
    writeSync(2, wrongCount(name, spec, args.length));
    return 1;
  }
  const own = globalsOf(values as unknown as Values<typeof GLOBAL_FLAGS>);
  const globals = { ...before, ...own };
  return spec.run({ values, given, args: args.map(textOf), rawArgs: args, globals });
}

/** Runs the command that `argv` begins with, in `words`; resolves with the exit status. */
export async function dispatch(
  words: Words,
  argv: readonly string[],
  globals: Globals,
  above = '',
): Promise<number> {
  const [word, ...rest] = argv;
  const name = above === '' ? word : `${above} ${word}`;
  const found = await words[word]();
  try {
    if (!('words' in found)) return await runCommand(name, found, rest, globals);
    const next = rest.at(0);
    if (next === undefined || next === '--help' || next === '-h') {
      print(await groupHelp(name, found));
      return 0;
    }
    if (Object.hasOwn(found.words, next)) return await dispatch(found.words, rest, globals, name);
    const near = nearest(textOf(next), Object.keys(found.words));
    sayError(
      `'${textOf(next)}' is not a command of stratafs ${name}${near === undefined ? '' : `: did you mean ${near}?`}`,
    );
    writeSync(2, `\n${await groupHelp(name, found)}`);
    return found.plain ? 2 : 1;
  } catch (error) {
    if (!(error instanceof FlagError)) throw error;
    writeSync(2, `${error.message}\nSee 'stratafs ${name} --help'.\n`);
    return 125;
  }
}

/**
 * Runs `act` on each of several arguments, as Docker does: a failure is reported, the others are
 * still served, and the exit status is 1.
 */
export async function forEach(
  args: readonly string[],
  act: (arg: string) => Promise<void>,
): Promise<number> {
  let status = 0;
  for (const arg of args) {
    try {
      await act(arg);
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      sayError(error.message);
      status = 1;
    }
  }
  return status;
}
