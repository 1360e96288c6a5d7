/** Runs trials × drivers × rounds, each in a process of its own, and keeps every value. */
import { spawn } from 'node:child_process';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { missingProgram } from './machine.js';
import { endServers } from './mounts.js';
import type { BenchOptions } from './options.js';
import type { Parts } from './parts/all.js';
import { Residence } from './residence.js';
import { exercise } from './trials/exercise.js';
import { preflight } from './trials/preflight.js';
import type { Answer, Driver, Fixture, Job, Requests, Trial } from './types.js';

/** A trial that takes longer hangs. */
const TRIAL_TIMEOUT_MS = 300_000;
/** How long a resident server outlives its last mount, in seconds: longer than others' turns. */
const RESIDENT_GRACE = '3600';

export interface Results {
  /** Row id → driver name → round → value. */
  readonly values: Map<string, Map<string, Map<number, number>>>;
  /** Trial name or row id → driver name → why there is no value. */
  readonly reasons: Map<string, Map<string, string>>;
  /** Driver name → requests. */
  readonly requests: Map<string, Requests>;
  /** What was tried and went wrong: the run's exit status tells. */
  readonly failures: { readonly trial: string; readonly driver: string; readonly why: string }[];
  /** Trial name → seconds that all its runs took. */
  readonly seconds: Map<string, number>;
}

export interface Site {
  readonly repository: string;
  readonly client: string;
  readonly fixture: Fixture;
  readonly parts: Parts;
  /** Holds the directories of this run's trials; the caller deletes it afterwards. */
  readonly scratch: string;
}

export interface Progress {
  readonly step: (done: number, total: number, text: string) => void;
  readonly end: () => void;
}

interface Step {
  readonly round: number;
  readonly trial: Trial;
  readonly driver: Driver;
}

function inner<K, L, V>(map: Map<K, Map<L, V>>, key: K): Map<L, V> {
  let found = map.get(key);
  if (!found) map.set(key, (found = new Map<L, V>()));
  return found;
}

/** Why a trial cannot be run here, whoever serves. */
function impossible(trial: Trial, { failures }: Parts): string | undefined {
  const part = trial.parts?.find((name) => failures.has(name));
  return missingProgram(trial.programs ?? []) ?? (part && failures.get(part));
}

/** Drivers take turns within a round, and in reverse order in the next. */
export function schedule(options: BenchOptions, parts: Parts, results: Results): Step[] {
  const steps: Step[] = [];
  const reasons = new Map(options.trials.map((trial) => [trial, impossible(trial, parts)]));
  for (let round = 0; round < options.rounds; round++) {
    const drivers = round % 2 === 0 ? options.drivers : options.drivers.toReversed();
    for (const trial of options.trials.filter(({ rounds = Infinity }) => round < rounds)) {
      for (const driver of drivers) {
        const reason =
          reasons.get(trial) ?? options.leavesOut(trial, driver) ?? trial.refuses?.(driver);
        if (reason === undefined) steps.push({ round, trial, driver });
        else inner(results.reasons, trial.name).set(driver.name, reason);
      }
    }
  }
  return steps;
}

function keep(results: Results, { round, trial, driver }: Step, answer: Answer): void {
  if ('error' in answer) {
    inner(results.reasons, trial.name).set(driver.name, answer.error);
    results.failures.push({ trial: trial.name, driver: driver.name, why: answer.error });
    return;
  }
  for (const [row, value] of Object.entries(answer.values ?? {})) {
    inner(inner(results.values, row), driver.name).set(round, value);
  }
  for (const [row, reason] of Object.entries(answer.reasons ?? {})) {
    inner(results.reasons, row).set(driver.name, reason);
  }
  if (answer.requests) results.requests.set(driver.name, answer.requests);
}

/** Drivers that do not mount here, with the reason: found before an hour of trials. */
export async function unable(
  drivers: readonly Driver[],
  quick: boolean,
  site: Site,
  stop: AbortSignal,
): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  const runs = new Runs(quick, site, stop);
  try {
    // A resident one is another row's program, and its server is started for the run.
    const tried = drivers.filter(({ command, resident }) => command && resident !== true);
    for (const driver of tried) {
      const answer = await runs.run({ round: 0, trial: preflight, driver });
      if ('error' in answer) found.set(driver.name, answer.error);
    }
  } finally {
    await runs.close();
  }
  return found;
}

export async function runAll(
  options: BenchOptions,
  site: Site,
  progress: Progress,
  stop: AbortSignal,
): Promise<Results> {
  const results: Results = {
    values: new Map(),
    reasons: new Map(),
    requests: new Map(),
    failures: [],
    seconds: new Map(),
  };
  const steps = schedule(options, site.parts, results);
  const runs = new Runs(options.quick, site, stop);
  try {
    for (const [number, step] of steps.entries()) {
      const { round, trial, driver } = step;
      // A driver that has failed a trial fails it again, and each failure may cost a timeout.
      if (results.reasons.get(trial.name)?.has(driver.name) === true) continue;
      progress.step(number, steps.length, `round ${round + 1}: ${trial.name}, ${driver.name}`);
      const begin = Date.now();
      const answer = await runs.run(step);
      if (runs.stopped) break;
      const before = results.seconds.get(trial.name) ?? 0;
      results.seconds.set(trial.name, before + (Date.now() - begin) / 1000);
      keep(results, step, answer);
    }
    progress.step(steps.length, steps.length, 'done');
  } finally {
    progress.end();
    await runs.close();
  }
  return results;
}

class Runs {
  readonly #quick: boolean;
  readonly #site: Site;
  readonly #stop: AbortSignal;
  readonly #residences = new Map<string, Residence>();

  constructor(quick: boolean, site: Site, stop: AbortSignal) {
    this.#quick = quick;
    this.#site = site;
    this.#stop = stop;
  }

  get stopped(): boolean {
    return this.#stop.aborted;
  }

  async run(step: Step): Promise<Answer> {
    const { driver } = step;
    // In a mount namespace of its own a trial finds no resident server, and leaves no mount.
    if (driver.resident !== true) {
      return await this.#start(['unshare', '-m', '--propagation', 'private'], '0', step);
    }
    let home = this.#residences.get(driver.name);
    if (!home) {
      this.#residences.set(driver.name, (home = await Residence.open()));
      const answer = await this.#start(home.enter, RESIDENT_GRACE, { ...step, trial: exercise });
      if ('error' in answer) return answer;
    }
    return await this.#start(home.enter, RESIDENT_GRACE, step);
  }

  async close(): Promise<void> {
    for (const home of this.#residences.values()) await home.close();
  }

  async #start(
    enter: readonly string[],
    grace: string,
    { round, trial, driver }: Step,
  ): Promise<Answer> {
    const { scratch, repository, client, fixture, parts } = this.#site;
    const label = `${round}-${trial.name}-${driver.name}`.replace(/[^\w=-]/g, '_');
    const directory = join(scratch, label);
    const { homes } = parts;
    const quick = this.#quick;
    const trialName = trial.name;
    const about = { driver, fixture, parts: homes, client, repository, directory, quick };
    const job: Job = { trial: trialName, ...about };
    const program = [process.execPath, join(repository, 'dist/bench/trialMain.js')];
    const command = [...enter, ...program, JSON.stringify(job)];
    const answer = await supervise(command, directory, grace, this.#stop);
    if (trial.large === true) rmSync(directory, { recursive: true, force: true });
    return answer;
  }
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
