/** The command line. */
import { parseArgs } from 'node:util';
import { builtinDrivers, parseDriver } from './drivers.js';
import { trials } from './trials/all.js';
import type { Driver, Trial } from './types.js';

export interface BenchOptions {
  readonly rounds: number;
  readonly quick: boolean;
  readonly trials: readonly Trial[];
  readonly drivers: readonly Driver[];
  /** Where the fixture and the trials' directories lie. */
  readonly directory: string;
  /** Path of the results without extension; .json and .md are written. */
  readonly out: string | undefined;
  /** All trials of a driver share one mount namespace, hence one resident server. */
  readonly sharedServer: boolean;
}

export const HELP = `Measures union mounts side by side: each trial in a fresh process, drivers in turn.

  npm run bench -- [options]

  --only A,B           only these trials (${trials.map(({ name }) => name).join(', ')})
  --drivers A,B        only these drivers, by name or the beginning of it
  --driver NAME='CMD'  one more driver; CMD has {opts} (lowerdir=..,upperdir=..,workdir=..) or
                       {lower} {upper} {work}, and {mnt}; a final & : CMD stays in the foreground
  --rounds N           rounds (default 5; with --quick 2)
  --quick              a smaller tree, under 2 minutes; shows that all works, not how fast
  --shared-server      keep one resident server over all trials (default: a fresh one each)
  --dir DIR            where to work (default $STRATAFS_BENCH_DIR or /var/tmp/stratafs-bench)
  --out PATH           write the results to PATH.json and PATH.md (default: in DIR/results)
  --list               name the trials and the drivers
  --help
`;

/** Items of `all` that one of `wanted` begins; an unknown word is an error, for a typo measures nothing. */
function choose<T extends { readonly name: string }>(
  what: string,
  all: readonly T[],
  wanted: string | undefined,
): readonly T[] {
  if (wanted === undefined) return all;
  const chosen = new Set<T>();
  for (const word of wanted.split(',')) {
    const exact = all.filter(({ name }) => name === word);
    const matches = exact.length > 0 ? exact : all.filter(({ name }) => name.startsWith(word));
    if (matches.length === 0) {
      const names = all.map(({ name }) => name).join(', ');
      throw new Error(`There is no ${what} ${word}; there are: ${names}.`);
    }
    for (const match of matches) chosen.add(match);
  }
  return all.filter((item) => chosen.has(item));
}

function parseRounds(text: string | undefined, quick: boolean): number {
  if (text === undefined) return quick ? 2 : 5;
  const rounds = Number(text);
  if (!Number.isInteger(rounds) || rounds < 1) {
    throw new Error(`--rounds ${text} is not a number of rounds; give 1 or more.`);
  }
  return rounds;
}

export function parseOptions(argv: string[], repository: string): BenchOptions | string {
  const { values } = parseArgs({
    args: argv,
    options: {
      only: { type: 'string' },
      drivers: { type: 'string' },
      driver: { type: 'string', multiple: true, default: [] },
      rounds: { type: 'string' },
      quick: { type: 'boolean', default: false },
      'shared-server': { type: 'boolean', default: false },
      dir: { type: 'string' },
      out: { type: 'string' },
      list: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  const own = values.driver.map(parseDriver);
  const known = [...builtinDrivers(repository), ...own];
  if (values.help) return HELP;
  if (values.list) {
    const names = (items: readonly { name: string }[]) => items.map(({ name }) => `  ${name}\n`);
    return `trials:\n${names(trials).join('')}drivers:\n${names(known).join('')}`;
  }
  const usual = known.filter((driver) => driver.onRequest !== true);
  return {
    rounds: parseRounds(values.rounds, values.quick),
    quick: values.quick,
    trials: choose('trial', trials, values.only),
    drivers: values.drivers === undefined ? usual : choose('driver', known, values.drivers),
    directory: values.dir ?? process.env['STRATAFS_BENCH_DIR'] ?? '/var/tmp/stratafs-bench',
    out: values.out,
    sharedServer: values['shared-server'],
  };
}
