/** A store with one image for tests of containers, and its end: nothing runs, nothing is mounted. */
import { chmod, copyFile, mkdir, symlink, writeFile } from 'node:fs/promises';
import { type Finished, type RunOptions } from './run.js';
import { type TestStore, testStore } from './store.js';
import { unmountBelow } from './union.js';

/** What the tests of containers need installed. */
export const CONTAINER_PROGRAMS = ['runc', 'conmon', 'busybox'];

const APPLETS = [
  ...['sh', 'ls', 'cat', 'echo', 'true', 'false', 'sleep', 'rm', 'mkdir', 'id', 'env', 'touch'],
  ...['stty', 'wget', 'nc', 'dd', 'grep', 'seq', 'mount', 'tty', 'wc', 'mv', 'hostname', 'chmod'],
];

export interface ContainerStore extends TestStore {
  /** `run --network none ARGS`. */
  start(...args: string[]): Promise<string>;
  end(): Promise<void>;
}

/** The root of the image `bb`: busybox, two users, /data with a file. */
async function makeRoot(root: string): Promise<void> {
  for (const dir of ['bin', 'etc', 'tmp', 'data', 'srv']) {
    await mkdir(`${root}/${dir}`, { recursive: true });
  }
  await copyFile('/bin/busybox', `${root}/bin/busybox`);
  for (const name of APPLETS) await symlink('busybox', `${root}/bin/${name}`);
  await writeFile(
    `${root}/etc/passwd`,
    'root:x:0:0::/root:/bin/sh\nu:x:1000:1000::/home/u:/bin/sh\n',
  );
  await writeFile(`${root}/etc/group`, 'root:x:0:\ng:x:1001:u\n');
  await writeFile(`${root}/data/one`, 'one\n');
  await chmod(`${root}/tmp`, 0o1777);
}

export async function containerStore(): Promise<ContainerStore> {
  const store = await testStore();
  await makeRoot(`${store.dir}/rootfs`);
  const changes = ['CMD ["/bin/sh"]', 'ENV PATH=/bin', 'ENV FROM_IMAGE=yes', 'LABEL who=test'];
  await store.ok(
    'import',
    ...changes.flatMap((each) => ['--change', each]),
    `${store.dir}/rootfs`,
    'bb',
  );
  return {
    ...store,
    start: (...args) => store.ok('run', '--network', 'none', ...args),
    async end() {
      const ids = (await store.ok('ps', '-aq')).split('\n').filter(Boolean);
      if (ids.length > 0) await store.run(['rm', '-f', '-v', ...ids]);
      await unmountBelow(store.dir);
      await store.remove();
    },
  };
}

/** Runs in a terminal of its own (script(1)); what it printed, with the line ends that a terminal has. */
export function inTerminal(
  store: TestStore,
  line: string,
  run: (program: string, args: readonly string[], options: RunOptions) => Promise<Finished>,
  input = '',
): Promise<Finished> {
  return run('script', ['-qec', line, '/dev/null'], { env: store.env, input, mayFail: true });
}
