/** Owners shown and stored by other IDs, squashed ones, and mounts without ACLs. */
import { lstatSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Client } from '../support/client.js';
import { DRIVER, MOUNT_NEEDS, withFixture } from '../support/fixture.js';
import { has } from '../support/needs.js';
import { dir, file } from '../support/tree.js';

const WRITE_CREATE = 0o101;
const OWN = [
  dir('d', { mode: 0o2777, uid: 3, gid: 4 }),
  file('a', 'a', { mode: 0o644, uid: 5, gid: 6 }),
  file('foreign', 'f', { mode: 0o666, uid: 70_000, gid: 6 }),
];
const MAPPED = ['uidmapping=:0:100000:65536', 'gidmapping=:0:200000:65536'];

/** uid and gid, as `ls -n` would show them. */
async function owner(client: Client, path: string): Promise<string> {
  const [, , uid, gid] = await client.must('lstat', path);
  return `${uid}:${gid}`;
}

function onDisk(top: string | undefined, path: string): string {
  const { uid, gid } = lstatSync(join(top ?? '', path));
  return `${uid}:${gid}`;
}

/** A POSIX ACL with one named user, as the kernel's xattr has it. */
function aclOf(user: number): string {
  const bytes = Buffer.alloc(4 + 5 * 8);
  bytes.writeUInt32LE(2, 0);
  const entries = [
    [1, 6, 0xffff_ffff],
    [2, 4, user],
    [4, 4, 0xffff_ffff],
    [0x10, 4, 0xffff_ffff],
    [0x20, 4, 0xffff_ffff],
  ];
  entries.forEach(([tag = 0, permissions = 0, id = 0], i) => {
    bytes.writeUInt16LE(tag, 4 + i * 8);
    bytes.writeUInt16LE(permissions, 6 + i * 8);
    bytes.writeUInt32LE(id, 8 + i * 8);
  });
  return bytes.toString('latin1');
}

