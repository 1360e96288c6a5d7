/** podman and buildah with the binary as their overlay.mount_program, in a store of their own. */
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { bash, run, type Finished, type RunOptions } from './run.js';
import { STRATAFS } from './union.js';

export interface Engine {
  readonly dir: string;
  podman(args: readonly string[], options?: RunOptions): Promise<Finished>;
  buildah(args: readonly string[], options?: RunOptions): Promise<Finished>;
}

/** Limits of a container: no higher than this machine's, which a runtime may not raise everywhere. */
interface Limits {
  readonly nofile: number;
  readonly nproc: number;
}

interface EngineOptions {
  /** A storage.conf that says what otherwise flags say. */
  readonly storageConf?: string;
}

export async function engineIn(dir: string, options: EngineOptions = {}): Promise<Engine> {
  const { storageConf } = options;
  await mkdir(dir, { recursive: true });
  const conf = `${dir}/containers.conf`;
  await writeFile(conf, await containersConf());
  const env = {
    CONTAINERS_CONF: conf,
    PODMAN_IGNORE_CGROUPSV1_WARNING: '1',
    PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`,
    ...(storageConf === undefined ? {} : { CONTAINERS_STORAGE_CONF: storageConf }),
  };
  const flags = [
    ...['--root', `${dir}/store`, '--runroot', `${dir}/run`],
    ...['--storage-driver', 'overlay'],
    ...['--storage-opt', `overlay.mount_program=${STRATAFS}`],
  ];
  const store = storageConf === undefined ? flags : [];
  const call =
    (program: string, own: readonly string[]) =>
    async (args: readonly string[], options: RunOptions = {}): Promise<Finished> => {
      await cleanedUp(dir);
      return run(program, [...store, ...own, ...args], { timeout: 120_000, ...options, env });
    };
  return {
    dir,
    podman: call('podman', ['--runtime', 'runc', '--tmpdir', `${dir}/tmp`]),
    buildah: call('buildah', []),
  };
}

/**
 * Waits for the `podman container cleanup` that conmon starts when a container ends, so that each
 * command of a test finds the store at rest. Not known to be needed.
 */
async function cleanedUp(dir: string): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
    const lines = await Promise.all(
      pids.map((pid) => readFile(`/proc/${pid}/cmdline`, 'latin1').catch(() => '')),
    );
    const busy = lines.some(
      (line) => /^[^\0]*podman\0.*\0cleanup\0/s.test(line) && line.includes(dir),
    );
    if (!busy) return;
    await sleep(50);
  }
  throw new Error(`podman container cleanup of ${dir} does not end`);
}

/** Flags of `podman build`, which does not read the limits from containers.conf. */
export async function buildLimits(): Promise<string[]> {
  const { nofile, nproc } = await limits();
  return ['--ulimit', `nofile=${nofile}:${nofile}`, '--ulimit', `nproc=${nproc}:${nproc}`];
}

/** A tar of a root file system of busybox alone, as `podman import` takes it. */
export async function busyboxRoot(dir: string): Promise<string> {
  const root = `${dir}/busybox`;
  await bash(
    `mkdir -p ${root}/bin ${root}/etc/opt ${root}/tmp ${root}/proc ${root}/sys ${root}/dev ${root}/root
cd ${root}; chmod 1777 tmp; install -m755 /bin/busybox bin/busybox
for a in $(/bin/busybox --list); do [ "$a" = busybox ] || ln -s busybox "bin/$a"; done
echo 'root:x:0:0:root:/root:/bin/sh' > etc/passwd; echo 'root:x:0:' > etc/group
for n in 1 2 3 4 5; do echo $n > etc/opt/f$n; done
tar -C ${root} --numeric-owner -cf ${dir}/busybox.tar .; rm -r ${root}`,
  );
  return `${dir}/busybox.tar`;
}

/** A containers.conf that works on this machine. */
export const containersConf = async (): Promise<string> => configuration(await limits());

function configuration({ nofile, nproc }: Limits): string {
  return `[containers]
cgroups = "enabled"
netns = "host"
log_driver = "k8s-file"
default_ulimits = [ "nofile=${nofile}:${nofile}", "nproc=${nproc}:${nproc}" ]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
`;
}

async function limits(): Promise<Limits> {
  const { stdout } = await bash('ulimit -Hn; ulimit -Hu');
  const [nofile = '', nproc = ''] = stdout.split('\n');
  // podman lowers its own process limit to pid_max first.
  const most = Number(await readFile('/proc/sys/kernel/pid_max', 'utf8'));
  const bounded = (text: string, top: number): number =>
    text === 'unlimited' ? top : Math.min(Number(text), top);
  return { nofile: bounded(nofile, 1_048_576), nproc: bounded(nproc, most) };
}
