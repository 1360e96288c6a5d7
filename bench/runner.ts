/** Runs trials × drivers × rounds, each in a process of its own, and keeps every value. */
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { endServers } from './mounts.js';
import type { BenchOptions } from './options.js';
import type { Answer, Driver, Fixture, Job, Requests, Trial } from './types.js';

/** A trial that takes longer hangs. */
const TRIAL_TIMEOUT_MS = 180_000;

export interface Results {
  /** Row id → driver name → round → value. */
  readonly values: Map<string, Map<string, Map<number, number>>>;
  /** Trial name → driver name → why there is no value. */
  readonly reasons: Map<string, Map<string, string>>;
  /** Trial name → driver name → requests. */
  readonly requests: Map<string, Map<string, Requests>>;
}

export interface Site {
  readonly repository: string;
  readonly client: string;
  readonly fixture: Fixture;
  /** Holds the directories of this run's trials; the caller deletes it afterwards. */
  readonly scratch: string;
}

export type Progress = (done: number, total: number, text: string) => void;

interface Step {
  readonly round: number;
  readonly trial: Trial;
  readonly driver: Driver;
}

/** Drivers take turns within a round, and in reverse order in the next. */
function* schedule(options: BenchOptions, results: Results): Generator<Step> {
  for (let round = 0; round < options.rounds; round++) {
    const drivers = round % 2 === 0 ? options.drivers : options.drivers.toReversed();
    for (const trial of options.trials) {
      if (trial.once === true && round > 0) continue;
      for (const driver of drivers) {
        const reason = trial.refuses?.(driver);
        if (reason === undefined) yield { round, trial, driver };
        else inner(results.reasons, trial.name).set(driver.name, reason);
      }
    }
  }
}

function inner<K, L, V>(map: Map<K, Map<L, V>>, key: K): Map<L, V> {
  let found = map.get(key);
  if (!found) map.set(key, (found = new Map<L, V>()));
  return found;
}

export async function runAll(
  options: BenchOptions,
  site: Site,
  progress: Progress,
  stop: AbortSignal,
): Promise<Results> {
  const results: Results = { values: new Map(), reasons: new Map(), requests: new Map() };
  // A function, for the signal changes while the loop awaits.
  const isStopped = () => stop.aborted;
  const steps = [...schedule(options, results)];
  for (const [number, { round, trial, driver }] of steps.entries()) {
    if (isStopped()) break;
    // A driver that has failed a trial fails it again, and each failure may cost a timeout.
    if (results.reasons.get(trial.name)?.has(driver.name) === true) continue;
    progress(number, steps.length, `round ${round + 1}: ${trial.name}, ${driver.name}`);
    const answer = await runOne(options, site, { round, trial, driver }, stop);
    if ('error' in answer) {
      if (!isStopped()) inner(results.reasons, trial.name).set(driver.name, answer.error);
      continue;
    }
    for (const [row, value] of Object.entries(answer.values ?? {})) {
      inner(inner(results.values, row), driver.name).set(round, value);
    }
    if (answer.requests) inner(results.requests, trial.name).set(driver.name, answer.requests);
  }
  progress(steps.length, steps.length, 'done');
  return results;
}

async function runOne(
  options: BenchOptions,
  site: Site,
  { round, trial, driver }: Step,
  stop: AbortSignal,
): Promise<Answer> {
  const label = `${round}-${trial.name}-${driver.name}`.replace(/[^\w=-]/g, '_');
  const directory = join(site.scratch, label);
  const job: Job = {
    trial: trial.name,
    driver,
    fixture: site.fixture,
    client: site.client,
    repository: site.repository,
    directory,
    quick: options.quick,
  };
  const command = [
    process.execPath,
    join(site.repository, 'dist/bench/trialMain.js'),
    JSON.stringify(job),
  ];
  // In a mount namespace of its own a trial finds no resident server, and leaves no mount.
  if (!options.sharedServer) command.unshift('unshare', '-m', '--propagation', 'private');
  return await supervise(command, directory, options.sharedServer ? '30' : '0', stop);
}

async function supervise(
  command: readonly string[],
  directory: string,
  grace: string,
  stop: AbortSignal,
): Promise<Answer> {
  const [program = '', ...args] = command;
  const child = spawn(program, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    // How long a resident server outlives its last mount, in seconds.
    env: { ...process.env, STRATAFS_GRACE: grace },
  });
  let out = '';
  let errors = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text));
  const ended = new Promise<void>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', () => resolve());
  });
  const giveUp = () => void abandon(child.pid, directory);
  stop.addEventListener('abort', giveUp);
  const timer = setTimeout(giveUp, TRIAL_TIMEOUT_MS);
  await ended;
  clearTimeout(timer);
  stop.removeEventListener('abort', giveUp);
  if (out.trim() !== '') return JSON.parse(out) as Answer;
  return { error: errors.trim().split('\n').at(-1) || 'the trial ended without an answer' };
}

/**
 * Ends a trial that hangs. Its servers first: that aborts their connections, and whoever waits in
 * the kernel for an answer can be ended only then.
 */
async function abandon(pid: number | undefined, directory: string): Promise<void> {
  const file = join(directory, 'servers.json');
  if (existsSync(file)) endServers(JSON.parse(readFileSync(file, 'utf8')) as number[], 'SIGKILL');
  await sleep(5_000);
  if (pid !== undefined) endServers([pid], 'SIGKILL');
}
