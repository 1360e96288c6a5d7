import {
  appendFile,
  chmod,
  chown,
  copyFile,
  mkdir,
  mkdtemp,
  readFile,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { has, stratafsBinary } from '../support/needs.js';
import { type Finished, run } from './support/run.js';
import { makeImages, type TestStore, testStore } from './support/store.js';
import { MOUNTS } from './support/union.js';

const PROGRAMS = ['buildah', 'skopeo', 'busybox', 'setfattr', 'newuidmap', 'setpriv', 'unshare'];
const USER = 64_123;
const FIRST = 700_000;
let runtime = '';

/** Runs a script as an ordinary user who is in /etc/passwd and, unless told, in /etc/subuid: of a private mount. */
async function asUser(store: TestStore, script: string, ranges = true): Promise<Finished> {
  const { dir } = store;
  await copyFile('/etc/passwd', `${dir}/passwd`);
  await appendFile(`${dir}/passwd`, `stratafs-test:x:${USER}:${USER}::/nonexistent:/bin/sh\n`);
  await writeFile(`${dir}/subuid`, ranges ? `stratafs-test:${FIRST}:65536\n` : '');
  const outer = `set -e; mount --bind ${dir}/passwd /etc/passwd
for f in subuid subgid; do [ -e /etc/$f ] || : > /etc/$f; mount --bind ${dir}/subuid /etc/$f; done
exec setpriv --reuid ${USER} --regid ${USER} --clear-groups sh -ec "$0"`;
  // The keeper of the user namespace goes with the script.
  const inner = `trap 'kill $(cut -d" " -f1 ${runtime}/stratafs/userns.pid)' EXIT; ${script}`;
  const env = {
    HOME: `${dir}/home`,
    XDG_RUNTIME_DIR: runtime,
    S: stratafsBinary(),
    STRATAFS_ROOT: '',
  };
  return run('unshare', ['-m', 'sh', '-c', outer, inner], {
    env,
    cwd: dir,
    timeout: 300_000,
    mayFail: true,
  });
}

describe.skipIf(!has({ ...MOUNTS, programs: PROGRAMS, namespaces: true }))(
  'the store of an ordinary user',
  () => {
    let store: TestStore;

    beforeAll(async () => {
      store = await testStore();
      await makeImages(store.dir);
      await chmod(store.dir, 0o755);
      await mkdir(`${store.dir}/home`, { mode: 0o700 });
      // Short: it holds sockets.
      runtime = await mkdtemp('/tmp/sfs-');
      for (const path of [runtime, `${store.dir}/home`]) await chown(path, USER, USER);
    }, 300_000);

    afterAll(async () => {
      await rm(runtime, { recursive: true, force: true });
      await store.remove();
    });

    it('loads, verifies, saves and removes, in a user namespace of the user’s', async () => {
      const said = await asUser(
        store,
        `$S load -q -i ${store.dir}/app.tar; $S images --no-trunc -q; $S layer verify; $S fsck --deep
$S save -o $HOME/out.tar localhost/app:1; $S image inspect -f '{{.GraphDriver.Data.UpperDir}}' localhost/app:1`,
      );
      expect(said.code, said.stderr).toBe(0);
      const [loaded, id, ...rest] = said.stdout.trim().split('\n');
      expect(loaded).toBe('Loaded image: localhost/app:1');
      expect(rest.slice(0, -1)).toEqual([
        expect.stringMatching(/: ok$/),
        expect.stringMatching(/: ok$/),
        'the store is clean',
      ]);
      // Only what the kernel forbids is left out, and it is said: a device node.
      expect(said.stderr).toMatch(/device/);
      expect(said.stderr.trim().split('\n').length).toBe(1);
      await store.ok('load', '-q', '-i', `${store.dir}/home/out.tar`);
      expect(await store.ok('images', '--no-trunc', '-q')).toBe(id);
      // What belongs to 1000 inside belongs to the user's range outside.
      const top = rest.at(-1) ?? '';
      const owned = await stat(`${top}/t/owned`);
      expect([owned.uid, owned.gid]).toEqual([FIRST + 999, FIRST + 1000]);
      expect((await stat(`${top}/t/h1`)).uid).toBe(USER);
    });

    it('all commands share one namespace, which a killed keeper gives back', async () => {
      const said = await asUser(
        store,
        `$S images -q >/dev/null; a=$(cat ${runtime}/stratafs/userns.pid)
for i in 1 2 3 4; do $S images -q >/dev/null & done; wait
[ "$a" = "$(cat ${runtime}/stratafs/userns.pid)" ]
p=$(echo $a | cut -d' ' -f1); kill -9 $p; while grep -q '^[0-9]* ([^)]*) [^Z]' /proc/$p/stat 2>/dev/null; do sleep 0.1; done; $S images -q >/dev/null; cat ${runtime}/stratafs/userns.pid; echo "$a"`,
      );
      expect(said.code, said.stderr).toBe(0);
      const [after, before] = said.stdout.trim().split('\n');
      expect(after).not.toBe(before);
    });

    it('of a user with one ID: everything becomes the user’s own', async () => {
      const said = await asUser(
        store,
        `export XDG_DATA_HOME=$HOME/one; $S load -q -i ${store.dir}/app.tar; $S layer verify; $S image inspect -f '{{.GraphDriver.Data.UpperDir}}' localhost/app:1`,
        false,
      );
      expect(said.code, said.stderr).toBe(0);
      expect(said.stdout).not.toContain('damaged');
      const top = said.stdout.trim().split('\n').at(-1) ?? '';
      expect((await stat(`${top}/t/owned`)).uid).toBe(USER);
    });

    it('is another one than root’s', async () => {
      const version = await readFile(`${store.dir}/home/.local/share/stratafs/version`, 'utf8');
      expect(version).toBe('stratafs store 1\n');
    });
  },
);
