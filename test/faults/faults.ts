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
import { ERRORS, type ErrorName } from './inject.js';
import { OPERATIONS } from './operations.js';
import { type Case, Sweep } from './sweep.js';

const USAGE = `npm run faults -- [OPTIONS]   (as root)

Each operation is done again and again, and each time the next of the system calls that it makes fails,
once. The answer must fit the tree: live, after a remount, and as kernel overlayfs shows it.

  --config NAME     ${Object.keys(CONFIGS).join(', ')}, or all (all)
  --cache NAME      ${CACHES.join(', ')}, or all (all)
  --error NAME      ${Object.keys(ERRORS).join(', ')}, or all (all)
  --operation TEXT  only operations whose name has this in it
  --stride N        only each N-th case (1)
`;

class UsageError extends Error {}

interface Options {
  readonly configs: readonly ConfigName[];
  readonly caches: readonly Cache[];
  readonly errors: readonly ErrorName[];
  readonly operation: string;
  readonly stride: number;
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
  };
}

/** One operation of one configuration, from one state of the caches. */
interface Job {
  readonly config: ConfigName;
  readonly cache: Cache;
  readonly operation: string;
}

const jobsOf = ({ configs, caches, operation }: Options): Job[] =>
  configs.flatMap((config) =>
    caches.flatMap((cache) =>
      Object.keys(OPERATIONS)
        .filter((name) => name.includes(operation))
        .map((name) => ({ config, cache, operation: name })),
    ),
  );

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

const said = ({ cache, operation, call, made, error }: Case, config: ConfigName): string =>
  `${config}, ${cache}: ${operation}: call ${call}, ${made.call} ${made.text}, fails with ${error}`;

async function sweepAll(options: Options, top: string): Promise<number> {
  const progress = await progressBar();
  const jobs = jobsOf(options);
  const sweeps = new Map<ConfigName, Sweep>();
  let [cases, wrong, turn] = [0, 0, 0];
  const tell = (line: string): void => {
    wrong++;
    process.stdout.write(`${line}\n`);
  };
  for (const [done, { config, cache, operation }] of jobs.entries()) {
    progress.step(done, jobs.length, `${cases} cases, ${wrong} wrong; ${config}, ${operation}`);
    const place = join(top, String(options.configs.indexOf(config)));
    let sweep = sweeps.get(config);
    if (!sweep) {
      mkdirSync(place);
      sweep = new Sweep(await Bed.make(place, CONFIGS[config]));
      sweeps.set(config, sweep);
    }
    const steps = OPERATIONS[operation] ?? [];
    const already = sweep.learn(cache, operation, steps);
    if (already !== '') {
      tell(`${config}, ${cache}: ${operation}: without a failure: ${already}`);
      continue;
    }
    for (const one of sweep.cases(cache, operation, steps)) {
      if (!options.errors.includes(one.error) || turn++ % options.stride !== 0) continue;
      cases++;
      const found = sweep.check(one);
      if (found !== '') tell(`${said(one, config)}: ${found}`);
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
