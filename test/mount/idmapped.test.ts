/** An idmapped mount of the union (mount_setattr(2)) behaves as one of a plain directory. */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { Client, type Result, type Word } from '../support/client.js';
import { DRIVER, MOUNT_NEEDS, withFixture } from '../support/fixture.js';
import { has } from '../support/needs.js';
import { mustRun, scratch } from '../support/run.js';
import { build, dir, file, symlink } from '../support/tree.js';

/** The root and the directories are not in the lowers alone: the plain side has no layers. */
const ENTRIES = [
  dir('d', { mode: 0o2777, uid: 3, gid: 4 }),
  dir('own', { mode: 0o755, uid: 5, gid: 6 }),
  file('own/f', 'f', { mode: 0o644, uid: 5, gid: 6 }),
  file('a', 'a', { mode: 0o644, uid: 5, gid: 6 }),
  file('suid', 's', { mode: 0o6755, uid: 5, gid: 6 }),
  file('foreign', 'f', { mode: 0o666, uid: 70_000, gid: 1 }),
  symlink('s', 'a', { uid: 5, gid: 6 }),
];

const STEPS: readonly (readonly [string, ...Word[]])[] = [
  ...['.', 'd', 'own', 'own/f', 'a', 'suid', 'foreign', 's'].map((n) => ['lstat', n] as const),
  ['ident', 100_005, 100_006],
  ['open', 0, 'd/f', 0o101, 0o2755],
  ['open', 0, 'own/n', 0o101, 0o644],
  ['mkdir', 'd/sub', 0o755],
  ['symlink', 'x', 'd/s'],
  ['mknod', 'd/p', 0o010644, 0, 0],
  ['open', 0, 'd', 0o20200002, 0o644],
  ['chmod', 'a', 0o600],
  ['chown', 'a', 100_005, 100_006],
  ['chown', 'a', 100_005, 100_009],
  ['chown', 'a', 5, 6],
  ['link', 'a', 'd/l'],
  ['rename', 'own/f', 'own/g', 0],
  ['truncate', 'a', 9],
  ['ident', 100_009, 100_009],
  ['open', 0, 'a', 0, 0],
  ['unlink', 'own/g'],
  ['ident', 5, 6],
  ['open', 0, 'd/unmapped', 0o101, 0o644],
  ['mkdir', 'd/unmapped', 0o755],
  ['open', 0, 'a', 0, 0],
  ['ident', 0, 0],
  ['open', 0, 'd/root', 0o101, 0o644],
  ['chown', 'a', 100_010, 100_011],
  ['chown', 'a', 7, -1],
  ['chmod', 'foreign', 0o600],
  ['unlink', 'foreign'],
  ['setxattr', 'a', 'user.x', '1', 0],
  ['setxattr', 'a', 'trusted.x', '1', 0],
  ['listxattr', 'a'],
  ['groups', 100_004],
  ['ident', 100_020, 100_021],
  ['open', 0, 'd/supp', 0o102, 0o2775],
  ['lstat', 'd/supp'],
  ['ftruncate', 0, 3],
  ...['a', 'suid', 'd/f', 'd/sub', 'd/s', 'd/p', 'd/l', 'd/supp', 'own/g', 'own/n'].map(
    (name) => ['lstat', name] as const,
  ),
];

/** Of an object mode and owner: what an idmapped mount changes. */
function shown(name: string, result: Result): string {
  if (result.errno !== undefined) return result.errno;
  const { words } = result;
  if (name === 'lstat') return [words[0], words[2], words[3]].join(' ');
  return name === 'listxattr' ? words.join(' ') : 'ok';
}

async function answers(client: Client): Promise<string[]> {
  const all: string[] = [];
  for (const [name, ...words] of STEPS) {
    all.push(`${name} ${words.join(' ')}: ${shown(name, await client.call(name, ...words))}`);
  }
  return all;
}

/** What a client sees on an idmapped clone of `client`'s directory. */
async function throughClone(client: Client, target: string): Promise<string[]> {
  mkdirSync(target);
  await client.must('idmap', target, 0, 100_000, 65_536);
  try {
    const inside = await Client.start(target);
    try {
      return await answers(inside);
    } finally {
      await inside.close();
    }
  } finally {
    await mustRun('umount', [target]);
  }
}

async function onPlainDirectory(): Promise<string[]> {
  const top = scratch('idmapped');
  const plain = join(top, 'plain');
  mkdirSync(plain);
  await build(plain, ENTRIES);
  const client = await Client.start(plain);
  try {
    return await throughClone(client, join(top, 'clone'));
  } finally {
    await client.close();
    rmSync(top, { recursive: true, force: true });
  }
}

describe.skipIf(DRIVER !== 'stratafs' || !has({ ...MOUNT_NEEDS, namespaces: true }))(
  'an idmapped mount',
  () => {
    test('of the union answers as one of a plain directory', async () => {
      const expected = await onPlainDirectory();
      expect(expected).toContain('lstat a: 100644 100005 100006');
      await withFixture('idmapped', { lowers: [ENTRIES] }, async (client, _, { top }) => {
        expect(await throughClone(client, join(top, 'clone'))).toEqual(expected);
      });
    });
  },
);
