/**
 * Objects without xattrs, which is nearly all (src/overlay/data/bare.ts): what is answered for them without
 * being looked at must stay true.
 */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { rmSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { liveMounts, mountStats } from '../../src/client/ask.js';
import { type Mounted, withMount } from '../support/mount.js';
import { has } from '../support/needs.js';
import { mustRun, scratch } from '../support/run.js';

const CAPABILITY = '0x0100000202040000000000000000000000000000';
const FILES = 200;

/** What a walk of c/storage asks of each object: lstat, security.capability, and the list of names. */
const WALK = `
import os, sys, errno
told = {}
for top, dirs, files in os.walk(sys.argv[1]):
    for name in dirs + files:
        path = os.path.join(top, name)
        os.lstat(path)
        try: found = ['security.capability=' + os.getxattr(path, 'security.capability', follow_symlinks=False).hex()]
        except OSError as e: found = [errno.errorcode[e.errno]]
        try: found += sorted(os.listxattr(path, follow_symlinks=False))
        except OSError as e: found += [errno.errorcode[e.errno]]
        told[os.path.relpath(path, sys.argv[1])] = found
for path in sorted(told):
    if told[path] != ['ENODATA']: print(path, *told[path])
`;

async function walk(mounted: Mounted): Promise<string[]> {
  const { stdout } = await mustRun('python3', ['-c', WALK, mounted.path]);
  return stdout.trim() === '' ? [] : stdout.trim().split('\n');
}

async function questions({ path }: Mounted): Promise<number> {
  const served = (await liveMounts()).find(({ mountpoint }) => mountpoint === path);
  const stats = served && (await mountStats(served));
  if (!stats) throw new Error(`${path} is not served`);
  return (stats.requests['GETXATTR'] ?? 0) + (stats.requests['LISTXATTR'] ?? 0);
}

const sh = async (script: string, ...args: string[]): Promise<void> => {
  await mustRun('sh', ['-euc', script, 'sh', ...args]);
};

describe.skipIf(
  !has({ root: true, fuse: true, stratafs: true, programs: ['python3', 'setfattr'] }),
)('objects without xattrs', () => {
  let base: string;
  let lower: string;
  let stack: { lowers: string[]; upper: string; work: string };

  beforeEach(async () => {
    base = scratch('bare');
    lower = `${base}/lower`;
    const [upper, work] = [`${base}/upper`, `${base}/work`];
    stack = { lowers: [lower], upper, work };
    await sh(
      `mkdir -p "$1/a/b" "$2" "$3" "$4"; cd "$1"; for n in $(seq ${FILES}); do echo $n > a/f$n; done
         ln -s nowhere a/link; mknod a/device c 1 3; echo deep > a/b/deep; setfattr -n trusted.overlay.impure -v y a`,
      ...[lower, upper, work, `${base}/mnt`],
    );
  });

  afterEach(() => {
    rmSync(base, { recursive: true, force: true });
  });

  test('a read-only mount of layers without any is asked no more in a store of podman', async () => {
    const layer = `${base}/overlay/id/diff`;
    const place = 'mkdir -p "$1/overlay/id"; mv "$2" "$3"; touch "$1/overlay/.has-mount-program"';
    await sh(place, base, lower, layer);
    await withMount('stratafs', { lowers: [layer] }, `${base}/mnt`, async (_, mounted) => {
      await walk(mounted);
      await expect
        .poll(() => walk(mounted), { timeout: 20_000 })
        .toContain('a/b/deep ENOTSUP ENOTSUP');
      const before = await questions(mounted);
      expect((await walk(mounted)).length).toBe(FILES + 5);
      expect(await questions(mounted)).toBe(before);
      await sh(
        `tar -C "$1" --xattrs --acls -cf - . >/dev/null; cp -a "$1/a" "$2/copy"`,
        mounted.path,
        base,
      );
    });
  });

  test('anywhere else it says of each object that it has none', () =>
    withMount('stratafs', { lowers: [lower] }, `${base}/mnt`, async (_, mounted) => {
      for (let turn = 0; turn < 5; turn++) {
        expect(await walk(mounted)).toEqual([]);
        await sleep(100);
      }
    }));

  test('one capability in a layer is told, however often the others are asked for', async () => {
    await sh(`setfattr -n security.capability -v ${CAPABILITY} "$1/a/b/deep"`, lower);
    await withMount('stratafs', { lowers: [lower] }, `${base}/mnt`, async (_, mounted) => {
      const told = [`a/b/deep security.capability=${CAPABILITY.slice(2)} security.capability`];
      for (let turn = 0; turn < 4; turn++) {
        expect(await walk(mounted)).toEqual(told);
        await sleep(100);
      }
    });
  });

  test('what changes in a mount that is written to is told anew', () =>
    withMount('stratafs', stack, `${base}/mnt`, async (_, mounted) => {
      expect(await walk(mounted)).toEqual([]);
      expect(await walk(mounted)).toEqual([]);
      await sh(
        `cd "$1/a"; setfattr -n security.capability -v ${CAPABILITY} f1
           setfattr -n user.note -v hello f2; setfacl -m u:1000:r f3; setfattr -n user.note -v dir b
           chmod 600 f4; mv f2 moved; ln f1 linked`,
        mounted.path,
      );
      const capable = `security.capability=${CAPABILITY.slice(2)} security.capability`;
      expect(await walk(mounted)).toEqual([
        'a/b ENODATA user.note',
        `a/f1 ${capable}`,
        'a/f3 ENODATA system.posix_acl_access',
        `a/linked ${capable}`,
        'a/moved ENODATA user.note',
      ]);
      // A write takes the capability away; the numbers of the removed are given to new ones.
      await sh(
        `cd "$1/a"; echo more >> f1; setfattr -x user.note b; rm moved f3 f1?; rm linked
           for n in $(seq 20); do echo $n > n$n; setfattr -n user.n -v $n n$n; done`,
        mounted.path,
      );
      const told = await walk(mounted);
      expect(told.length).toBe(20);
      expect(told.every((line) => /^a\/n\d+ ENODATA user\.n$/.test(line))).toBe(true);
      expect(await walk(mounted)).toEqual(told);
    }));

  test('a default ACL reaches what is made below it', () =>
    withMount('stratafs', stack, `${base}/mnt`, async (_, mounted) => {
      await walk(mounted);
      await walk(mounted);
      await sh(
        'cd "$1/a"; setfacl -d -m u:1000:rwx b; echo new > b/new; mkdir b/below',
        mounted.path,
      );
      expect(await walk(mounted)).toEqual([
        'a/b ENODATA system.posix_acl_default',
        'a/b/below ENODATA system.posix_acl_access system.posix_acl_default',
        'a/b/new ENODATA system.posix_acl_access',
      ]);
    }));
});
