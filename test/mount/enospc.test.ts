/** A small upper runs full: the error reaches the caller, nothing is half-written, and it goes on. */
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Client } from '../support/client.js';
import { DRIVER, type Fixture, MOUNT_NEEDS, makeFixture, mounting } from '../support/fixture.js';
import { has } from '../support/needs.js';
import { mustRun, run, scratch } from '../support/run.js';
import { dir, file, manifestOf } from '../support/tree.js';

const RDWR = 2;
const CREAT = 0o100;
const MIB = 1 << 20;

const LOWERS = [
  [
    file('big', { size: MIB, seed: 1, hole: 0 }),
    ...Array.from({ length: 24 }, (_, i) => file(`part${i}`, { size: MIB, seed: i })),
    dir('deep'),
    dir('deep/er'),
    file('deep/er/huge', { size: MIB, seed: 5 }),
    file('small', 'small'),
  ],
];

interface Small {
  readonly name: string;
  readonly mount: (at: string) => Promise<void>;
}

const SMALL: readonly Small[] = [
  {
    name: 'tmpfs',
    mount: async (at) => {
      await mustRun('mount', ['-t', 'tmpfs', '-o', 'size=6m,mode=755', 'tmpfs', at]);
    },
  },
  {
    name: 'ext4',
    mount: async (at) => {
      await mustRun('truncate', ['-s', '8M', `${at}.img`]);
      await mustRun('mkfs.ext4', ['-q', '-F', '-m', '0', '-O', '^has_journal', `${at}.img`]);
      await mustRun('mount', ['-o', 'loop', `${at}.img`, at]);
    },
  },
];

/** Makes lower files of 1 MiB into one of 24 MiB, which no small upper holds. */
async function huge(fixture: Fixture): Promise<void> {
  const lower = fixture.stack.lowers[0] ?? '';
  const parts = Array.from({ length: 24 }, (_, i) => join(lower, `part${i}`));
  await mustRun('sh', ['-c', `cat ${parts.join(' ')} > ${join(lower, 'big')}`]);
  await mustRun('cp', [join(lower, 'big'), join(lower, 'deep/er/huge')]);
}

/** Writes a byte so that it must reach the upper; the errno of the write, or of the fsync. */
async function change(client: Client, path: string): Promise<string> {
  const opened = await client.errno('open', 5, path, RDWR, 0);
  if (opened !== 'ok') return opened;
  const written = await client.errno('write', 5, 0, 'changed');
  const synced = written === 'ok' ? await client.errno('fsync', 5) : written;
  await client.call('close', 5);
  return synced;
}

/** Files of the upper that claim data, where only the metadata can have been copied. */
async function halfWritten(fixture: Fixture, paths: readonly string[]): Promise<string[]> {
  const upper = await manifestOf(fixture.stack.upper ?? '');
  return paths.filter(
    (path) => upper.has(path) && !upper.get(path)?.has('x:trusted.overlay.metacopy'),
  );
}

/** But for whiteouts: kernel overlayfs keeps one there to link from. */
function leftInWork(fixture: Fixture): string[] {
  return readdirSync(join(fixture.stack.work ?? '', 'work'), { withFileTypes: true })
    .filter((entry) => !entry.isCharacterDevice())
    .map(({ name }) => name);
}

/** The server of the last mount closes its descriptors a moment after that mount is gone. */
async function unmountSoon(at: string): Promise<void> {
  for (let tries = 0; tries < 50; tries++) {
    if ((await run('umount', [at])).code === 0) return;
    await sleep(100);
  }
  await mustRun('umount', [at]);
}

for (const small of SMALL)
  describe.skipIf(!has({ ...MOUNT_NEEDS, loop: true }))(`an upper on a full ${small.name}`, () => {
    const at = scratch(`small-${small.name}`);

    beforeAll(() => small.mount(at));
    afterAll(async () => {
      await unmountSoon(at);
      rmSync(`${at}.img`, { force: true });
      rmSync(at, { recursive: true });
    });

    for (const writeback of [1, 0]) {
      // Plain uppers: a metadata-only copy would fit.
      const options = DRIVER === 'stratafs' ? [`writeback=${writeback}`, 'metacopy=off'] : [];

      test(`refuses a copy-up that does not fit, leaves nothing of it, and goes on (writeback=${writeback})`, async () => {
        const upperOn = join(at, `w${writeback}`);
        mkdirSync(upperOn);
        const fixture = await makeFixture('enospc', { lowers: LOWERS, upperOn });
        await huge(fixture);
        const before = await manifestOf(fixture.stack.lowers[0] ?? '');
        await mounting(
          fixture,
          async (client) => {
            expect(await change(client, 'big')).toBe('ENOSPC');
            expect(await change(client, 'deep/er/huge')).toBe('ENOSPC');
            expect(await halfWritten(fixture, ['big', 'deep/er/huge'])).toEqual([]);
            expect(leftInWork(fixture)).toEqual([]);
            expect(await change(client, 'small')).toBe('ok');
            await client.must('open', 1, 'new', RDWR | CREAT, 0o644);
            await client.must('fill', 1, 0, MIB, 9);
            await client.must('fsync', 1);
          },
          options,
        );
        await mounting(fixture, async (client) => {
          const big = await client.must('manifest', 'big');
          expect(big.join()).toContain(before.get('big')?.get('data') ?? 'no data');
        });
        rmSync(upperOn, { recursive: true });
      });

      test(`says so when written data does not fit, and works once there is room (writeback=${writeback})`, async () => {
        const upperOn = join(at, `f${writeback}`);
        mkdirSync(upperOn);
        const fixture = await makeFixture('enospc', { lowers: LOWERS, upperOn });
        await mounting(
          fixture,
          async (client) => {
            await client.must('open', 0, 'filler', RDWR | CREAT, 0o644);
            let told = 'ok';
            for (let i = 0; i < 12 && told === 'ok'; i++) {
              told = await client.errno('fill', 0, i * MIB, MIB, i);
              if (told === 'ok') told = await client.errno('fsync', 0);
            }
            expect(told).toBe('ENOSPC');
            expect(await change(client, 'part3')).toBe('ENOSPC');
            await client.must('ftruncate', 0, 0);
            await client.call('fsync', 0);
            expect(await change(client, 'part3')).toBe('ok');
            await client.must('unlink', 'part4');
            await client.must('unlink', 'filler');
            await client.must('mkdir', 'room', 0o755);
          },
          options,
        );
        // 'filler' was still open when its client ended.
        await expect.poll(() => leftInWork(fixture), { timeout: 3000 }).toEqual([]);
        rmSync(upperOn, { recursive: true });
      });
    }
  });
