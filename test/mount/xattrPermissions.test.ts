/** Owner, mode and type in xattrs, and uppers and layers that are exchanged with fuse-overlayfs. */
import { lstatSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Client, clientBinary } from '../support/client.js';
import { DRIVER, type Fixture, makeFixture, MOUNT_NEEDS, withFixture } from '../support/fixture.js';
import { type Driver, type Stack, tryMount, withMount } from '../support/mount.js';
import { has } from '../support/needs.js';
import { enterUserNamespace } from '../support/place.js';
import { mustRun } from '../support/run.js';
import { type Entry, differences, dir, file, manifest, type Manifest } from '../support/tree.js';

const CREATE = 0o1101;
const CAPABILITY =
  '\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00';
const PRIVILEGED = 'security.fuseoverlayfs.override_stat';
const CONTAINERS = 'user.containers.override_stat';
const LEGACY = 'user.fuseoverlayfs.override_stat';

const LOWER: readonly Entry[] = [
  file('low', 'low', { uid: 5, gid: 6, mode: 0o4755 }),
  dir('d', { mode: 0o750, uid: 7, gid: 8 }),
  file('d/in', 'in', { mode: 0o400 }),
];

/** Mode (octal, with the type), owner and device number as shown. */
async function shown(client: Client, path: string): Promise<string> {
  const [mode, , uid, gid, rdev] = await client.must('lstat', path);
  return `${mode} ${uid}:${gid}${rdev === '0' ? '' : ` ${rdev}`}`;
}

const upperOf = ({ stack }: Fixture, name: string): string => join(stack.upper ?? '', name);

async function xattr(path: string, key: string): Promise<string> {
  const { stdout } = await mustRun('getfattr', ['-h', '--only-values', '-n', key, path]);
  return stdout;
}

const LEVELS = [
  [1, PRIVILEGED],
  [2, CONTAINERS],
] as const;

