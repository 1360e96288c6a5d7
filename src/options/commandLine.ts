/**
 * The argument vector, in every shape it comes in: ours, mount(8)'s, mount.fuse3's and the engines'.
 * Strings are latin1, one character per byte.
 */
import { parseArgs } from 'node:util';
import { display } from '../base/bytes.js';
import { UserError } from '../base/errno.js';

interface MountCommand {
  readonly kind: 'mount';
  /** Every -o, in order. */
  readonly options: readonly string[];
  readonly mountpoint: string;
  readonly foreground: boolean;
  readonly debug: boolean;
}

/** `path`: a mount point; else `upper`, with the lower layers as they are given. */
export interface DiffCommand {
  readonly kind: 'diff';
  readonly path: string;
  readonly upper?: string;
  readonly lower?: string;
  readonly json: boolean;
  readonly stat: boolean;
  readonly tar: boolean;
  /** Lines end with NUL. */
  readonly zero: boolean;
}

interface HostCommand {
  readonly kind: 'host';
  readonly what: 'status' | 'restart' | 'stop';
  readonly json: boolean;
  /** Of `stop`: with its mounts. */
  readonly force: boolean;
  /** Those of other namespaces too. */
  readonly all: boolean;
}

export type Command =
  | MountCommand
  | { readonly kind: 'help' }
  | { readonly kind: 'version' }
  | { readonly kind: 'mounts'; readonly json: boolean }
  | { readonly kind: 'bench'; readonly args: readonly string[] }
  | DiffCommand
  | { readonly kind: 'stats'; readonly path: string; readonly json: boolean }
  | HostCommand
  /** What hosts have logged; `follow`: and what they log from now on. */
  | { readonly kind: 'logs'; readonly follow: boolean }
  | { readonly kind: 'unmount'; readonly path: string; readonly lazy: boolean };

/** How each flag is written; the launcher (native/launcher.cc) knows the same words. */
const FLAGS = {
  options: { type: 'string', multiple: true, short: 'o' },
  // What mount helpers get from mount(8) and mean nothing here: type, no-mtab, sloppy, verbose.
  type: { type: 'string', multiple: true, short: 't' },
  'no-mtab': { type: 'boolean', short: 'n' },
  sloppy: { type: 'boolean', short: 's' },
  verbose: { type: 'boolean', short: 'v' },
  foreground: { type: 'boolean', short: 'f' },
  debug: { type: 'boolean', short: 'd' },
  help: { type: 'boolean', short: 'h' },
  version: { type: 'boolean', short: 'V' },
  json: { type: 'boolean' },
  lazy: { type: 'boolean', short: 'l' },
  upper: { type: 'string' },
  lower: { type: 'string' },
  stat: { type: 'boolean' },
  tar: { type: 'boolean' },
  null: { type: 'boolean', short: 'z' },
  force: { type: 'boolean' },
  all: { type: 'boolean', short: 'a' },
  follow: { type: 'boolean' },
} as const;

const SUBCOMMANDS: readonly string[] = ['unmount', 'diff', 'mounts', 'stats', 'host', 'logs'];

function parse(argv: readonly string[]) {
  try {
    return parseArgs({ args: [...argv], options: FLAGS, allowPositionals: true, strict: true });
  } catch (error) {
    // parseArgs explains itself in several sentences; the first says what is wrong.
    const text = error instanceof Error ? error.message : String(error);
    const first = text.split(/\.\s|\n/)[0];
    throw new UserError(
      `${display(first.charAt(0).toLowerCase() + first.slice(1))}: see stratafs --help`,
    );
  }
}

type Values = ReturnType<typeof parse>['values'];

