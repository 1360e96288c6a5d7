/**
 * A private dockerd that touches no network. STRATAFS_DOCKERD names another one than that on PATH (28 for
 * example), STRATAFS_CONTAINERD the directory of its containerd.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Finished, run, type RunOptions } from './run.js';

const DOCKERD = process.env['STRATAFS_DOCKERD'] ?? 'dockerd';
const START_MS = 60_000;
const NO_NETWORK = [
  '--iptables=false',
  '--ip6tables=false',
  '--bridge=none',
  '--ip-forward=false',
  '--ip-masq=false',
];

export interface DockerOptions {
  readonly storageDriver: string;
  /** Of a containerd that runs already. */
  readonly containerd?: string;
  /** daemon.json. */
  readonly settings?: object;
  /** Before all others on dockerd's PATH. */
  readonly path?: string;
}

export class Docker {
  readonly dir: string;
  readonly #daemon: ChildProcess;
  readonly #path: string;

  private constructor(dir: string, daemon: ChildProcess, path: string) {
    this.dir = dir;
    this.#daemon = daemon;
    this.#path = path;
  }

  static async start(dir: string, options: DockerOptions): Promise<Docker> {
    mkdirSync(dir, { recursive: true });
    writeFileSync(`${dir}/daemon.json`, JSON.stringify(options.settings ?? {}));
    const path = [
      ...(options.path === undefined ? [] : [options.path]),
      process.env['PATH'] ?? '',
      '/usr/sbin',
    ].join(':');
    const args = [
      ...['-H', `unix://${dir}/d.sock`, '--data-root', `${dir}/data`, '--exec-root', `${dir}/exec`],
      ...['-p', `${dir}/d.pid`, '--config-file', `${dir}/daemon.json`, ...NO_NETWORK],
      ...['--storage-driver', options.storageDriver, '--exec-opt', 'native.cgroupdriver=cgroupfs'],
      ...['--containerd-namespace', `stratafs-${process.pid}`],
      ...(options.containerd === undefined ? [] : ['--containerd', options.containerd]),
    ];
    const log = openSync(`${dir}/log`, 'w');
    const child = spawn(DOCKERD, args, {
      stdio: ['ignore', log, log],
      env: { ...process.env, PATH: path },
      detached: true,
    });
    closeSync(log);
    const docker = new Docker(dir, child, path);
    const deadline = Date.now() + START_MS;
    while ((await docker.cli(['version'], { mayFail: true })).code !== 0) {
      if (child.exitCode !== null || Date.now() > deadline) {
        throw new Error(
          `dockerd did not start:\n${readFileSync(`${dir}/log`, 'utf8').slice(-2000)}`,
        );
      }
      await sleep(100);
    }
    return docker;
  }

  cli(args: readonly string[], options: RunOptions = {}): Promise<Finished> {
    const env = {
      PATH: this.#path,
      DOCKER_HOST: `unix://${this.dir}/d.sock`,
      DOCKER_CONFIG: this.dir,
    };
    return run('docker', args, { timeout: 120_000, ...options, env });
  }

  /** What a command prints, without the last newline. */
  async text(...args: readonly string[]): Promise<string> {
    return (await this.cli(args)).stdout.trimEnd();
  }

  async stop(): Promise<void> {
    if (this.#daemon.exitCode !== null) return;
    const exit = once(this.#daemon, 'exit');
    this.#daemon.kill('SIGTERM');
    await exit;
  }
}