describe.skipIf(DRIVER !== 'stratafs' || !has(MOUNT_NEEDS))('uidmapping and gidmapping', () => {
  test('show what is on disk as other IDs, and store what is made by their owners', () =>
    withFixture(
      'ids',
      { lowers: [OWN] },
      async (client, _, { stack }) => {
        expect(await owner(client, 'a')).toBe('100005:200006');
        await client.must('ident', 100_007, 200_008);
        await client.must('open', 0, 'd/f', WRITE_CREATE, 0o644);
        await client.must('mkdir', 'd/sub', 0o755);
        await client.must('symlink', 'x', 'd/s');
        for (const name of ['d/f', 'd/sub', 'd/s'])
          expect([name, await owner(client, name), onDisk(stack.upper, name)]).toEqual([
            name,
            '100007:200004',
            '7:4',
          ]);
        await client.must('ident', 0, 0);
        await client.must('chown', 'a', 100_009, 200_010);
        expect([await owner(client, 'a'), onDisk(stack.upper, 'a')]).toEqual([
          '100009:200010',
          '9:10',
        ]);
      },
      MAPPED,
    ));

  test('let an engine make objects as root, which has no ID here, and give them away', () =>
    withFixture(
      'ids',
      { lowers: [OWN] },
      async (client, _, { stack }) => {
        await client.must('open', 0, 'new', WRITE_CREATE, 0o6755);
        await client.must('write', 0, 0, 'data');
        await client.must('mkdir', 'newdir', 0o755);
        await client.must('symlink', 'x', 'newlink');
        await client.must('mknod', 'newpipe', 0o10644, 0, 0);
        for (const name of ['new', 'newdir', 'newlink', 'newpipe']) {
          // The container's nobody owns it, and no program runs with its rights.
          expect([name, await owner(client, name)]).toEqual([name, '165534:265534']);
          const disk = lstatSync(join(stack.upper ?? '', name));
          expect([name, disk.uid, disk.gid, disk.mode & 0o6000]).toEqual([name, 65534, 65534, 0]);
          await client.must('chown', name, 100_005, 200_006);
          expect([name, await owner(client, name)]).toEqual([name, '100005:200006']);
        }
        expect(lstatSync(join(stack.upper ?? '', 'new')).uid).toBe(5);
      },
      MAPPED,
    ));

  test('answer EOVERFLOW to what would need an ID that does not map', () =>
    withFixture(
      'ids',
      { lowers: [OWN] },
      async (client, _, { stack }) => {
        expect(await client.errno('chown', 'a', 0, -1)).toBe('EOVERFLOW');
        expect(await client.errno('chown', 'a', -1, 100_006)).toBe('EOVERFLOW');
        expect(await owner(client, 'a')).toBe('100005:200006');
        // An owner that has no counterpart shows as the kernel's overflow ID and stays.
        expect(await owner(client, 'foreign')).toBe('65534:200006');
        expect(await client.errno('chmod', 'foreign', 0o777)).toBe('EOVERFLOW');
        expect(await client.errno('utimens', 'foreign', 1, 1, 1, 1)).toBe('EOVERFLOW');
        expect(await client.errno('unlink', 'foreign')).toBe('EOVERFLOW');
        expect(await client.errno('open', 0, 'foreign', 1, 0)).toBe('EACCES');
        await client.must('open', 0, 'foreign', 0, 0);
        expect(() => lstatSync(join(stack.upper ?? '', 'foreign'))).toThrow('ENOENT');
      },
      MAPPED,
    ));

  test('translate the IDs in an ACL', () =>
    withFixture(
      'ids',
      { lowers: [OWN] },
      async (client, _, { stack }) => {
        await client.must('setxattr', 'a', 'system.posix_acl_access', aclOf(100_030), 0);
        const [shown] = await client.must('getxattr', 'a', 'system.posix_acl_access');
        const [stored] = await client.must(
          'getxattr',
          `${stack.upper}/a`,
          'system.posix_acl_access',
        );
        expect(shown).toBe(aclOf(100_030));
        expect(stored).toBe(aclOf(30));
        expect(await client.errno('setxattr', 'a', 'system.posix_acl_access', aclOf(30), 0)).toBe(
          'EINVAL',
        );
        // The ACL lets that user, and nobody's name on disk, read.
        await client.must('chmod', 'a', 0o640);
        await client.must('ident', 100_030, 100_030);
        await client.must('open', 1, 'a', 0, 0);
        await client.must('ident', 30, 30);
        expect(await client.errno('open', 2, 'a', 0, 0)).toBe('EACCES');
      },
      MAPPED,
    ));
});

describe.skipIf(DRIVER !== 'stratafs' || !has(MOUNT_NEEDS))('squash_to_*', () => {
  const cases: readonly (readonly [string, string])[] = [
    ['squash_to_root', '0:0'],
    ['squash_to_uid=1000,squash_to_gid=1001', '1000:1001'],
    ['squash_to_root,squash_to_gid=7', '0:7'],
  ];
  test.each(cases)('%s shows one owner, and the disk keeps the true ones', (option, shown) =>
    withFixture(
      'ids',
      { lowers: [OWN] },
      async (client, _, { stack }) => {
        await client.must('ident', 8, 9);
        await client.must('open', 0, 'd/f', WRITE_CREATE, 0o644);
        await client.must('ident', 0, 0);
        await client.must('chown', 'a', 10, 11);
        for (const name of ['.', 'd', 'd/f', 'a', 'foreign'])
          expect([name, await owner(client, name)]).toEqual([name, shown]);
        expect([onDisk(stack.upper, 'd/f'), onDisk(stack.upper, 'a')]).toEqual(['8:4', '10:11']);
      },
      [option],
    ),
  );
});

test.skipIf(DRIVER !== 'stratafs' || !has(MOUNT_NEEDS))('noacl shows and takes no ACLs', () =>
  withFixture(
    'ids',
    { lowers: [[file('a', 'a', { xattrs: { 'system.posix_acl_access': aclOf(30) } })]] },
    async (client) => {
      const key = 'system.posix_acl_access';
      expect(await client.errno('getxattr', 'a', key)).toBe('ENOTSUP');
      expect(await client.errno('setxattr', 'a', key, aclOf(31), 0)).toBe('ENOTSUP');
      expect(await client.errno('removexattr', 'a', key)).toBe('ENOTSUP');
      expect(await client.must('listxattr', 'a')).toEqual([]);
    },
    ['noacl'],
  ),
);
