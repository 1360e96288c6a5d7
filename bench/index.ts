/** `npm run bench`: see options.ts for the command line, README's "Benchmarks" for the results. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { availableParallelism, loadavg } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { compareRuns } from './compare.js';
import { prepareFixture } from './fixture.js';
import { describeMachine, missing } from './machine.js';
import { parseOptions, type BenchOptions } from './options.js';
import { prepareParts } from './parts/all.js';
import { progressBar } from './progress.js';
import { writeReport } from './report.js';
import { runAll, type Results, unable } from './runner.js';

const repository = fileURLToPath(new URL('../../', import.meta.url));

/** The status of a program that SIGINT ended. */
const INTERRUPTED = 130;

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

function compileClient(directory: string): string {
  const home = join(repository, 'bench/client');
  const sources = readdirSync(home).filter((name) => name.endsWith('.c'));
  const program = join(directory, 'client');
  const result = spawnSync('gcc', ['-O2', '-Wall', '-o', program, ...sources], {
    cwd: home,
    encoding: 'utf8',
  });
  if (result.status !== 0) {
    throw new Error(
      `The measuring client needs gcc and the C headers: ${result.error?.message ?? result.stderr.trim()}`,
    );
  }
  return program;
}

/** A driver that is not here has the same reason in all rows; the others are measured. */
function withoutMissing(options: BenchOptions): {
  present: BenchOptions;
  absent: Map<string, string>;
} {
  const absent = new Map<string, string>();
  for (const driver of options.drivers) {
    const reason = missing(driver);
    if (reason !== undefined) absent.set(driver.name, reason);
  }
  const drivers = options.drivers.filter(({ name }) => !absent.has(name));
  return { present: { ...options, drivers }, absent };
}

function noteAbsent(results: Results, options: BenchOptions, absent: Map<string, string>): void {
  for (const { name } of options.trials) {
    const reasons = results.reasons.get(name) ?? new Map<string, string>();
    for (const [driver, reason] of absent) reasons.set(driver, reason);
    results.reasons.set(name, reasons);
  }
}

async function bench(options: BenchOptions): Promise<void> {
  mkdirSync(options.directory, { recursive: true });
  const client = compileClient(options.directory);
  const fixture = prepareFixture(options.directory, options.quick, client, say);
  const { quick, trials, directory } = options;
  const parts = prepareParts(directory, trials, { client, fixture, quick }, say);
  const scratch = mkdtempSync(join(directory, 'run-'));
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort());
  const { present, absent } = withoutMissing(options);
  try {
    const site = { repository, client, fixture, parts, scratch };
    const busy = busyWarning();
    if (busy !== undefined) say(busy);
    const failing = await unable(present.drivers, quick, site, stop.signal);
    for (const [name, why] of failing) {
      say(`${name} does not mount here, and is left out: ${why}`);
      absent.set(name, why);
    }
    const able = present.drivers.filter(({ name }) => !failing.has(name));
    const load = loadavg();
    const results = await runAll(
      { ...present, drivers: able },
      site,
      await progressBar(),
      stop.signal,
    );
    noteAbsent(results, options, absent);
    const machine = describeMachine(repository, directory, present.drivers, load);
    const out = options.out ?? join(directory, 'results', machine.when.replace(/[:.]/g, '-'));
    const stopped = stop.signal.aborted;
    if (stopped) process.exitCode = INTERRUPTED;
    const run = { results, options, machine, fixture, stopped };
    process.stdout.write(await writeReport(run, out, say));
    for (const { trial, driver, why } of results.failures) say(`${driver} failed ${trial}: ${why}`);
    if (results.failures.length > 0 || failing.size > 0) process.exitCode ??= 1;
  } finally {
    say('deleting what the trials left');
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** Other work takes the cores from the trials, or keeps them awake: both change the figures. */
function busyWarning(): string | undefined {
  const [load = 0] = loadavg();
  if (load < availableParallelism() / 4) return undefined;
  return `warning: the load average is ${load.toFixed(1)}: other work disturbs the figures`;
}

async function main(): Promise<void> {
  const options = parseOptions(process.argv.slice(2), repository);
  if (typeof options === 'string') {
    process.stdout.write(options);
    return;
  }
  if ('compare' in options) {
    process.stdout.write(compareRuns(...options.compare));
    return;
  }
  if (process.geteuid?.() !== 0) {
    throw new Error('The bench mounts kernel overlayfs and drops caches: run it as root.');
  }
  await bench(options);
}

try {
  await main();
} catch (error) {
  say((error as Error).message);
  process.exitCode = 1;
}
