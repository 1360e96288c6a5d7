/** A mount in the user namespace of an ordinary user: what it must never do, and how it ends. */
import { lstatSync, readdirSync, writeFileSync } from 'node:fs';
import { chmod, chown, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Client, clientBinary } from '../support/client.js';
import { DRIVER, MOUNT_NEEDS, withFixture } from '../support/fixture.js';
import { has } from '../support/needs.js';
import { enterUserNamespace, outside } from '../support/place.js';
import { mustRun, scratch } from '../support/run.js';
import { dir, file } from '../support/tree.js';

const SUID = 0o4755;

/** A lower of the machine's root, whose files nobody in the namespace owns. */
async function foreignLayer(): Promise<string> {
  const top = scratch('foreign');
  await chmod(top, 0o755);
  await chown(top, 0, 0);
  for (const [name, mode] of [
    ['suid', SUID],
    ['open', 0o666],
    ['plain', 0o644],
  ] as const) {
    writeFileSync(join(top, name), name);
    await chmod(join(top, name), mode);
  }
  await mkdir(join(top, 'sub'), { mode: 0o777 });
  await chmod(join(top, 'sub'), 0o777);
  writeFileSync(join(top, 'nobody'), 'n');
  await chown(join(top, 'nobody'), outside(65_534), outside(65_534));
  return top;
}

async function owner(client: Client, path: string): Promise<string> {
  const [, , uid, gid] = await client.must('lstat', path);
  return `${uid}:${gid}`;
}

describe.skipIf(
  DRIVER !== 'stratafs' || !has({ ...MOUNT_NEEDS, namespaces: true, programs: ['gcc', 'nsenter'] }),
)('in a user namespace', () => {
  let leave = (): void => undefined;
  let foreign: string;
  beforeAll(async () => {
    const binary = await clientBinary();
    foreign = await foreignLayer();
    leave = await enterUserNamespace(binary);
  });
  afterAll(() => {
    leave();
  });

  test('owners within the mapping change, and others are EINVAL', () =>
    withFixture(
      'rootless',
      { lowers: [[file('f', 'f', { uid: 5, gid: 6, mode: SUID })]] },
      async (client, _, { stack }) => {
        expect(await owner(client, 'f')).toBe('5:6');
        await client.must('chown', 'f', 7, 8);
        expect(await client.errno('chown', 'f', 100_000, -1)).toBe('EINVAL');
        expect(await client.errno('chown', 'f', -1, 100_000)).toBe('EINVAL');
        expect(await owner(client, 'f')).toBe('7:8');
        const { uid, gid } = lstatSync(join(stack.upper ?? '', 'f'));
        expect([uid, gid]).toEqual([outside(7), outside(8)]);
      },
    ));

  test('what nobody here owns is never copied up, least of all with its set-user-ID bit', () =>
    withFixture(
      'rootless',
      { lowers: [[]] },
      async (client, _, { stack }) => {
        await client.must('mkdir', 'own', 0o755);
        expect(await owner(client, 'suid')).toBe('65534:65534');
        expect(await owner(client, 'nobody')).toBe('65534:65534');
        for (const name of ['suid', 'open', 'plain', 'sub']) {
          expect([name, await client.errno('chmod', name, 0o700)]).toEqual([name, 'EOVERFLOW']);
          expect([name, await client.errno('chown', name, 0, 0)]).toEqual([name, 'EOVERFLOW']);
          expect(await client.errno('setxattr', name, 'user.a', '1', 0)).not.toBe('ok');
        }
        for (const name of ['suid', 'open', 'plain'])
          expect([name, await client.errno('open', 0, name, 1, 0)]).toEqual([name, 'EACCES']);
        expect(await client.errno('link', 'suid', 'own/suid')).toBe('EOVERFLOW');
        expect(await client.errno('rename', 'suid', 'own/suid', 0)).toBe('EOVERFLOW');
        expect(await client.errno('open', 0, 'sub/new', 0o101, 0o644)).not.toBe('ok');
        await client.must('open', 0, 'plain', 0, 0);
        expect(await client.must('read', 0, 0, 10)).toEqual(['5', 'plain']);
        // The overflow user's own file is a file like others.
        await client.must('chmod', 'nobody', 0o600);
        expect(await owner(client, 'nobody')).toBe('65534:65534');
        expect(readdirSync(stack.upper ?? '')).toEqual(['nobody', 'own']);
        expect(lstatSync(join(stack.upper ?? '', 'nobody')).uid).toBe(outside(65_534));
      },
      [`lowerdir=${foreign}`],
    ));

  test('a redirect or metadata-only mark, which a user could write, is refused', () =>
    withFixture(
      'rootless',
      {
        lowers: [
          [dir('d', { xattrs: { 'user.overlay.redirect': '/hidden' } })],
          [dir('hidden'), file('hidden/secret', 's')],
        ],
      },
      async (client) => {
        expect(await client.errno('lstat', 'd')).toBe('EPERM');
        await client.must('lstat', 'hidden/secret');
      },
    ));

  test('the marks of the upper are in the user namespace', () =>
    withFixture(
      'rootless',
      { lowers: [[dir('d'), file('d/f', 'f'), file('g', 'g')]] },
      async (client, _, { stack }) => {
        await client.must('unlink', 'd/f');
        await client.must('rmdir', 'd');
        await client.must('mkdir', 'd', 0o755);
        await client.must('unlink', 'g');
        expect(lstatSync(join(stack.upper ?? '', 'g')).isCharacterDevice()).toBe(true);
        const { stdout } = await mustRun('getfattr', ['-d', '-m-', join(stack.upper ?? '', 'd')]);
        expect(stdout).toContain('user.overlay.opaque="y"');
      },
    ));
});

describe.skipIf(DRIVER !== 'stratafs' || !has(MOUNT_NEEDS))('userxattr, as root', () => {
  const lowers = [
    [
      dir('u', { xattrs: { 'user.overlay.opaque': 'y' } }),
      dir('t', { xattrs: { 'trusted.overlay.opaque': 'y' } }),
    ],
    [dir('u'), file('u/f', 'f'), dir('t'), file('t/f', 'f'), dir('m')],
  ];
  test('follows and writes marks in the user namespace alone', () =>
    withFixture(
      'userxattr',
      { lowers },
      async (client, _, { stack }) => {
        expect(await client.errno('lstat', 'u/f')).toBe('ENOENT');
        await client.must('lstat', 't/f');
        expect(await client.errno('rename', 'm', 'm2', 0)).toBe('EXDEV');
        await client.must('rmdir', 'm');
        await client.must('mkdir', 'm', 0o755);
        await client.must('chmod', 't/f', 0o600);
        const { stdout } = await mustRun('getfattr', ['-Rd', '-m-', stack.upper ?? '']);
        expect(stdout).toContain('user.overlay.opaque="y"');
        // What a lower has there comes along: to this mount it is no mark.
        expect(stdout).not.toMatch(/trusted\.(?!overlay\.opaque)/);
        expect(stdout).not.toContain('metacopy');
      },
      ['userxattr'],
    ));
});
