/** One command of the command line: its words, flags and arguments as a table, and what it does. */
import { writeSync } from 'node:fs';
import { FlagError, type Flags, flagHelp, parseFlags, textOf, type Values } from './flags.js';
import { UserError } from '../../base/errno.js';
import { print } from './output.js';

/** Flags that stand before the command, or after it: they concern the store. */
interface Globals {
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
  /** False: it has nothing to do with a store, and takes no flags of one. */
  readonly ofStore?: boolean;
  /** Resolves with the exit status. */
  run(input: Input<F>): Promise<number>;
}

/** A word with words below it, as `image`. */
export interface Group {
  readonly about: string;
  readonly words: Words;
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

function usageOf(name: string, { usage, about, flags, ofStore }: Command): string {
  const shown = { ...flags, ...(ofStore === false ? {} : GLOBAL_FLAGS) };
  const line = `Usage:  stratafs ${usageLine(name, usage)}`;
  return `${line}\n\n${about}\n\nOptions:\n${flagHelp(shown)}`;
}

/** The usage under the name it was called by: `rmi` and `image rm` are one command. */
function usageLine(name: string, usage: string): string {
  const rest = /(?<= )(\[|[A-Z]).*$/.exec(usage)?.[0] ?? '';
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

function groupHelp(name: string, group: Group): string {
  const words = Object.keys(group.words)
    .map((word) => `  ${word}\n`)
    .join('');
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

async function runCommand(
  name: string,
  spec: Command,
  argv: readonly string[],
  before: Globals,
): Promise<number> {
  const store = spec.ofStore === false ? {} : GLOBAL_FLAGS;
  if (spec.ofStore === false && Object.keys(before).length > 0) {
    throw new FlagError(`stratafs ${name} takes no flags of the store`);
  }
  const all: Flags = { ...store, ...HELP, ...spec.flags };
  const { values, given, args } = parseFlags(all, argv, spec.interspersed ?? true);
  if (given.has('help')) {
    print(usageOf(name, spec));
    return 0;
  }
  const [least, most] = spec.args;
  if (args.length < least || args.length > most) {
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
      print(groupHelp(name, found));
      return 0;
    }
    if (Object.hasOwn(found.words, next)) return await dispatch(found.words, rest, globals, name);
    writeSync(2, `stratafs: '${textOf(next)}' is not a command of stratafs ${name}.\n\n`);
    writeSync(2, groupHelp(name, found));
    return 1;
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
      writeSync(2, `stratafs: ${error.message}\n`);
      status = 1;
    }
  }
  return status;
}
