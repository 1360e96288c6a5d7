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
  /** Whether a driver takes part in a trial, or why it does not. */
  readonly leavesOut: (trial: Trial, driver: Driver) => string | undefined;
}

/** Two saved runs are compared, and nothing is measured. */
interface Comparison {
  readonly compare: readonly [before: string, after: string];
}

const HELP = `Measures union mounts side by side: each trial in a fresh process, drivers in turn.

  npm run bench -- [options]

  --set short|full     short: the 18 rows of docs/performance.md, about a quarter of the time; full
                       (default): all, an hour and a quarter on 2 cores. --list names them.
  --only A,B           only these trials, by name or the beginning of it
  --drivers A,B        only these drivers, by name or the beginning of it
  --driver NAME='CMD'  one more driver; CMD has {opts} (lowerdir=..,upperdir=..,workdir=..) or
                       {lower} {upper} {work}, and {mnt}, also within quotes; a final & : CMD stays in
                       the foreground
  --rounds N           rounds (default 5; with --quick 1)
  --quick              a smaller tree and the short set, under 2 minutes; shows that all works
  --dir DIR            where to work (default $STRATAFS_BENCH_DIR or /var/tmp/stratafs-bench)
  --out PATH           write the results to PATH.json, .md and .csv (default: in DIR/results), and
                       charts, PATH-*.svg, where @observablehq/plot and linkedom are installed
  --compare A B        two saved runs (.json) beside each other; measures nothing
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
  if (text === undefined) return quick ? 1 : 5;
  const rounds = Number(text);
  if (!Number.isInteger(rounds) || rounds < 1) {
    throw new Error(`--rounds ${text} is not a number of rounds; give 1 or more.`);
  }
  return rounds;
}

function chooseTrials(
  set: string | undefined,
  only: string | undefined,
  quick: boolean,
): readonly Trial[] {
  if (set !== undefined && set !== 'short' && set !== 'full') {
    throw new Error(`There is no set ${set}; there are short and full.`);
  }
  if (only !== undefined) {
    if (set !== undefined) throw new Error('Give --set or --only, not both.');
    return choose('trial', trials, only);
  }
  const short = set === 'short' || (quick && set === undefined);
  return short ? trials.filter((trial) => trial.short === true) : trials;
}

function listAll(drivers: readonly Driver[]): string {
  const lines = ['trials (* in the short set):'];
  for (const { name, short, rows } of trials) {
    const titles = rows.map(({ title }) => title).join('; ');
    lines.push(`${short === true ? '*' : ' '} ${name}: ${titles || 'requests by opcode'}`);
  }
  lines.push('drivers (* in the short set only, - on request, unless --drivers names them):');
  for (const { name, briefly, onRequest } of drivers) {
    lines.push(`${onRequest === true ? '-' : briefly === true ? '*' : ' '} ${name}`);
  }
  return `${lines.join('\n')}\n`;
}

/** The command line's meaning; a text is to be printed instead of a run. Throws a sentence. */
export function parseOptions(
  argv: string[],
  repository: string,
): BenchOptions | Comparison | string {
  const { values, positionals } = parseArgs({
    args: argv,
    allowPositionals: true,
    options: {
      only: { type: 'string' },
      drivers: { type: 'string' },
      driver: { type: 'string', multiple: true, default: [] },
      rounds: { type: 'string' },
      quick: { type: 'boolean', default: false },
      set: { type: 'string' },
      dir: { type: 'string' },
      out: { type: 'string' },
      list: { type: 'boolean', default: false },
      compare: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  const own = values.driver.map(parseDriver);
  const known = [...builtinDrivers(repository), ...own];
  if (values.help) return HELP;
  if (values.compare) {
    const [before, after] = positionals;
    if (positionals.length !== 2) throw new Error('--compare takes two saved runs: A.json B.json.');
    return { compare: [before, after] };
  }
  if (positionals.length > 0) throw new Error(`${positionals[0]} is no option: see --help.`);
  if (values.list) return listAll(known);
  const named = values.drivers !== undefined;
  const usual = known.filter((driver) => driver.onRequest !== true);
  return {
    rounds: parseRounds(values.rounds, values.quick),
    quick: values.quick,
    trials: chooseTrials(values.set, values.only, values.quick),
    // Whoever gives a driver means it to run.
    drivers: named ? [...new Set([...choose('driver', known, values.drivers), ...own])] : usual,
    directory: values.dir ?? process.env['STRATAFS_BENCH_DIR'] ?? '/var/tmp/stratafs-bench',
    out: values.out,
    leavesOut: (trial, driver) =>
      !named && driver.briefly === true && trial.short !== true
        ? 'not in this trial unless `--drivers` names it'
        : undefined,
  };
}
