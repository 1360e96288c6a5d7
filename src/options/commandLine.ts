/**
 * Parses the command line of a mount in each of its forms: ours, mount(8)'s, mount.fuse3's and those of
 * container engines. Strings are latin1, one character a byte. The other commands are in src/cli.
 */
import { parseArgs } from 'node:util';
import { display } from '../base/bytes.js';
import { UsageError } from '../base/errno.js';

interface MountCommand {
  /** Every -o, in order. */
  readonly options: readonly string[];
  readonly mountpoint: string;
  readonly foreground: boolean;
  readonly debug: boolean;
}

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
} as const;

function parse(argv: readonly string[]) {
  try {
    return parseArgs({ args: [...argv], options: FLAGS, allowPositionals: true, strict: true });
  } catch (error) {
    // parseArgs explains itself in several sentences; the first says what is wrong.
    const text = error instanceof Error ? error.message : String(error);
    const first = text.split(/\.\s|\n/)[0];
    throw new UsageError(
      `${display(first.charAt(0).toLowerCase() + first.slice(1))}: see stratafs help mount`,
    );
  }
}

/** Parses what follows the program's name; throws UsageError with one sentence. */
export function parseMount(argv: readonly string[]): MountCommand {
  const { values, positionals } = parse(argv);
  // `stratafs mount SOURCE MNT`; with two words the first one is a source in any case.
  const words =
    positionals.length === 3 && positionals[0] === 'mount' ? positionals.slice(1) : positionals;
  if (words.length === 0) {
    throw new UsageError(
      'no mount point: stratafs -o lowerdir=A[:B...] MNT; see stratafs help mount',
    );
  }
  if (words.length > 2) {
    throw new UsageError(
      `too many arguments: a mount takes [SOURCE] MNT, and '${display(words[2])}' is one more`,
    );
  }
  return {
    options: values.options ?? [],
    // The last one: mount.fuse3 and mount(8) put a source, which means nothing here, before it.
    mountpoint: words[words.length - 1],
    foreground: (values.foreground ?? false) || (values.debug ?? false),
    debug: values.debug ?? false,
  };
}
