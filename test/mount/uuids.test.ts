/** File handles in uppers name a file system by its UUID: btrfs's, and one that two have. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Client } from '../support/client.js';
import { DRIVER, MOUNT_NEEDS } from '../support/fixture.js';
import { Images, makersOf } from '../support/images.js';
import { type Driver, type Stack, tryMount, withMount } from '../support/mount.js';
import { has } from '../support/needs.js';
import { mustRun } from '../support/run.js';
import { build, file, hardlink } from '../support/tree.js';

const KINDS = ['ext4', 'xfs', 'btrfs'];
const NEEDS = {
  ...MOUNT_NEEDS,
  kernelOverlay: true,
  loop: true,
  fileSystems: KINDS,
  programs: ['gcc', 'btrfs', ...makersOf(...KINDS)],
};
const LOWER = [file('a', 'old'), hardlink('b', 'a'), hardlink('c', 'a'), file('s', 'single')];

let images: Images;
let mountpoint = '';
beforeEach(() => {
  images = new Images();
  mountpoint = join(images.base, 'mnt');
  mkdirSync(mountpoint);
});
afterEach(() => images.close());

interface Changeable extends Stack {
  readonly upper: string;
  readonly work: string;
}

function upperAt(at: string): Pick<Changeable, 'upper' | 'work'> {
  const [upper, work] = [join(at, 'upper'), join(at, 'work')];
  for (const path of [upper, work]) mkdirSync(path);
  return { upper, work };
}

async function stackOn(kind: string): Promise<Changeable> {
  const at = await images.mount(kind === 'subvolumes' ? 'btrfs' : kind);
  const [lower, above] = [join(at, 'lower'), join(at, 'above')];
  const make = kind === 'subvolumes' ? ['btrfs', 'subvolume', 'create'] : ['mkdir'];
  for (const path of [lower, above]) await mustRun(make[0] ?? '', [...make.slice(1), path]);
  await build(lower, LOWER);
  return { lowers: [lower], ...upperAt(above) };
}

const on = <T>(
  driver: Driver,
  stack: Stack,
  body: (client: Client) => Promise<T>,
  options: readonly string[] = [],
): Promise<T> => withMount(driver, stack, mountpoint, body, options);

const read = async (client: Client, path: string): Promise<string> => {
  await client.must('open', 0, path, 0, 0);
  const [, text = ''] = await client.must('read', 0, 0, 100);
  await client.must('close', 0);
  return text;
};

const ino = async (client: Client, path: string): Promise<string> =>
  (await client.must('lstat', path))[7] ?? '';

async function append(client: Client, path: string): Promise<void> {
  await client.must('open', 0, path, 0o2001, 0);
  await client.must('write', 0, -1, '+');
  await client.must('close', 0);
}

describe.skipIf(DRIVER !== 'stratafs' || !has(NEEDS))('an upper with our index', () => {
  test.each([...KINDS, 'subvolumes'])(
    'on %s is one for the kernel, with its index and without',
    async (kind) => {
      const stack = await stackOn(kind);
      await on('stratafs', stack, (client) => append(client, 'a'), ['index=on']);
      const kernel = ['metacopy=on,redirect_dir=on'];
      await on(
        'kernel',
        stack,
        async (client) => {
          for (const name of ['a', 'b', 'c'])
            expect([name, await read(client, name)]).toEqual([name, 'old+']);
          expect(await ino(client, 'a')).toBe(await ino(client, 'b'));
          await append(client, 'b');
        },
        [...kernel, 'index=on'],
      );
      await on('kernel', stack, (client) => append(client, 's'), [...kernel, 'index=off']);
      await on('stratafs', stack, async (client) => {
        for (const name of ['a', 'b', 'c'])
          expect([name, await read(client, name)]).toEqual([name, 'old++']);
        expect((await client.must('lstat', 'c'))[1]).toBe('3');
        expect(await read(client, 's')).toBe('single+');
      });
    },
  );
});

describe.skipIf(DRIVER !== 'stratafs' || !has(NEEDS))('layers on file systems of one UUID', () => {
  /** Two lowers whose files have the same handles, and are not the same. */
  async function twins(): Promise<Changeable> {
    const first = await images.mount('ext4');
    for (const name of ['one', 'two']) mkdirSync(join(first, name));
    await build(join(first, 'one'), [file('x', 'x'), file('y', 'y')]);
    await build(join(first, 'two'), [file('p', 'p'), file('q', 'q')]);
    const second = await images.copy(first);
    return {
      lowers: [join(first, 'one'), join(second, 'two')],
      ...upperAt(await images.mount('ext4')),
    };
  }

  test('have no index', async () => {
    const stack = await twins();
    const ran = await tryMount('stratafs', stack, mountpoint, ['index=on']);
    expect(ran.stderr).toMatch(
      /index=on cannot tell the file systems of .* apart, as their UUIDs are equal/,
    );
    expect(ran.code).toBe(1);
  });

  const features = ['metacopy=on,redirect_dir=on', 'metacopy=off,redirect_dir=off'];
  test.each(features)('and no copy is taken for another file: %s', async (written) => {
    const options = [`${written},index=off,xino=on`];
    const stack = await twins();
    const names = ['x', 'y', 'p', 'q'];
    const copyUp = async (client: Client): Promise<void> => {
      for (const name of ['x', 'p']) await client.must('chmod', name, 0o600);
    };
    await on('stratafs', stack, copyUp, options);
    const look = (client: Client): Promise<string[]> =>
      Promise.all(names.map((name) => ino(client, name)));
    const ours = await on('stratafs', stack, look, options);
    expect(new Set(ours).size).toBe(names.length);
    expect(ours).toEqual(await on('kernel', stack, look, options));
  });
});
