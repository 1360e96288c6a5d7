/** Layers on every common file system, alone and mixed, as lowers and as uppers, on loop devices. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { mkdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Client } from '../support/client.js';
import { MOUNT_NEEDS } from '../support/fixture.js';
import { type Driver, featureOptions, type Stack, withMount } from '../support/mount.js';
import { has, type Needs } from '../support/needs.js';
import { mustRun, run, scratch } from '../support/run.js';
import { mountsBelow } from '../support/staleMounts.js';
import {
  build,
  differences,
  dir,
  type Entry,
  file,
  isPrivateXattr,
  manifest,
  manifestOf,
  symlink,
} from '../support/tree.js';

const MIB = 1 << 20;
const NEEDS: Needs = { ...MOUNT_NEEDS, kernelOverlay: true };

interface FileSystem {
  readonly name: string;
  readonly needs: Needs;
  /** Makes one in the file `image`; absent: it needs none. */
  readonly make?: readonly string[];
  readonly size: number;
}

const FILE_SYSTEMS: readonly FileSystem[] = [
  { name: 'ext4', make: ['mkfs.ext4', '-q', '-F'], size: 64 * MIB },
  { name: 'xfs', make: ['mkfs.xfs', '-q', '-f'], size: 320 * MIB },
  { name: 'btrfs', make: ['mkfs.btrfs', '-q', '-f'], size: 256 * MIB },
  { name: 'tmpfs', size: 64 * MIB },
].map((each) => ({
  ...each,
  needs: {
    ...NEEDS,
    fileSystems: [each.name],
    ...(each.make ? { loop: true, programs: ['gcc', each.make[0] ?? ''] } : {}),
  },
}));

const LOWER: readonly Entry[] = [
  file('f', 'lower', { mode: 0o640, uid: 7, gid: 8, xattrs: { 'user.note': 'v' } }),
  file('gone'),
  file('big', { size: 3 * MIB, seed: 1, hole: MIB }),
  dir('d'),
  file('d/in', 'in'),
  file('d/out'),
  symlink('l', 'f'),
  dir('away'),
  file('away/x', 'x'),
];

async function change(client: Client): Promise<void> {
  await client.must('chmod', 'f', 0o600);
  // Its data is still in the lower, whose file system may know of no fsync.
  await client.must('open', 0, 'f', 0, 0);
  await client.must('fsync', 0);
  await client.must('fdatasync', 0);
  await client.must('close', 0);
  await client.must('unlink', 'gone');
  await client.must('open', 0, 'big', 2, 0);
  await client.must('write', 0, 5, 'changed');
  await client.must('fsync', 0);
  await client.must('close', 0);
  await client.must('rename', 'd', 'renamed', 0);
  await client.must('unlink', 'renamed/out');
  await client.must('unlink', 'away/x');
  await client.must('rmdir', 'away');
  await client.must('mkdir', 'away', 0o755);
  await client.must('link', 'f', 'f2');
  await client.must('symlink', 'x', 'renamed/l');
}

const ignored = (_: string, field: string): boolean =>
  ['d_ino', 'ino', 'blocks'].includes(field) || isPrivateXattr(field);

/** What somebody without rights of their own meets, and the ACL that the kernel asks for then. */
async function othersMeet(client: Client): Promise<string[]> {
  await client.must('ident', 1000, 1000);
  const met = [
    await client.errno('access', 'renamed/in', 4),
    await client.errno('access', 'renamed/in', 2),
    await client.errno('open', 0, 'big', 0, 0),
    await client.errno('open', 1, 'f', 0, 0),
  ];
  await client.must('ident', 0, 0);
  return [...met, await client.errno('getxattr', 'renamed/in', 'system.posix_acl_access')];
}

let base = '';

beforeEach(() => {
  base = scratch('file-systems');
  mkdirSync(join(base, 'mnt'));
});

afterEach(async () => {
  for (const at of mountsBelow(base).toReversed()) {
    // The host closes the layers of the last mount a moment after that mount is gone.
    for (let tries = 0; tries < 50 && (await run('umount', [at])).code !== 0; tries++)
      await new Promise((resolve) => setTimeout(resolve, 100));
  }
  expect(mountsBelow(base)).toEqual([]);
  rmSync(base, { recursive: true });
});