describe.skipIf(DRIVER !== 'stratafs' || !has(MOUNT_NEEDS)).each(LEVELS)(
  'xattr_permissions=%d',
  (level, key) => {
    const option = [`xattr_permissions=${level}`];
    const on = (body: (client: Client, fixture: Fixture) => Promise<void>): Promise<void> =>
      withFixture('override', { lowers: [LOWER] }, (c, _, fixture) => body(c, fixture), option);

    test('what is made has its owner and mode in the xattr, and nothing of it on disk', () =>
      on(async (client, fixture) => {
        await client.must('umask', 0o027);
        await client.must('chmod', '.', 0o777);
        await client.must('ident', 15, 16);
        await client.must('open', 0, 'f', CREATE, 0o6777);
        await client.must('mkdir', 'sub', 0o3777);
        await client.must('ident', 0, 0);
        expect(await shown(client, 'f')).toBe('106750 15:16');
        expect(await shown(client, 'sub')).toBe('41750 15:16');
        const disk = lstatSync(upperOf(fixture, 'f'));
        expect([disk.mode & 0o7777, disk.uid, disk.gid]).toEqual([0o600, 0, 0]);
        expect(await xattr(upperOf(fixture, 'f'), key)).toBe('15:16:6750');
        await client.must('chmod', 'sub', 0o2755);
        await client.must('open', 1, 'sub/inherits', CREATE, 0o644);
        await client.must('mkdir', 'sub/dir', 0o755);
        expect(await shown(client, 'sub/inherits')).toBe('100640 0:16');
        expect(await shown(client, 'sub/dir')).toBe('42750 0:16');
      }));

    test('lower objects are copied up with theirs, and change as by chown(2) and chmod(2)', () =>
      on(async (client, fixture) => {
        await client.must('chmod', 'd/in', 0o1604);
        expect(await shown(client, 'd')).toBe('40750 7:8');
        expect(await shown(client, 'd/in')).toBe('101604 0:0');
        expect(await xattr(upperOf(fixture, 'd'), key)).toBe('7:8:750');
        await client.must('setxattr', 'low', 'security.capability', CAPABILITY, 0);
        expect(await shown(client, 'low')).toBe('104755 5:6');
        await client.must('chown', 'low', 9, -1);
        expect(await shown(client, 'low')).toBe('100755 9:6');
        expect(await client.errno('getxattr', 'low', 'security.capability')).toBe('ENODATA');
        await client.must('chown', 'd', -1, 3);
        expect(await shown(client, 'd')).toBe('40750 7:3');
        expect(lstatSync(upperOf(fixture, 'low')).uid).toBe(0);
      }));

    test.each(['cached', 'passthrough'])('a write takes capabilities away: %s', (data) => {
      const options = [...option, `data=${data}`];
      const taken = async (client: Client): Promise<void> => {
        for (const [i, name] of ['written', 'cut'].entries()) {
          await client.must('open', i, name, CREATE, 0o755);
          await client.must('write', i, 0, 'text');
          await client.must('fsync', i);
          await client.must('setxattr', name, 'security.capability', CAPABILITY, 0);
          const [value] = await client.must('getxattr', name, 'security.capability');
          expect(value).toBe(CAPABILITY);
          expect(await client.must('listxattr', name)).toEqual(['security.capability']);
        }
        await client.must('write', 0, 0, 'x');
        await client.must('fsync', 0);
        await client.must('truncate', 'cut', 1);
        await client.must('close', 0);
        await client.must('open', 2, 'opened', CREATE, 0o755);
        await client.must('setxattr', 'opened', 'security.capability', CAPABILITY, 0);
        await client.must('open', 0, 'opened', 1, 0);
        await client.must('write', 0, 0, 'x');
        await client.must('fsync', 0);
        for (const name of ['written', 'cut', 'opened'])
          expect(await client.errno('getxattr', name, 'security.capability')).toBe('ENODATA');
      };
      return withFixture('override', { lowers: [LOWER] }, taken, options);
    });

    test('clients neither see nor set the xattrs', () =>
      on(async (client) => {
        await client.must('chmod', 'low', 0o644);
        for (const name of [PRIVILEGED, CONTAINERS, LEGACY, `${CONTAINERS}x`]) {
          expect([name, await client.errno('getxattr', 'low', name)]).toEqual([name, 'ENODATA']);
          for (const path of ['low', 'd'])
            expect([name, await client.errno('setxattr', path, name, '0:0:4755', 0)]).toEqual([
              name,
              'EPERM',
            ]);
          expect([name, await client.errno('removexattr', 'low', name)]).toEqual([name, 'EPERM']);
        }
        expect(await client.must('listxattr', 'low')).toEqual([]);
        expect(await client.errno('getxattr', 'low', 'system.posix_acl_access')).toBe('ENOTSUP');
      }));

    test('devices, FIFOs and symlinks are what they were made as, also after a remount', async () => {
      const fixture = await makeFixture('override', { lowers: [LOWER] });
      const see = async (client: Client): Promise<string[]> => {
        const names = ['null', 'pipe', 'link', 'copied'];
        return Promise.all(names.map((name) => shown(client, name)));
      };
      const made = await withMount(
        'stratafs',
        fixture.stack,
        fixture.mountpoint,
        async (client) => {
          await client.must('umask', 0);
          await client.must('mknod', 'null', 0o020666, 1, 3);
          await client.must('mknod', 'pipe', 0o010640, 0, 0);
          await client.must('symlink', 'low', 'link');
          await client.must('chown', 'null', 11, 12);
          await client.must('mknod', 'gone', 0o020600, 1, 5);
          await client.must('unlink', 'gone');
          await client.must('rename', 'low', 'copied', 0);
          await client.must('open', 0, 'null', 2, 0);
          await client.must('write', 0, 0, 'into the void');
          return see(client);
        },
        option,
      );
      expect(made).toEqual(['20666 11:12 259', '10640 0:0', '120777 0:0', '104755 5:6']);
      expect(lstatSync(upperOf(fixture, 'null')).isFile()).toBe(level === 2);
      const again = await withMount(
        'stratafs',
        fixture.stack,
        fixture.mountpoint,
        async (client) => [await see(client), await client.must('readdir', '.')],
        option,
      );
      expect(again[0]).toEqual(made);
      // And as a layer below another upper, from which the objects are copied up again.
      const above = await makeFixture('override', { lowers: [[]] });
      const lowers = [fixture.stack.upper ?? '', ...fixture.stack.lowers];
      await withMount(
        'stratafs',
        { ...above.stack, lowers },
        above.mountpoint,
        async (client) => {
          expect(await see(client)).toEqual(made);
          for (const name of ['null', 'pipe', 'copied'])
            await client.must('utimens', name, 1, 1, 1, 1);
          expect(await see(client)).toEqual(made);
        },
        option,
      );
    });

    test('a value of an unknown form is EIO', async () => {
      const values = ['root:0:755', '0:0:755:dir', '0:0:9', '0:0:755:char-0-0', '0:0:755:symlink'];
      const bad = values.map((value, i) => file(`bad${i}`, '', { xattrs: { [key]: value } }));
      const good = [
        file('good', '', { xattrs: { [key]: '3:-1:100755' } }),
        file('none', '', { uid: 65_534 }),
      ];
      await withFixture(
        'override',
        { lowers: [[...bad, ...good], LOWER] },
        async (client) => {
          // Only a layer whose root is marked is read so.
          expect(await shown(client, 'bad0')).toBe('100644 0:0');
        },
        option,
      );
      const fixture = await makeFixture('override', { lowers: [[...bad, ...good], LOWER] });
      await mustRun('setfattr', ['-n', key, '-v', '1:2:751', fixture.stack.lowers[0] ?? '']);
      await withMount(
        'stratafs',
        fixture.stack,
        fixture.mountpoint,
        async (client) => {
          for (const i of values.keys())
            expect([i, await client.errno('lstat', `bad${i}`)]).toEqual([i, 'EIO']);
          expect(await shown(client, 'good')).toBe('100755 3:0');
          expect(await shown(client, 'none')).toBe('100644 65534:0');
          // A new upper's root inherits.
          expect(await shown(client, '.')).toBe('40751 1:2');
        },
        option,
      );
    });
  },
);

