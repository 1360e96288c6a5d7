/**
 * A private containerd with `stratafs snapshotter` as its plug-in, both in one directory.
 * STRATAFS_CONTAINERD names a directory with another containerd than the one on PATH (2.x for example).
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { containerdConfig } from '../../../src/driver/setup/containerd.js';
import { type Finished, run, type RunOptions } from './run.js';
import { STRATAFS } from './union.js';

const OTHER = process.env['STRATAFS_CONTAINERD'];
const PATH = [...(OTHER === undefined ? [] : [OTHER]), process.env['PATH'] ?? '', '/usr/sbin'].join(
  ':',
);
const START_MS = 60_000;

/** 1 or 2: from 2 on containerd takes diff plug-ins. */
export async function containerdMajor(): Promise<number> {
  const { stdout } = await run('containerd', ['--version'], { env: { PATH } });
  return Number(/ v?(\d+)\.\d+\.\d+/.exec(stdout)?.[1]);
}

export interface ContainerdOptions {
  readonly mounts?: 'bind' | 'fuse3';
  /** More of the configuration, as text. */
  readonly config?: string;
  /** False: without the diff plug-in. */
  readonly diff?: boolean;
  /** Kubernetes' interface, with this image for the sandboxes; names are in the namespace k8s.io. */
  readonly sandboxImage?: string;
}

/** CRI on this kind of machine: no CNI, no right to raise limits. */
const criConfig = (dir: string, image: string): string => `
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${image}"
  restrict_oom_score_adj = true
  tolerate_missing_hugetlb_controller = true
  disable_apparmor = true
  stream_server_address = "127.0.0.1"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "${dir}/cni"
    conf_dir = "${dir}/cni"
`;

export class Containerd {
  readonly dir: string;
  readonly major: number;
  readonly #options: ContainerdOptions;
  #daemon: ChildProcess | undefined;
  #snapshotter: ChildProcess | undefined;

  private constructor(dir: string, major: number, options: ContainerdOptions) {
    this.dir = dir;
    this.major = major;
    this.#options = options;
  }

  static async start(dir: string, options: ContainerdOptions = {}): Promise<Containerd> {
    mkdirSync(dir, { recursive: true });
    const engine = new Containerd(dir, await containerdMajor(), options);
    const text = containerdConfig({
      version: 2,
      socket: engine.snapshotterSocket,
      root: engine.root,
      diff: engine.diffs,
      cri: options.sandboxImage !== undefined,
    });
    const own = `version = 2
root = "${dir}/data"
state = "${dir}/state"
${options.sandboxImage === undefined ? 'disabled_plugins = ["io.containerd.grpc.v1.cri"]' : ''}
[grpc]
  address = "${engine.socket}"
[ttrpc]
  address = "${engine.socket}.ttrpc"
`;
    writeFileSync(
      `${dir}/config.toml`,
      own +
        text.replace(/^version.*\n/m, '') +
        (options.sandboxImage === undefined ? '' : criConfig(dir, options.sandboxImage)) +
        (options.config ?? ''),
    );
    await engine.startSnapshotter();
    await engine.startDaemon();
    return engine;
  }

  get socket(): string {
    return `${this.dir}/c.sock`;
  }

  get snapshotterSocket(): string {
    return `${this.dir}/s.sock`;
  }

  /** Not `default`: runc's directory is the machine's, and another run may be going on. */
  get namespace(): string {
    return this.#options.sandboxImage === undefined ? `stratafs-${process.pid}` : 'k8s.io';
  }

  /** The snapshotter's directory. */
  get root(): string {
    return `${this.dir}/snapshots`;
  }

  /** The diff plug-in is used. */
  get diffs(): boolean {
    return this.major >= 2 && this.#options.diff !== false;
  }

  async startSnapshotter(): Promise<void> {
    const mounts = this.#options.mounts ?? 'bind';
    const flags = ['--root', this.root, '--address', this.snapshotterSocket, '--mounts', mounts];
    const args = ['snapshotter', ...flags, '--containerd', this.socket];
    this.#snapshotter = this.#spawn(STRATAFS, args, 'snapshotter.log');
    await this.#until(() => this.log.includes('listening at'), this.#snapshotter);
  }

  /** Starts it while containerd runs, which tries to connect again after a few seconds. */
  async restartSnapshotter(): Promise<void> {
    await this.startSnapshotter();
    const list = ['snapshots', '--snapshotter', 'stratafs', 'prepare', `probe-${Date.now()}`];
    const deadline = Date.now() + START_MS;
    while ((await this.ctr(list, { mayFail: true })).code !== 0) {
      if (Date.now() > deadline) throw new Error('containerd does not find the snapshotter again');
      await sleep(100);
    }
    await this.ctr(['snapshots', '--snapshotter', 'stratafs', 'rm', list[list.length - 1]]);
  }

  async startDaemon(): Promise<void> {
    this.#daemon = this.#spawn('containerd', ['-c', `${this.dir}/config.toml`], 'containerd.log');
    await this.#until(
      async () => (await this.ctr(['version'], { mayFail: true })).code === 0,
      this.#daemon,
    );
  }

  /** What the snapshotter has said since its start. */
  get log(): string {
    return readFileSync(`${this.dir}/snapshotter.log`, 'utf8');
  }

  #spawn(program: string, args: readonly string[], log: string): ChildProcess {
    const fd = openSync(`${this.dir}/${log}`, 'w');
    const child = spawn(program, args, {
      stdio: ['ignore', fd, fd],
      env: { ...process.env, PATH },
      detached: true,
    });
    closeSync(fd);
    return child;
  }

  async #until(act: () => boolean | Promise<boolean>, child: ChildProcess): Promise<void> {
    const deadline = Date.now() + START_MS;
    while (!(await act())) {
      if (child.exitCode !== null || Date.now() > deadline) {
        const said = readFileSync(`${this.dir}/containerd.log`, 'utf8').slice(-2000);
        throw new Error(`it did not start:\n${this.log}\n${said}`);
      }
      await sleep(50);
    }
  }

  /** For scripts that call ctr. */
  get environment(): Readonly<Record<string, string>> {
    return {
      PATH,
      CONTAINERD_ADDRESS: this.socket,
      CONTAINERD_NAMESPACE: this.namespace,
    };
  }

  ctr(args: readonly string[], options: RunOptions = {}): Promise<Finished> {
    return run('ctr', args, { timeout: 120_000, ...options, env: this.environment });
  }

  /** `ctr` with a command that knows a snapshotter. */
  with(snapshotter: string) {
    return (args: readonly string[], options: RunOptions = {}): Promise<Finished> => {
      const at = args[0] === 'snapshots' ? 1 : 2;
      const flags = ['--snapshotter', snapshotter];
      return this.ctr([...args.slice(0, at), ...flags, ...args.slice(at)], options);
    };
  }

  async endSnapshotter(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    await end(this.#snapshotter, signal);
  }

  /** Ends everything, containers first. */
  async stop(): Promise<void> {
    const { stdout } = await this.ctr(['tasks', 'ls', '-q'], { mayFail: true });
    for (const task of stdout.split('\n').filter((name) => name !== '')) {
      await this.ctr(['tasks', 'kill', '-s', 'KILL', task], { mayFail: true });
      await this.ctr(['tasks', 'rm', '-f', task], { mayFail: true });
    }
    await end(this.#daemon, 'SIGTERM');
    await end(this.#snapshotter, 'SIGTERM');
  }
}

async function end(child: ChildProcess | undefined, signal: NodeJS.Signals): Promise<void> {
  if (!child || child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, 'exit');
  child.kill(signal);
  await exit;
}