async function mountNew({ name, make, size }: FileSystem): Promise<string> {
  const at = join(base, name);
  mkdirSync(at);
  if (!make) {
    await mustRun('mount', ['-t', name, '-o', `size=${size}`, 'test', at]);
    return at;
  }
  const image = `${at}.img`;
  writeFileSync(image, '');
  truncateSync(image, size);
  await mustRun(make[0] ?? '', [...make.slice(1), image]);
  await mustRun('mount', ['-o', 'loop', image, at]);
  return at;
}

interface Changeable extends Stack {
  readonly upper: string;
  readonly work: string;
}

/** Lower (unless there are `lowers`), upper and workdir in directory `at`. */
async function stackOn(at: string, lowers?: readonly string[]): Promise<Changeable> {
  const [lower, upper, work] = [join(at, 'lower'), join(at, 'upper'), join(at, 'work')];
  for (const path of [upper, work]) mkdirSync(path);
  if (lowers) return { lowers, upper, work };
  mkdirSync(lower);
  await build(lower, LOWER);
  return { lowers: [lower], upper, work };
}

/** Without the index: some of these file systems have no handles for it, and it is refused then. */
const on = <T>(driver: Driver, stack: Stack, body: (client: Client) => Promise<T>): Promise<T> => {
  const full = featureOptions(driver, 'full').filter((option) => !option.startsWith('index='));
  return withMount(driver, stack, join(base, 'mnt'), body, [...full, 'index=off']);
};

/** Changes a union, and sees that it, its next mount and kernel overlayfs show one tree, and that no lower changed. */
async function changeAndCompare(stack: Stack): Promise<void> {
  const before = await Promise.all(stack.lowers.map(manifestOf));
  const changed = await on('stratafs', stack, async (client) => {
    await change(client);
    return manifest(client);
  });
  expect([...changed.keys()].toSorted()).toEqual(
    ['.', 'away', 'big', 'f', 'f2', 'l', 'renamed', 'renamed/in', 'renamed/l'].toSorted(),
  );
  for (const driver of ['stratafs', 'kernel'] as const) {
    const [seen, met] = await on(driver, stack, async (client) => [
      await manifest(client),
      await othersMeet(client),
    ]);
    expect([driver, ...differences(changed, seen, ignored)]).toEqual([driver]);
    expect([driver, ...met]).toEqual([driver, 'ok', 'EACCES', 'ok', 'EACCES', 'ENODATA']);
  }
  expect(await Promise.all(stack.lowers.map(manifestOf))).toEqual(before);
}

for (const fileSystem of FILE_SYSTEMS) {
  describe.skipIf(!has(fileSystem.needs))(`layers on ${fileSystem.name}`, () => {
    test('upper and lower', async () => {
      await changeAndCompare(await stackOn(await mountNew(fileSystem)));
    });

    test('a lower there, the upper on another file system', async () => {
      const at = await mountNew(fileSystem);
      const { lowers } = await stackOn(at);
      const other = join(base, 'other');
      mkdirSync(other);
      await changeAndCompare(await stackOn(other, lowers));
    });
  });
}

/** Writes the second byte of a file, and tells its size before and after, and its last byte. */
const CHANGE_HUGE = `
import os, sys
for path in sys.argv[1:]:
    size = os.stat(path).st_size
    fd = os.open(path, os.O_RDWR)
    os.pwrite(fd, b"X", 1)
    os.fsync(fd)
    print(size, os.fstat(fd).st_size, os.pread(fd, 1, size - 1))
`;
describe.skipIf(!has({ ...NEEDS, fileSystems: ['tmpfs'], programs: ['gcc', 'python3'] }))(
  'files of more bytes than a number counts exactly',
  () => {
    test.each([['metacopy=on'], ['metacopy=off']])(
      'are copied up whole, with %s',
      async (option) => {
        const stack = await stackOn(
          await mountNew({ name: 'tmpfs', needs: NEEDS, size: 64 * MIB }),
        );
        const sizes = [2n ** 53n + 1n, 2n ** 63n - 1n].map(String);
        for (const size of sizes) {
          const path = join(stack.lowers[0] ?? '', size);
          writeFileSync(path, Buffer.alloc(2 * MIB, 'd'));
          await mustRun('truncate', ['-s', size, path]);
        }
        const paths = sizes.map((size) => join(base, 'mnt', size));
        await withMount(
          'stratafs',
          stack,
          join(base, 'mnt'),
          async (client) => {
            for (const size of option === 'metacopy=on' ? sizes : [])
              await client.must('chmod', size, 0o600);
            const { stdout } = await mustRun('python3', ['-c', CHANGE_HUGE, ...paths]);
            const told = sizes.map((size) => `${size} ${size} b'\\x00'`);
            expect(stdout.trimEnd().split('\n')).toEqual(told);
          },
          [option],
        );
        for (const size of sizes) {
          const { stdout } = await mustRun('stat', ['-c', '%s', join(stack.upper, size)]);
          expect(stdout.trimEnd()).toBe(size);
          const bytes = (await mustRun('head', ['-c', '3', join(stack.upper, size)])).stdout;
          expect(bytes).toBe('dXd');
        }
      },
    );
  },
);

