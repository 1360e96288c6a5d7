/** `npm run faults`: what becomes of a tree when a system call fails; USAGE says the rest. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { parseArgs } from 'node:util';
import { progressBar } from '../../bench/progress.js';
import { loadNative } from '../../src/sys/native.js';
import { missing } from '../support/needs.js';
import { Bed, type Cache, CACHES, CONFIGS, type ConfigName } from './bed.js';
import { ERRORS, type ErrorName, type Made } from './inject.js';
import { type Opening, OPENINGS, OpeningSweep } from './openings.js';
import { OPERATIONS } from './operations.js';
import { Sweep } from './sweep.js';

const USAGE = `npm run faults -- [OPTIONS]   (as root)

Each operation is done again and again, and each time the next of the system calls that it makes fails,
once. The answer must fit the tree: live, after a remount, and as kernel overlayfs shows it. The same for
mounts of each kind and for diff (${OPENINGS.join(', ')}).

  --config NAME     ${Object.keys(CONFIGS).join(', ')}, or all (all)
  --cache NAME      ${CACHES.join(', ')}, or all (all)
  --error NAME      ${Object.keys(ERRORS).join(', ')}, or all (all)
  --operation TEXT  only operations, mounts and diffs whose name has this in it
  --stride N        only each N-th case (1)
  --lasting         all calls after the one that fails do so, too (operations only)
`;

class UsageError extends Error {}

interface Options {
  readonly configs: readonly ConfigName[];
  readonly caches: readonly Cache[];
  readonly errors: readonly ErrorName[];
  readonly operation: string;
  readonly stride: number;
  readonly lasting: boolean;
}

function chosen<T extends string>(option: string, word: string, known: readonly T[]): readonly T[] {
  if (word === 'all') return known;
  const one = known.find((each) => each === word);
  if (one === undefined) throw new UsageError(`--${option} takes ${known.join(', ')} or all`);
  return [one];
}

/** Undefined when the user asks for help. */
function parseOptions(): Options | undefined {
  const text = (byDefault: string) => ({ type: 'string', default: byDefault }) as const;
  let values;
  try {
    ({ values } = parseArgs({
      options: {
        ...{ config: text('all'), cache: text('all'), error: text('all'), operation: text('') },
        stride: text('1'),
        lasting: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    }));
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
  if (values.help) return undefined;
  if (!/^[1-9]\d{0,5}$/.test(values.stride)) throw new UsageError('--stride takes a number from 1');
  return {
    configs: chosen('config', values.config, Object.keys(CONFIGS) as ConfigName[]),
    caches: chosen('cache', values.cache, CACHES),
    errors: chosen('error', values.error, Object.keys(ERRORS) as ErrorName[]),
    operation: values.operation,
    stride: Number(values.stride),
    lasting: values.lasting,
  };
}

/** One case: what it is, and what is found to be wrong with it. */
interface Tried {
  readonly error: ErrorName;
  readonly said: string;
  readonly check: () => string | Promise<string>;
}

/** One operation from one state of the caches, or one opening, of one configuration. */
interface Job {
  readonly config: ConfigName;
  readonly name: string;
  readonly learn: (place: Place) => string | Promise<string>;
  readonly cases: (place: Place) => Iterable<Tried>;
}

/** Where a configuration's cases run. */
interface Place {
  readonly sweep: Sweep;
  readonly openings: OpeningSweep;
}

const failing = (call: number, { call: name, text }: Made, error: ErrorName): string =>
  `call ${call}, ${name} ${text}, fails with ${error}`;

function operationJob(config: ConfigName, cache: Cache, operation: string, lasting: boolean): Job {
  const steps = OPERATIONS[operation] ?? [];
  return {
    config,
    name: `${cache}: ${operation}`,
    learn: ({ sweep }) => sweep.learn(cache, operation, steps),
    *cases({ sweep }) {
      for (const one of sweep.cases(cache, operation, steps)) {
        const said = failing(one.call, one.made, one.error);
        const what = lasting ? ({ ...one, lasting } as const) : one;
        yield { error: one.error, said, check: () => sweep.check(what) };
      }
    },
  };
}

const openingJob = (config: ConfigName, opening: Opening): Job => ({
  config,
  name: opening,
  learn: ({ openings }) => openings.learn(opening),
  *cases({ openings }) {
    for (const one of openings.cases(opening)) {
      const said = failing(one.call, one.made, one.error);
      yield { error: one.error, said, check: () => openings.check(one) };
    }
  },
});

const jobsOf = ({ configs, caches, operation, lasting }: Options): Job[] =>
  configs.flatMap((config) => {
    const operations = Object.keys(OPERATIONS).filter((name) => name.includes(operation));
    const openings = OPENINGS.filter((name) => !lasting && name.includes(operation));
    return [
      ...openings.map((name) => openingJob(config, name)),
      ...caches.flatMap((cache) =>
        operations.map((name) => operationJob(config, cache, name, lasting)),
      ),
    ];
  });

/** A file system in memory, which takes all of overlayfs's marks. */
async function inMemory(work: (top: string) => Promise<number>): Promise<number> {
  const native = loadNative();
  const top = mkdtempSync(join(tmpdir(), 'stratafs-faults-'));
  const code = native.mount('tmpfs', top, 'tmpfs', 0, 'size=256m');
  if (code < 0) throw new Error(`cannot mount a tmpfs: error ${code}`);
  try {
    return await work(top);
  } finally {
    native.umount2(top, 2);
    rmSync(top, { recursive: true });
  }
}

async function placeOf(config: ConfigName, top: string): Promise<Place> {
  const bed = async (name: string): Promise<Bed> => {
    const at = join(top, `${Object.keys(CONFIGS).indexOf(config)}${name}`);
    mkdirSync(at);
    return Bed.make(at, CONFIGS[config]);
  };
  return { sweep: new Sweep(await bed('a')), openings: new OpeningSweep(await bed('b')) };
}

async function sweepAll(options: Options, top: string): Promise<number> {
  const progress = await progressBar();
  const jobs = jobsOf(options);
  const places = new Map<ConfigName, Place>();
  let [cases, wrong, turn] = [0, 0, 0];
  const tell = ({ config, name }: Job, line: string): void => {
    wrong++;
    process.stdout.write(`${config}, ${name}: ${line}\n`);
  };
  for (const [done, job] of jobs.entries()) {
    progress.step(done, jobs.length, `${cases} cases, ${wrong} wrong; ${job.config}, ${job.name}`);
    const place = places.get(job.config) ?? (await placeOf(job.config, top));
    places.set(job.config, place);
    const already = await job.learn(place);
    if (already !== '') {
      tell(job, `without a failure: ${already}`);
      continue;
    }
    for (const one of job.cases(place)) {
      if (!options.errors.includes(one.error) || turn++ % options.stride !== 0) continue;
      cases++;
      const found = await one.check();
      if (found !== '') tell(job, `${one.said}: ${found}`);
    }
  }
  progress.end();
  process.stdout.write(`${cases} cases, ${wrong} wrong\n`);
  return wrong;
}

async function main(): Promise<number> {
  const options = parseOptions();
  if (!options) {
    process.stdout.write(USAGE);
    return 0;
  }
  // As an engine thread has it.
  process.umask(0);
  const reason = missing({ root: true, kernelOverlay: true });
  if (reason !== undefined) throw new UsageError(reason);
  return (await inMemory((top) => sweepAll(options, top))) === 0 ? 0 : 1;
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  process.stderr.write(`${error.message}\n\n${USAGE}`);
  process.exitCode = 2;
}
