/**
 * Data that a writer still holds open, and that the kernel has not written to the upper yet: whoever
 * looks at the file, or behind it, sees every byte of it.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test, describe } from 'vitest';
import type { Client } from '../support/client.js';
import { DRIVER, type Fixture, MOUNT_NEEDS, type Parts, withFixture } from '../support/fixture.js';
import type { Mounted } from '../support/mount.js';
import { has } from '../support/needs.js';
import { mustRun, run } from '../support/run.js';
import { file, hardlink } from '../support/tree.js';

const KIB = 1 << 10;
const MIB = 1 << 20;
const [RDONLY, RDWR, CREAT, APPEND] = [0, 2, 0o100, 0o2000];
const [SEEK_DATA, SEEK_HOLE] = [3, 4];
const [PROT, SHARED] = [3, 1];
const FS_IOC_FIEMAP = 0xc020660b;

const PARTS: Parts = {
  lowers: [
    [
      file('low', { size: MIB, seed: 1, hole: MIB }),
      file('h1', 'one'),
      hardlink('h2', 'h1'),
      file('empty'),
    ],
  ],
};

/** What a writer holds open: "new" and "low" with 64 KiB of data in a hole, "app" and "empty" appended to. */
async function hold(writer: Client): Promise<void> {
  for (const [slot, path] of ['new', 'low'].entries()) {
    await writer.must('open', slot, path, RDWR | CREAT, 0o644);
    await writer.must('ftruncate', slot, 4 * MIB);
    await writer.must('fill', slot, 3 * MIB, 64 * KIB, 7);
  }
  await writer.must('open', 2, 'app', RDWR | CREAT | APPEND, 0o644);
  await writer.must('fill', 2, 0, 100 * KIB, 8);
  await writer.must('open', 3, 'empty', RDWR, 0);
  await writer.must('fill', 3, 0, 30 * KIB, 9);
}

const HELD = ['new', 'low', 'app', 'empty'];

for (const option of ['writeback=1', 'writeback=0', 'data=passthrough']) {
  const holding = (
    body: (client: Client, mounted: Mounted, fixture: Fixture) => Promise<void>,
  ): Promise<void> =>
    withFixture(
      'dirty',
      PARTS,
      async (writer, mounted, fixture) => {
        await hold(writer);
        await body(writer, mounted, fixture);
      },
      DRIVER === 'stratafs' ? [option] : [],
    );

  describe.skipIf(!has({ ...MOUNT_NEEDS, programs: ['gcc', 'tar', 'rsync', 'cp'] }))(
    `data that a writer holds, ${option}`,
    () => {
      // Each first: what one of them has had written is there for the next.
      test.each([
        ['cp', (from: string, to: string) => `cp ${from} ${to}`],
        ['cp --sparse=always', (from: string, to: string) => `cp --sparse=always ${from} ${to}`],
        ['cp --reflink=auto', (from: string, to: string) => `cp --reflink=auto ${from} ${to}`],
        ['dd conv=sparse', (from: string, to: string) => `dd if=${from} of=${to} conv=sparse`],
        ['rsync -S', (from: string, to: string) => `rsync -S ${from} ${to}`],
        [
          'tar -S',
          (from: string, to: string) =>
            `mkdir ${to}.d && tar -cSf ${to}.tar ${from} && tar -C ${to}.d -xf ${to}.tar && mv ${to}.d/${from} ${to}`,
        ],
      ])('%s copies all of it', async (_, command) => {
        await holding(async (_writer, _mounted, { top, mountpoint }) => {
          for (const name of HELD) {
            const to = join(top, `copy-${name}`);
            await mustRun('sh', ['-ec', command(name, to)], { cwd: mountpoint });
            const same = await run('cmp', [name, to], { cwd: mountpoint });
            expect([name, same.code, same.stdout]).toEqual([name, 0, '']);
          }
        });
      });

      test('is never called a hole, and holes are still told', () =>
        holding(async (_writer, mounted) => {
          const reader = await mounted.client();
          for (const name of ['new', 'low']) {
            await reader.must('open', 0, name, RDONLY, 0);
            const data = async (from: number): Promise<string | undefined> =>
              (await reader.must('lseek', 0, from, SEEK_DATA))[0];
            const hole = async (from: number): Promise<string | undefined> =>
              (await reader.must('lseek', 0, from, SEEK_HOLE))[0];
            const from = name === 'new' ? 0 : 2 * MIB;
            expect([name, await data(from)]).toEqual([name, `${3 * MIB}`]);
            expect([name, await hole(3 * MIB)]).toEqual([name, `${3 * MIB + 64 * KIB}`]);
            const end = await reader.errno('lseek', 0, 3 * MIB + 64 * KIB, SEEK_DATA);
            expect([name, end]).toEqual([name, 'ENXIO']);
            await reader.must('close', 0);
          }
        }));

      test('has blocks', () =>
        holding(async (_writer, mounted) => {
          const reader = await mounted.client();
          for (const name of HELD) {
            const blocks = Number((await reader.must('statx', name)).at(-1));
            expect([name, blocks > 0]).toEqual([name, true]);
          }
        }));

      test('is what copy_file_range copies, and what it is copied over', () =>
        holding(async (writer, mounted) => {
          const other = await mounted.client();
          await other.must('open', 0, 'app', RDONLY, 0);
          await other.must('open', 1, 'to', RDWR | CREAT, 0o644);
          await other.must('fill', 1, 0, 100 * KIB, 3);
          expect(await other.must('copyrange', 0, 0, 1, 0, 100 * KIB)).toEqual([`${100 * KIB}`]);
          expect(await other.must('read', 1, 0, 100 * KIB)).toEqual(
            await writer.must('read', 2, 0, 100 * KIB),
          );
        }));

      test('in a mapping counts, too', () =>
        holding(async (writer, _mounted, { top, mountpoint }) => {
          await writer.must('mmap', 0, 0, 4 * MIB, PROT, SHARED);
          await writer.must('mwrite', 0, 256 * KIB, 'mapped');
          const to = join(top, 'copy');
          await mustRun('cp', ['--sparse=always', 'new', to], { cwd: mountpoint });
          expect((await run('cmp', ['new', to], { cwd: mountpoint })).code).toBe(0);
          expect(readFileSync(to, 'latin1').slice(256 * KIB, 256 * KIB + 6)).toBe('mapped');
        }));

      test('under one name of a hard link is what the other name shows', () =>
        holding(async (writer, mounted) => {
          await writer.must('open', 4, 'h1', RDWR, 0);
          await writer.must('write', 4, 0, 'TWO!');
          const other = await mounted.client();
          await other.must('chmod', 'h2', 0o600);
          await other.must('open', 0, 'h2', RDONLY, 0);
          expect(await other.must('read', 0, 0, 10)).toEqual(['4', 'TWO!']);
          await other.must('rename', 'h2', 'h3');
          await other.must('open', 1, 'h3', RDONLY, 0);
          expect(await other.must('read', 1, 0, 10)).toEqual(['4', 'TWO!']);
        }));

      test('has no extents to look at, and nobody may share them behind the kernel', () =>
        holding(async (writer, _mounted, { mountpoint }) => {
          await writer.must('open', 5, 'new', RDONLY, 0);
          expect(await writer.errno('ioctl', 5, FS_IOC_FIEMAP)).toMatch(
            /^(ENOTSUP|EOPNOTSUPP|ENOTTY)$/,
          );
          const clone = await run('cp', ['--reflink=always', 'new', 'clone'], { cwd: mountpoint });
          expect(clone.code).not.toBe(0);
        }));
    },
  );
}
