/** What a trial has to work with: the client, the caches, mounts and trees. */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { mountTree, type Room } from './mounts.js';
import type { Context, Job, MountOptions, Mounted } from './types.js';

const CLIENT_TIMEOUT_MS = 240_000;

/** The tools speak one language, and no locale files are read. */
const ENVIRONMENT = { ...process.env, LC_ALL: 'C' };

function runTool(command: readonly string[]): string {
  const [program = '', ...args] = command;
  const result = spawnSync(program, args, {
    cwd: '/',
    encoding: 'utf8',
    env: ENVIRONMENT,
    timeout: CLIENT_TIMEOUT_MS,
    killSignal: 'SIGKILL',
    maxBuffer: 16 * 1024 * 1024,
  });
  if (result.error) throw result.error;
  if (result.status !== 0) {
    const words = result.stderr.trim().split('\n');
    throw new Error(words.slice(0, 2).join('; ') || `${command.join(' ')} failed`);
  }
  return result.stdout;
}

export class TrialContext implements Context {
  readonly #job: Job;
  readonly #room: Room;
  readonly mounts: Mounted[] = [];
  readonly #trees = new Map<string, string>();

  constructor(job: Job, room: Room) {
    this.#job = job;
    this.#room = room;
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

  part(name: string): string {
    const home = this.#job.parts[name];
    if (home === undefined) throw new Error(`the trial ${this.#job.trial} has not named ${name}`);
    return home;
  }

  client(cwd: string, ...args: string[]): number[] {
    const { enter, client } = this.#room;
    return JSON.parse(runTool([...enter, client, cwd, ...args])) as number[];
  }

  cold(...tools: readonly (readonly string[])[]): void {
    runTool(['sync']);
    writeFileSync('/proc/sys/vm/drop_caches', '3');
    for (const tool of tools) this.client('/', 'exec', '1', ...tool);
  }

  memory(): void {
    this.client('/', 'memory', ...(this.quick ? ['64', '64'] : ['1024', '1024']));
  }

  mount(options: MountOptions = {}): Mounted {
    const { driver, fixture, directory } = this.#job;
    const place = join(directory, `mount-${this.mounts.length}`);
    const mounted = mountTree(this.#room, driver, fixture, place, options);
    this.mounts.push(mounted);
    const servers = new Set(this.mounts.flatMap((mount) => mount.servers));
    writeFileSync(join(directory, 'servers.json'), JSON.stringify([...servers]));
    return mounted;
  }

  tree(part?: string): string {
    const layer = part === undefined ? undefined : join(this.part(part), 'layer');
    if (!this.driver.command) return layer ?? this.fixture.plain;
    const key = part ?? '';
    let tree = this.#trees.get(key);
    if (tree === undefined) {
      tree = this.mount(layer === undefined ? {} : { lowers: [layer] }).mountpoint;
      this.#trees.set(key, tree);
    }
    return tree;
  }

  scratch(name: string, part?: string): string {
    if (this.driver.command) return this.tree(part);
    runTool(['cp', '-a', join(this.tree(part), name), this.directory]);
    return this.directory;
  }
}
