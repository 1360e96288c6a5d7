/** A `find` that runs for a week must not make the host grow: what the kernel forgets is given back. */
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { readFileSync } from 'node:fs';
import { DRIVER, makeFixture, mounting } from '../support/fixture.js';
import { has, stratafsBinary } from '../support/needs.js';
import { mustRun } from '../support/run.js';
import { dir, type Entry, file } from '../support/tree.js';

const DIRECTORIES = 40;
const FILES_EACH = 50;
const BATCHES = 6;
const ROUNDS = 50;
/** V8 lets its heap grow by a step of 16 MiB and then stay. A hundred bytes kept of each file looked up are more. */
const SLACK = 32 << 20;

/** Names in one directory, and what the host may keep when they are forgotten; without giving back it is 50 MiB. */
const MANY = 300_000;
const REST = 24 << 20;
const GIVEN_BACK_MS = 180_000;
/** Memory that changes by less in this time is steady. */
const STEADY = 1 << 20;
const STEADY_MS = 1000;

/** Of a machine that does much else, too. */
const TIME = { timeout: 900_000 };
const STEP_MS = 300_000;

function tree(layer: number): Entry[] {
  return Array.from({ length: DIRECTORIES }, (_, d) => [
    dir(`d${d}`),
    ...Array.from({ length: FILES_EACH / 2 }, (_unused, f) => file(`d${d}/file-${layer}-${f}`, '')),
  ]).flat();
}

interface Kept {
  readonly inodes: number;
  readonly arena: number;
  readonly fds: number;
  /** Open files and resident memory of the host; not of the stats. */
  readonly files: number;
  readonly memory: number;
}

async function kept(path: string): Promise<Kept> {
  const stats = await mustRun(stratafsBinary(), ['stats', path, '--json']);
  const mounts = await mustRun(stratafsBinary(), ['mounts', '--json']);
  const all = JSON.parse(mounts.stdout) as { mountpoint: string; pid: number }[];
  const pid = all.find(({ mountpoint }) => mountpoint === path)?.pid ?? -1;
  const status = readFileSync(`/proc/${pid}/status`, 'latin1');
  const files = (await mustRun('ls', [`/proc/${pid}/fd`])).stdout.split('\n').length;
  const memory = Number(/VmRSS:\s*(\d+)/.exec(status)?.[1]) * 1024;
  return { ...(JSON.parse(stats.stdout) as Kept), files, memory };
}

/** What the host keeps once it has started all its threads, which it does behind the first mount. */
async function settled(path: string): Promise<Kept> {
  let last = await kept(path);
  for (;;) {
    await sleep(STEADY_MS);
    const now = await kept(path);
    if (Math.abs(now.memory - last.memory) < STEADY) return now;
    last = now;
  }
}

describe.skipIf(!has({ root: true, fuse: true, stratafs: true }) || DRIVER !== 'stratafs')(
  'what the kernel has forgotten',
  () => {
    test(
      `does not stay: ${BATCHES * ROUNDS} times find over ${DIRECTORIES * FILES_EACH} files`,
      TIME,
      async () => {
        const fixture = await makeFixture('forgetting', { lowers: [tree(0), tree(1)] });
        await mounting(fixture, async (client, { path }) => {
          const loop = `n=0; while [ $n -lt ${ROUNDS} ]; do n=$((n + 1))
          find . -size +1000 -o -name missing; test ! -e d$((n % 40))/none$n
          echo 2 >/proc/sys/vm/drop_caches; done; true`;
          const batch = async (): Promise<Kept> => {
            await mustRun('sh', ['-ec', loop], { cwd: path, timeoutMs: STEP_MS });
            await client.must('forget');
            return kept(path);
          };
          await batch();
          const early = await batch();
          let late = early;
          for (let i = 2; i < BATCHES; i++) late = await batch();
          // The root, and directories that hold a process.
          expect(late.inodes).toBeLessThan(10);
          expect(late.arena).toBeLessThanOrEqual(early.arena + 4096);
          expect(late.fds).toBeLessThanOrEqual(early.fds + 10);
          expect(late.files).toBeLessThanOrEqual(early.files + 10);
          expect(late.memory).toBeLessThan(early.memory + SLACK);
        });
      },
    );

    test(`goes back to the system: ${MANY} names, twice`, TIME, async () => {
      const fixture = await makeFixture('forgetting-many', { lowers: [[dir('many')]] });
      const names = `cd "$0/many" && seq -f 'f%07.0f' ${MANY} | xargs touch`;
      await mustRun('sh', ['-ec', names, fixture.stack.lowers[0]], { timeoutMs: STEP_MS });
      await mounting(fixture, async (client, { path }) => {
        await mustRun('ls', [path]);
        const before = await settled(path);
        for (let round = 0; round < 2; round++) {
          const count = 'find many -type f ! -size +1000 | wc -l';
          const all = await mustRun('sh', ['-ec', count], { cwd: path, timeoutMs: STEP_MS });
          expect(Number(all.stdout)).toBe(MANY);
          await client.must('forget');
          await expect
            .poll(async () => (await kept(path)).memory, { timeout: GIVEN_BACK_MS, interval: 500 })
            .toBeLessThan(before.memory + REST);
          expect((await kept(path)).arena).toBeLessThan(1 << 20);
        }
      });
    });
  },
);
