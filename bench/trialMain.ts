/**
 * A trial's process: one trial on one driver, once. The job comes as JSON in argv, the answer goes
 * as one JSON line to stdout. While it runs, `servers.json` in its directory names the processes
 * to end when it hangs.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { mountTree, unmountTree } from './mounts.js';
import { trials } from './trials/all.js';
import type { Answer, Context, Job, MountOptions, Mounted } from './types.js';

const CLIENT_TIMEOUT_MS = 90_000;

/** The tools speak one language, and no locale files are read. */
const ENVIRONMENT = { ...process.env, LC_ALL: 'C' };

function runTool(program: string, args: readonly string[], cwd: string): string {
  const result = spawnSync(program, args, {
    cwd,
    encoding: 'utf8',
    env: ENVIRONMENT,
    timeout: CLIENT_TIMEOUT_MS,
    killSignal: 'SIGKILL',
    maxBuffer: 16 * 1024 * 1024,
  });
  if (result.error) throw result.error;
  if (result.status !== 0) {
    const words = result.stderr.trim().split('\n');
    throw new Error(words.slice(0, 2).join('; ') || `${program} ${args.join(' ')} failed`);
  }
  return result.stdout;
}

function dropCaches(): void {
  runTool('sync', [], '/');
  writeFileSync('/proc/sys/vm/drop_caches', '3');
}

class TrialContext implements Context {
  readonly #job: Job;
  readonly mounts: Mounted[] = [];
  #tree: string | undefined;

  constructor(job: Job) {
    this.#job = job;
  }

  get driver() {
    return this.#job.driver;
  }
  get fixture() {
    return this.#job.fixture;
  }
  get repository() {
    return this.#job.repository;
  }
  get directory() {
    return this.#job.directory;
  }
  get quick() {
    return this.#job.quick;
  }

  client(cwd: string, ...args: string[]): number[] {
    return JSON.parse(runTool(this.#job.client, args, cwd)) as number[];
  }

  cold(...tools: readonly (readonly string[])[]): void {
    dropCaches();
    for (const tool of tools) this.client('/', 'exec', '1', ...tool);
  }

  mount(options: MountOptions = {}): Mounted {
    const { client, driver, fixture, directory } = this.#job;
    const place = join(directory, `mount-${this.mounts.length}`);
    const mounted = mountTree(client, driver, fixture, place, options);
    this.mounts.push(mounted);
    const servers = this.mounts.flatMap((mount) => mount.servers);
    writeFileSync(join(directory, 'servers.json'), JSON.stringify(servers));
    return mounted;
  }

  tree(): string {
    if (!this.driver.command) return this.fixture.plain;
    this.#tree ??= this.mount().mountpoint;
    return this.#tree;
  }

  scratch(name: string): string {
    if (this.driver.command) return this.tree();
    runTool('cp', ['-a', join(this.fixture.plain, name), this.directory], '/');
    return this.directory;
  }
}

async function perform(job: Job): Promise<Answer> {
  const trial = trials.find(({ name }) => name === job.trial);
  if (!trial) throw new Error(`there is no trial ${job.trial}`);
  mkdirSync(job.directory, { recursive: true });
  const context = new TrialContext(job);
  let answer: Answer;
  try {
    answer = trial.run(context);
  } catch (error) {
    answer = { error: (error as Error).message };
  }
  for (const mounted of context.mounts.toReversed()) {
    try {
      await unmountTree(job.driver, mounted);
    } catch (error) {
      if (!('error' in answer)) answer = { error: (error as Error).message };
    }
  }
  return answer;
}

const answer = await perform(JSON.parse(process.argv[2] ?? '') as Job);
process.stdout.write(`${JSON.stringify(answer)}\n`);