function subcommand(name: string, rest: readonly string[], values: Values): Command {
  const json = values.json ?? false;
  if (name === 'diff') return diffCommand(rest, values);
  refuseDiffFlags(name, values);
  if (name === 'mounts') {
    if (rest.length > 0) throw new UserError('mounts takes no argument: stratafs mounts [--json]');
    return { kind: 'mounts', json };
  }
  if (name === 'host') return hostCommand(rest, values);
  if (name === 'logs') {
    if (rest.length > 0) throw new UserError('logs takes no argument: stratafs logs [-f]');
    // -f is --foreground elsewhere.
    return { kind: 'logs', follow: (values.follow ?? false) || (values.foreground ?? false) };
  }
  if (rest.length !== 1) {
    throw new UserError(`${name} takes one path: see stratafs --help`);
  }
  const path = rest[0];
  if (name === 'stats') return { kind: 'stats', path, json };
  return { kind: 'unmount', path, lazy: values.lazy ?? false };
}

const DIFF_FLAGS = ['upper', 'lower', 'stat', 'tar', 'null'] as const;

function refuseDiffFlags(name: string, values: Values): void {
  const given = DIFF_FLAGS.find((flag) => values[flag] !== undefined);
  if (given !== undefined) throw new UserError(`--${given} does not go with ${name}`);
}

function diffCommand(rest: readonly string[], values: Values): DiffCommand {
  const { upper, lower } = values;
  const form = 'stratafs diff MNT, or stratafs diff --upper DIR --lower A[:B...]';
  if (rest.length !== (upper === undefined ? 1 : 0)) {
    throw new UserError(`diff takes one path: ${form}`);
  }
  if (lower !== undefined && upper === undefined) {
    throw new UserError(`--lower goes with --upper: ${form}`);
  }
  const [json, stat, tar, zero] = [values.json, values.stat, values.tar, values.null].map(
    (flag) => flag ?? false,
  );
  if (tar && (json || stat || zero)) {
    throw new UserError('--tar writes an archive: it goes with no form of the list');
  }
  if (json && zero) throw new UserError('--json and -z are two forms of the list: give one');
  return {
    ...{ kind: 'diff', path: rest.at(0) ?? '', json, stat, tar, zero },
    ...(upper === undefined ? {} : { upper }),
    ...(lower === undefined ? {} : { lower }),
  };
}

function hostCommand(rest: readonly string[], values: Values): HostCommand {
  const [what] = rest;
  if (rest.length !== 1 || (what !== 'status' && what !== 'restart' && what !== 'stop')) {
    throw new UserError('host takes status, restart or stop: stratafs host status');
  }
  const { json = false, force = false, all = false } = values;
  return { kind: 'host', what, json, force, all };
}

function mountCommand(positionals: readonly string[], values: Values): MountCommand {
  if (values.json || values.lazy) {
    throw new UserError(`--${values.json ? 'json' : 'lazy'} does not go with a mount`);
  }
  refuseDiffFlags('a mount', values);
  if (positionals.length === 0) {
    throw new UserError('no mount point: stratafs -o lowerdir=A[:B...] MNT; see stratafs --help');
  }
  if (positionals.length > 2) {
    throw new UserError(
      `too many arguments: a mount takes [SOURCE] MNT, and '${display(positionals[2])}' is one more`,
    );
  }
  return {
    kind: 'mount',
    options: values.options ?? [],
    // The last one: mount.fuse3 and mount(8) put a source, which means nothing here, before it.
    mountpoint: positionals[positionals.length - 1],
    foreground: (values.foreground ?? false) || (values.debug ?? false),
    debug: values.debug ?? false,
  };
}

/** Parses what follows the program's name; throws UserError with one sentence. */
export function parseCommand(argv: readonly string[]): Command {
  // The bench reads its own flags. A mount always has -o: then this is a source's name.
  if (argv[0] === 'bench' && !argv.some((arg) => arg.startsWith('-o'))) {
    return { kind: 'bench', args: argv.slice(1) };
  }
  const { values, positionals } = parse(argv);
  if (values.help) return { kind: 'help' };
  if (values.version) return { kind: 'version' };
  // A mount always has -o, so a source or mount point may well be called "diff".
  const isMount = values.options !== undefined;
  const first = positionals.at(0);
  if (!isMount && first !== undefined && SUBCOMMANDS.includes(first)) {
    return subcommand(first, positionals.slice(1), values);
  }
  return mountCommand(positionals, values);
}