const PLAIN = ['redirect_dir=off', 'metacopy=off', 'index=off'];
/** What fuse-overlayfs makes otherwise without anybody asking it to. */
const IGNORED = ['d_ino', 'ino', 'nlink', 'link', 'd_type', 'mtime', 'ns'];

async function change(client: Client): Promise<void> {
  await client.must('chmod', 'low', 0o711);
  await client.must('chown', 'low', 21, 22);
  await client.must('mkdir', 'new', 0o755);
  await client.must('chown', 'new', 23, 24);
  await client.must('open', 0, 'new/f', CREATE, 0o755);
  await client.must('write', 0, 0, 'data');
  await client.must('close', 0);
  await client.must('chown', 'new/f', 25, 26);
  await client.must('chmod', 'new/f', 0o2751);
  await client.must('chown', 'd/in', 27, 28);
}

function same(left: Manifest, right: Manifest): string[] {
  const sentinel = (line: string): boolean => line.includes('.wh..wh..opq');
  // fuse-overlayfs 1.10 shows clients the xattr.
  const ignored = (field: string): boolean =>
    IGNORED.includes(field) || field.endsWith('.override_stat');
  return differences(left, right, (_, field) => ignored(field)).filter((line) => !sentinel(line));
}

describe.skipIf(
  DRIVER !== 'stratafs' || !has({ ...MOUNT_NEEDS, programs: ['gcc', 'fuse-overlayfs'] }),
)('an upper is exchanged with fuse-overlayfs', () => {
  const cases = [
    ['fuse-overlayfs', 'stratafs', 1],
    ['fuse-overlayfs', 'stratafs', 2],
    ['stratafs', 'fuse-overlayfs', 1],
    ['stratafs', 'fuse-overlayfs', 2],
  ] as const;
  const optionsOf = (driver: Driver, level: number): string[] => [
    `xattr_permissions=${level}`,
    ...(driver === 'stratafs' ? PLAIN : []),
  ];

  test.each(cases)('%s writes, %s reads, xattr_permissions=%d', async (writer, reader, level) => {
    const fixture = await makeFixture('override', { lowers: [LOWER] });
    // 1.10 knows the older name only as an upper's; from 1.14 on it is kept where it is in use.
    if (level === 2)
      await mustRun('setfattr', ['-n', LEGACY, '-v', '0:0:755', fixture.stack.upper ?? '']);
    const { stack, mountpoint } = fixture;
    const wrote = await withMount(
      writer,
      stack,
      mountpoint,
      async (client) => {
        await change(client);
        return manifest(client);
      },
      optionsOf(writer, level),
    );
    expect(wrote.get('low')?.get('mode')).toBe('100711');
    const read = await withMount(
      reader,
      stack,
      mountpoint,
      async (client) => {
        const seen = await manifest(client);
        await client.must('chown', 'new/f', 31, 32);
        await client.must('chmod', 'd', 0o700);
        return [seen, await manifest(client)] as const;
      },
      optionsOf(reader, level),
    );
    expect(same(wrote, read[0])).toEqual([]);
    const back = await withMount(
      writer,
      stack,
      mountpoint,
      (client) => manifest(client),
      optionsOf(writer, level),
    );
    expect(same(read[1], back)).toEqual([]);
  });

  test('as a layer, also in the form of containers/storage', async () => {
    const fixture = await makeFixture('override', { lowers: [LOWER] });
    const { stack, mountpoint } = fixture;
    const wrote = await withMount(
      'stratafs',
      stack,
      mountpoint,
      async (client) => {
        await change(client);
        return manifest(client);
      },
      optionsOf('stratafs', 2),
    );
    const lowers: Stack = { lowers: [stack.upper ?? '', ...stack.lowers] };
    const read = await withMount('fuse-overlayfs', lowers, mountpoint, (client) =>
      manifest(client),
    );
    expect(same(wrote, read)).toEqual([]);
  });
});

