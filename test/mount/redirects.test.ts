/** What a mount with a `redirect_dir` writes, the next one with the same options must read. */
import { execFileSync } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { O } from '../differential/operations.js';
import type { Client } from '../support/client.js';
import { type Fixture, makeFixture, MOUNT_NEEDS, mounting } from '../support/fixture.js';
import { type Driver, withMount } from '../support/mount.js';
import { has } from '../support/needs.js';
import { dir, type Entry, file, hardlink } from '../support/tree.js';

const LOWER = [
  ...['file', 'mode', 'one', 'two'].map((name) => file(name, name)),
  hardlink('link', 'one'),
  dir('d'),
  file('d/own', 'own'),
];

async function read(client: Client, path: string): Promise<string> {
  await client.must('open', 0, path, O.RDONLY, 0);
  const [, text] = await client.must('read', 0, 0, 100);
  await client.must('close', 0);
  return text;
}

/** The names of files, and what is in them. */
async function contents(client: Client, names: readonly string[]): Promise<string> {
  const seen: string[] = [];
  for (const name of names) seen.push(`${name}=${await read(client, name)}`);
  return seen.join(' ');
}

/** The marks of one kind below the upper, as `path=value`. */
function marks({ stack }: Fixture, name: string): string[] {
  const upper = stack.upper ?? '';
  const args = ['-R', '-h', '-d', '-m', `^trusted.overlay.${name}$`, '-e', 'text', '.'];
  const dump = execFileSync('getfattr', args, { encoding: 'latin1', cwd: upper });
  const found = dump.matchAll(/# file: (.*)\ntrusted\.overlay\.[a-z]+="(.*)"/g);
  return [...found].map(([, path, value]) => `${path}=${value}`).toSorted();
}

async function withLayers(
  body: (fixture: Fixture) => Promise<void>,
  lower: readonly Entry[] = LOWER,
): Promise<void> {
  const fixture = await makeFixture('redirects', { lowers: [lower] });
  try {
    await body(fixture);
  } finally {
    rmSync(fixture.top, { recursive: true, force: true });
  }
}

const NEEDS = { ...MOUNT_NEEDS, kernelOverlay: true, programs: ['gcc', 'getfattr', 'setfattr'] };

describe.skipIf(!has(NEEDS))('redirect_dir', () => {
  const change = async (client: Client): Promise<void> => {
    await client.must('rename', 'file', 'renamed', 0);
    await client.must('chmod', 'mode', 0o600);
    await client.must('link', 'mode', 'd/mode');
    await client.must('link', 'link', 'd/one');
    await client.must('rename', 'one', 'd/moved', 0);
    await client.must('rename', 'two', 'd/own', 2);
  };
  const after = ['renamed', 'mode', 'd/mode', 'link', 'd/one', 'd/moved', 'two', 'd/own'];
  const expected =
    'renamed=file mode=mode d/mode=mode link=one d/one=one d/moved=one two=own d/own=two';

  test.each(['nofollow', 'off', 'follow'])(
    '%s alone writes whole files, which the next mount and the kernel read',
    (mode) =>
      withLayers(async (fixture) => {
        const options = [`redirect_dir=${mode}`];
        await mounting(fixture, change, options);
        expect([...marks(fixture, 'redirect'), ...marks(fixture, 'metacopy')]).toEqual([]);
        expect(await mounting(fixture, (client) => contents(client, after), options)).toBe(
          expected,
        );
        const kernel = [...options, 'metacopy=off', 'index=off'];
        const seen = await withMount(
          'kernel',
          fixture.stack,
          fixture.mountpoint,
          (client) => contents(client, after),
          kernel,
        );
        expect(seen).toBe(expected);
      }),
  );

  test.each(['off', 'follow'])('%s with metacopy=on writes redirects that it follows', (mode) =>
    withLayers(async (fixture) => {
      const options = [`redirect_dir=${mode}`, 'metacopy=on'];
      await mounting(fixture, change, options);
      expect(marks(fixture, 'metacopy').length).toBeGreaterThan(0);
      expect(await mounting(fixture, (client) => contents(client, after), options)).toBe(expected);
    }),
  );

  const DEEP = ['n', 'o'].map((letter) => letter.repeat(150)).join('/');
  const FULL = ['redirect_dir=on', 'metacopy=on', 'index=on'];

  // ovl_need_absolute_redirect: relative, so also below a path that is too long for an absolute one.
  test('on writes the redirects that kernel overlayfs writes, and each reads the other’s', async () => {
    const lower = [...LOWER, dir('n'.repeat(150)), dir(DEEP), file(`${DEEP}/file`, 'deep')];
    const names = ['second', 'd/out', 'uno', 'link', `${DEEP}/renamed`];
    const text = ['file', 'own', 'one', 'one', 'deep'];
    const shown = names.map((name, i) => `${name}=${text[i] ?? ''}`).join(' ');
    const drivers = ['stratafs', 'kernel'] as const;
    const written: string[][] = [];
    for (const [i, driver] of drivers.entries()) {
      await withLayers(async (fixture) => {
        const by = <T>(name: Driver, body: (client: Client) => Promise<T>): Promise<T> =>
          withMount(name, fixture.stack, fixture.mountpoint, body, FULL);
        await by(driver, async (client) => {
          await client.must('rename', 'file', 'first', 0);
          await client.must('rename', 'first', 'second', 0);
          await client.must('rename', 'd/own', 'd/in', 0);
          await client.must('rename', 'd', 'e', 0);
          await client.must('rename', 'e/in', 'e/out', 0);
          await client.must('rename', 'e', 'd', 0);
          await client.must('rename', 'mode', 'nodes', 0);
          await client.must('rename', 'nodes', 'd/mode', 0);
          await client.must('rename', 'one', 'uno', 0);
          await client.must('rename', `${DEEP}/file`, `${DEEP}/renamed`, 0);
        });
        written.push(marks(fixture, 'redirect'));
        const copies = marks(fixture, 'metacopy');
        expect(copies.map((mark) => mark.replace(/=.*/, ''))).toContain(`${DEEP}/renamed`);
        for (const reader of [driver, drivers[1 - i] ?? driver]) {
          expect(await by(reader, (client) => contents(client, names)), reader).toBe(shown);
        }
      }, lower);
    }
    expect(written[0]).toEqual(written[1]);
    expect(written[0]).toContain('second=file');
    expect(written[0]).toContain('uno=/one');
  });

  test.each(['stratafs', 'kernel'] as const)('%s names the missing data of a copy', (driver) =>
    withLayers(async ({ stack, mountpoint }) => {
      const lost = join(stack.upper ?? '', 'lost');
      writeFileSync(lost, '');
      execFileSync('setfattr', ['-n', 'trusted.overlay.metacopy', lost]);
      for (const [metacopy, errno] of [
        ['on', 'EIO'],
        ['off', 'EPERM'],
      ] as const) {
        const options = ['redirect_dir=on', `metacopy=${metacopy}`, 'index=off'];
        const seen = await withMount(
          driver,
          stack,
          mountpoint,
          (client) => client.errno('lstat', 'lost'),
          options,
        );
        expect(seen, metacopy).toBe(errno);
      }
    }),
  );

  test('a directory whose redirect leads to nothing is EIO, and the others are there', () =>
    withLayers(async (fixture) => {
      await mounting(fixture, async (client) => {
        await client.must('rename', 'd', 'moved', 0);
        await client.must('mkdir', 'moved/new', 0o755);
      });
      rmSync(join(fixture.stack.lowers[0] ?? '', 'd'), { recursive: true });
      const ask = async (client: Client): Promise<string> => {
        const listed = await client.must('readdir', '.');
        expect(listed.filter((_, i) => i % 2 === 0).toSorted()).toEqual(
          ['file', 'link', 'mode', 'moved', 'one', 'two'].toSorted(),
        );
        expect(await read(client, 'file')).toBe('file');
        const answers: (string | undefined)[] = [];
        for (const path of ['moved', 'moved/new']) answers.push(await client.errno('lstat', path));
        answers.push(await client.errno('readdir', 'moved'), await client.errno('rmdir', 'moved'));
        answers.push(await client.errno('rename', 'moved', 'elsewhere', 0));
        answers.push(await client.errno('rename', 'file', 'moved', 0));
        return answers.join(' ');
      };
      expect(await mounting(fixture, ask)).toBe('EIO EIO EIO EIO EIO EIO');
      expect(await mounting(fixture, ask, ['redirect_dir=nofollow'])).toBe(
        'EPERM EPERM EPERM EPERM EPERM EPERM',
      );
    }));

  // Its copies have no redirect as long as they stay where they are.
  test('nofollow moves and links the metadata-only copies of another mount with their data', () =>
    withLayers(async (fixture) => {
      const names = ['file', 'mode', 'one', 'two', 'd/own'];
      await mounting(fixture, async (client) => {
        for (const name of names) await client.must('chmod', name, 0o600);
      });
      expect(marks(fixture, 'redirect')).toEqual([]);
      await mounting(fixture, change, ['redirect_dir=nofollow']);
      expect(marks(fixture, 'redirect')).toEqual([]);
      const seen = await mounting(fixture, (client) => contents(client, after), [
        'redirect_dir=nofollow',
      ]);
      expect(seen).toBe(expected);
    }));
});
