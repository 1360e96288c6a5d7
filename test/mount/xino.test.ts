/**
 * Inode numbers of unions over several file systems: unique, lasting, below 2^53, and the kernel's where
 * all file systems have numbers of 32 bits.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { DRIVER, MOUNT_NEEDS } from '../support/fixture.js';
import { Images, makersOf } from '../support/images.js';
import { type Driver, type Stack, withMount } from '../support/mount.js';
import { has } from '../support/needs.js';
import {
  build,
  differences,
  dir,
  type Entry,
  file,
  hardlink,
  manifest,
  type Manifest,
} from '../support/tree.js';

const NEEDS = { ...MOUNT_NEEDS, kernelOverlay: true, loop: true };
const KINDS = ['ext4', 'xfs', 'btrfs', 'tmpfs'];

/** The same names on each file system are the first of its numbers, so they would collide. */
function layer(name: string): Entry[] {
  return [
    file(`${name}-f`, name),
    dir(name),
    file(`${name}/in`, 'in'),
    file(`${name}/two`, 'two'),
    hardlink(`${name}/three`, `${name}/two`),
    dir('merged'),
    file(`merged/${name}`, name),
  ];
}

let images: Images;
beforeEach(() => {
  images = new Images();
});
afterEach(() => images.close());

async function lowersOn(kinds: readonly string[]): Promise<string[]> {
  const lowers: string[] = [];
  for (const [i, kind] of kinds.entries()) {
    const lower = join(await images.mount(kind), 'lower');
    mkdirSync(lower);
    await build(lower, layer(`l${i}`));
    lowers.push(lower);
  }
  return lowers;
}

async function withUpper(on: string, lowers: readonly string[]): Promise<Stack> {
  const [upper, work] = [join(on, 'upper'), join(on, 'work')];
  for (const path of [upper, work]) mkdirSync(path);
  await build(upper, layer('u'));
  return { lowers, upper, work };
}

function mountpoint(): string {
  const path = join(images.base, 'mnt');
  mkdirSync(path, { recursive: true });
  return path;
}

const FEATURES = ['redirect_dir=off', 'metacopy=off', 'index=off'];
const see = (driver: Driver, stack: Stack, xino: string, copyUp = false): Promise<Manifest> =>
  withMount(
    driver,
    stack,
    mountpoint(),
    async (client) => {
      if (copyUp && stack.upper !== undefined) await client.must('chmod', 'l0-f', 0o600);
      // With the numbers of directories, which a manifest has not.
      const seen = await manifest(client, '.', true);
      for (const [path, fields] of seen) {
        const words = await client.must('lstat', path);
        (fields as Map<string, string>).set('ino', words[7] ?? '');
      }
      return seen;
    },
    [...FEATURES, `xino=${xino}`],
  );

/** d_ino is compared with st_ino in the manifest itself. */
const others = (_: string, field: string): boolean => field !== 'ino' && field !== 'd_ino';

function expectUnique(seen: Manifest): void {
  const names = new Map<string, string>();
  for (const [path, fields] of seen) {
    const ino = fields.get('ino');
    if (ino === undefined) continue;
    const same = names.get(ino);
    if (same !== undefined) expect([same, path].toSorted()).toEqual(linked(path));
    names.set(ino, path);
  }
}

const linked = (path: string): string[] => {
  const [top = ''] = path.split('/');
  return [`${top}/three`, `${top}/two`];
};

/** Numbers that programs with doubles tell apart. */
function expectExact(seen: Manifest): void {
  for (const [path, fields] of seen) {
    const ino = Number(fields.get('ino') ?? 0);
    if (ino >= 2 ** 53) expect([path, ino]).toBe('below 2^53');
  }
}

const STACKS: readonly (readonly [upper: string | undefined, lowers: readonly string[]])[] = [
  ['ext4', ['ext4', 'ext4']],
  ['ext4', ['xfs']],
  ['xfs', ['ext4', 'ext4', 'ext4', 'ext4']],
  ['btrfs', ['ext4', 'xfs']],
  ['tmpfs', ['ext4']],
  [undefined, ['ext4', 'ext4']],
  [undefined, ['ext4', 'xfs', 'btrfs']],
];

describe.skipIf(
  DRIVER !== 'stratafs' ||
    !has({ ...NEEDS, fileSystems: KINDS, programs: ['gcc', ...makersOf(...KINDS)] }),
)('inode numbers over several file systems', () => {
  test.each(STACKS)('upper on %s, lowers on %s', async (upper, kinds) => {
    const lowers = await lowersOn(kinds);
    const stack =
      upper === undefined ? { lowers } : await withUpper(await images.mount(upper), lowers);
    const narrow = [upper ?? 'ext4', ...kinds].every((kind) => kind === 'ext4');
    const reference = await see(narrow ? 'kernel' : 'stratafs', stack, 'on');
    for (const xino of ['on', 'auto', 'off']) {
      const ours = await see('stratafs', stack, xino);
      expect([xino, ...differences(ours, reference, others)]).toEqual([xino]);
      expectUnique(ours);
      expectExact(ours);
    }
    // Constant over a copy-up, the next mount, and the change of drivers.
    const copied = await see('stratafs', stack, 'on', true);
    expect(differences(copied, reference, others)).toEqual([]);
    expect(differences(await see('stratafs', stack, 'on'), copied, others)).toEqual([]);
    if (narrow) expect(differences(await see('kernel', stack, 'on'), copied, others)).toEqual([]);
  });

  test('numbers that leave no bits free stay unique and lasting', async () => {
    // A union of two file systems has its numbers' high bits in use.
    const inner: Stack = { lowers: await lowersOn(['ext4', 'xfs']) };
    const union = join(images.base, 'union');
    mkdirSync(union);
    const upper = await images.mount('ext4');
    await withMount('stratafs', inner, union, async () => {
      const outer = await withUpper(upper, [union, ...(await lowersOn(['xfs']))]);
      const first = await see('stratafs', outer, 'on');
      expectUnique(first);
      for (const fields of first.values()) expect(fields.get('d_ino')).toBeUndefined();
      const again = await see('stratafs', outer, 'auto');
      expect(differences(first, again, others)).toEqual([]);
    });
  });
});