describe.skipIf(DRIVER !== 'stratafs' || !has(MOUNT_NEEDS))('xattr_permissions is refused', () => {
  test('with another value than that of the upper', () =>
    withFixture(
      'override',
      { lowers: [LOWER] },
      async (_, mounted, { stack, mountpoint }) => {
        await mounted.unmount();
        const ran = await tryMount('stratafs', stack, mountpoint, ['xattr_permissions=2']);
        expect(ran.stderr).toContain('was written with xattr_permissions=1: give that');
        expect(ran.code).toBe(1);
      },
      ['xattr_permissions=1'],
    ));
});

describe.skipIf(
  DRIVER !== 'stratafs' || !has({ ...MOUNT_NEEDS, namespaces: true, programs: ['gcc', 'nsenter'] }),
)('xattr_permissions in a user namespace', () => {
  let leave = (): void => undefined;
  beforeAll(async () => {
    leave = await enterUserNamespace(await clientBinary());
  });
  afterAll(() => {
    leave();
  });

  test('2 keeps owners and devices that could not be made', () =>
    withFixture(
      'override',
      { lowers: [LOWER] },
      async (client, _, fixture) => {
        await client.must('chown', 'low', 65_534, 65_534);
        await client.must('chmod', 'low', 0o4755);
        expect(await shown(client, 'low')).toBe('104755 65534:65534');
        await client.must('mknod', 'null', 0o010644, 0, 0);
        expect(await shown(client, 'null')).toBe('10644 0:0');
        await client.must('symlink', 'low', 'link');
        await client.must('chown', 'link', 3, 4);
        expect(lstatSync(upperOf(fixture, 'low')).mode & 0o7777).toBe(0o600);
        await client.must('chown', 'low', 1, 1);
        expect(await shown(client, 'low')).toBe('100755 1:1');
      },
      ['xattr_permissions=2'],
    ));

  test('1 is refused', async () => {
    const { stack, mountpoint } = await makeFixture('override', { lowers: [LOWER] });
    const ran = await tryMount('stratafs', stack, mountpoint, ['xattr_permissions=1']);
    expect(ran.stderr).toMatch(/cannot write security\.fuse.*; use xattr_permissions=2/);
    expect(ran.code).toBe(1);
  });

  test('fuse-overlayfs reads it', async () => {
    const { stack, mountpoint } = await makeFixture('override', { lowers: [LOWER] });
    await mustRun('setfattr', ['-n', LEGACY, '-v', '0:0:755', stack.upper ?? '']);
    const option = ['xattr_permissions=2'];
    const wrote = await withMount(
      'stratafs',
      stack,
      mountpoint,
      async (client) => {
        await change(client);
        return manifest(client);
      },
      option,
    );
    const read = await withMount('fuse-overlayfs', stack, mountpoint, (c) => manifest(c), option);
    expect(same(wrote, read)).toEqual([]);
  });
});