const IMAGES: readonly (readonly [name: string, program: string, args: readonly string[]])[] = [
  ['squashfs', 'mksquashfs', ['SOURCE', 'IMAGE', '-quiet', '-no-progress']],
  ['erofs', 'mkfs.erofs', ['-d0', 'IMAGE', 'SOURCE']],
];
for (const [name, program, args] of IMAGES) {
  const needs = { ...NEEDS, loop: true, fileSystems: [name], programs: ['gcc', program] };
  describe.skipIf(!has(needs))(`a lower on ${name}`, () => {
    test('is read, and changed in the upper', async () => {
      const [source, at, image] = [join(base, 'source'), join(base, 'at'), join(base, 'image')];
      for (const path of [source, at, join(base, 'other')]) mkdirSync(path);
      await build(source, LOWER);
      const paths = new Map([
        ['SOURCE', source],
        ['IMAGE', image],
      ]);
      await mustRun(
        program,
        args.map((arg) => paths.get(arg) ?? arg),
      );
      await mustRun('mount', ['-t', name, '-o', 'loop,ro', image, at]);
      await changeAndCompare(await stackOn(join(base, 'other'), [at]));
    });
  });
}

describe.skipIf(!has(NEEDS))('a union as a lower', () => {
  test.each(['kernel', 'stratafs'] as const)('of %s', async (below) => {
    for (const name of ['first', 'second', 'union']) mkdirSync(join(base, name));
    const first = await stackOn(join(base, 'first'));
    const union = join(base, 'union');
    await withMount(below, first, union, async (client) => {
      // What its own upper has counts as much as what it has from below.
      await client.must('chmod', 'f', 0o604);
      await client.must('rename', 'gone', 'moved', 0);
      await client.must('rename', 'moved', 'gone', 0);
      const second = await stackOn(join(base, 'second'), [union]);
      const changed = await on('stratafs', second, async (above) => {
        await change(above);
        return manifest(above);
      });
      const again = await on('stratafs', second, (above) => manifest(above));
      expect(differences(changed, again, ignored)).toEqual([]);
      expect((await client.must('lstat', 'gone')).length).toBeGreaterThan(0);
      expect(await client.errno('lstat', 'f2')).toBe('ENOENT');
    });
  });
});

const REFLINKS = FILE_SYSTEMS.filter(({ name }) => ['xfs', 'btrfs'].includes(name));
for (const fileSystem of REFLINKS) {
  const needs = {
    ...fileSystem.needs,
    programs: [...(fileSystem.needs.programs ?? []), 'filefrag'],
  };
  describe.skipIf(!has(needs))(`a copy-up on ${fileSystem.name}`, () => {
    test('shares its blocks with the lower', async () => {
      const stack = await stackOn(await mountNew(fileSystem));
      await on('stratafs', stack, async (client) => {
        await client.must('open', 0, 'big', 2, 0);
        await client.must('write', 0, 2 * MIB, 'x');
        await client.must('fsync', 0);
      });
      const lower = await sharedExtents(join(stack.lowers[0] ?? '', 'big'));
      const upper = await sharedExtents(join(stack.upper, 'big'));
      expect(upper).not.toEqual([]);
      // Each extent of the copy lies in one of the original.
      for (const [from, to] of upper) {
        expect(lower.some(([first, last]) => first <= from && to <= last)).toBe(true);
      }
    });
  });
}

/** The physical blocks, first and last, of a file's extents that are shared with another file. */
async function sharedExtents(path: string): Promise<(readonly [number, number])[]> {
  await mustRun('sync', ['-f', path]);
  const { stdout } = await mustRun('filefrag', ['-v', path]);
  return stdout
    .split('\n')
    .filter((line) => line.includes('shared'))
    .map((line) => {
      const found = /^\s*\d+:\s+\d+\.\.\s*\d+:\s+(\d+)\.\.\s*(\d+):/.exec(line);
      return [Number(found?.[1]), Number(found?.[2])] as const;
    });
}
