/** `npm run fuzz`: many random sequences on stratafs and on kernel overlayfs; USAGE says the rest. */
import process from 'node:process';
import { parseArgs } from 'node:util';
import { progressBar } from '../../bench/progress.js';
import { COMPARED, type Features, isFeatures } from '../support/mount.js';
import { missing } from '../support/needs.js';
import setup from '../support/staleMounts.js';
import { caseOf, check, type Finding } from './check.js';
import { showOperation } from './operations.js';
import { pairNeeds, pairUnderTest } from './pair.js';
import { readReplay, writeReplay } from './replay.js';
import type { Case } from './shrink.js';

const USAGE = `npm run fuzz -- [OPTIONS]   (as root)

Runs random sequences of operations on stratafs and on kernel overlayfs, over the same layers. Every
answer, the trees afterwards and what each driver shows of the other's upper are compared. A sequence
that differs is made small and written to test/differential/replays/, which npm test runs.

  --count N       sequences (2000)
  --ops N         operations in each, at least (60)
  --seed N        the first seed (1); a seed stands for a sequence
  --mode MODE     ${COMPARED.join(', ')} or all (all: by turns)
  --jobs N        sequences at once (2)
  --stop N        give up after N sequences that differ (10)
  --replay FILE   run this file alone, and change nothing

STRATAFS_OPTIONS: further options of stratafs (data=passthrough)
`;

const SHRINK_SECONDS = 30;
/** Sequences from line to line where there is no terminal. */
const STEP = 20;

interface Options {
  readonly count: number;
  readonly ops: number;
  readonly seed: number;
  readonly modes: readonly Features[];
  readonly jobs: number;
  readonly stop: number;
  readonly replay: string | undefined;
}

class UsageError extends Error {}

function natural(name: string, text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1)
    throw new UsageError(`--${name} takes a number above 0, not ${JSON.stringify(text)}`);
  return value;
}

function modesOf(word: string): readonly Features[] {
  if (word === 'all') return COMPARED;
  if (isFeatures(word)) return [word];
  throw new UsageError(`--mode takes ${COMPARED.join(', ')} or all, not ${JSON.stringify(word)}`);
}

/** Undefined when the user asks for help. */
function parseOptions(args: readonly string[]): Options | undefined {
  const text = (byDefault: string) => ({ type: 'string', default: byDefault }) as const;
  let values;
  try {
    ({ values } = parseArgs({
      args: [...args],
      options: {
        count: text('2000'),
        ops: text('60'),
        seed: text('1'),
        mode: text('all'),
        jobs: text('2'),
        stop: text('10'),
        replay: { type: 'string' },
        help: { type: 'boolean', default: false },
      },
    }));
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
  if (values.help) return undefined;
  return {
    count: natural('count', values.count),
    ops: natural('ops', values.ops),
    seed: natural('seed', values.seed),
    modes: modesOf(values.mode),
    jobs: natural('jobs', values.jobs),
    stop: natural('stop', values.stop),
    replay: values.replay,
  };
}

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

const SHOWN = 25;

/** The layers are in the replay file. */
function report(what: string, { small, differences }: Finding): void {
  const found = differences.slice(0, 6).map(({ where, text }) => `  ${where}: ${text}`);
  const last = small.operations.slice(-SHOWN).map((operation) => `    ${showOperation(operation)}`);
  say([`\n${what}:`, ...found, '  the last operations:', ...last].join('\n'));
}

/** True when the drivers agree on the file's case now. */
async function replay(path: string): Promise<boolean> {
  const { features, case: start } = readReplay(path);
  const finding = await check(pairUnderTest(features), start, SHRINK_SECONDS);
  if (finding === undefined) say(`${path}: the drivers agree`);
  else report(path, finding);
  return finding === undefined;
}

function keep(seed: number, features: Features, finding: Finding): void {
  const why = finding.differences.at(0)?.text ?? 'differed once, not again when it was small';
  const small: Case = finding.small;
  const path = writeReplay(`${features}-${seed}`, { features, why, case: small });
  report(`seed ${seed} (${features}), kept as ${path}`, finding);
}

/** Runs the sequences; returns how many differed. */
async function search(options: Options, stopped: AbortSignal): Promise<number> {
  const { count, seed: first, modes } = options;
  const progress = await progressBar();
  let next = 0;
  let done = 0;
  let differed = 0;
  const work = async (): Promise<void> => {
    while (next < count && differed < options.stop && !stopped.aborted) {
      const seed = first + next++;
      const features = modes[seed % modes.length] ?? 'full';
      const finding = await check(
        pairUnderTest(features),
        caseOf(seed, options.ops, features),
        SHRINK_SECONDS,
      );
      if (finding !== undefined) {
        differed++;
        keep(seed, features, finding);
      }
      done++;
      const told = process.stderr.isTTY || done % STEP === 0 || done === count;
      if (told) progress.step(done, count, `${differed} differ`);
    }
  };
  try {
    await Promise.all(Array.from({ length: options.jobs }, work));
  } finally {
    progress.end();
  }
  say(`${done} sequences of at least ${options.ops} operations: ${differed} differ`);
  return differed;
}

async function fuzz(options: Options): Promise<void> {
  const lacks = missing(pairNeeds(pairUnderTest('full')));
  if (lacks !== undefined) throw new UsageError(`the comparison ${lacks}`);
  const tearDown = setup();
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort());
  try {
    const agreed =
      options.replay === undefined
        ? (await search(options, stop.signal)) === 0
        : await replay(options.replay);
    process.exitCode = agreed && !stop.signal.aborted ? 0 : 1;
  } finally {
    tearDown();
  }
}

try {
  const options = parseOptions(process.argv.slice(2));
  if (options === undefined) process.stdout.write(USAGE);
  else await fuzz(options);
} catch (error) {
  say(error instanceof UsageError ? error.message : String(error));
  process.exitCode = 2;
}
