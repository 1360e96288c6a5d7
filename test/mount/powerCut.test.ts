/**
 * The power fails: the upper's block device as it was at some moment, under the next mount. What was synced is
 * there; of the calls after it a first part is done, each whole or not at all; data that was not synced may be
 * lost, data that a copy-up moved never is. The device is a file on XFS, of which a reflink is the state of one
 * moment. STRATAFS_CUTS says how often (`npm run test:long`: 100).
 */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadNative } from '../../src/sys/native.js';
import { Sys } from '../../src/sys/sys.js';
import { Random } from '../differential/random.js';
import { type Tree, treeOfDirectory } from '../faults/snapshot.js';
import { mountStack, type Stack } from '../support/mount.js';
import { has, stratafsBinary } from '../support/needs.js';
import { mustRun, run, scratch } from '../support/run.js';
import { mountsBelow } from '../support/staleMounts.js';
import { build } from '../support/tree.js';
import { type Call, someCalls, syncedCalls, Twin, TWIN_LAYERS, blocksOf } from '../support/twin.js';

const CUTS = Number(
  process.env['STRATAFS_CUTS'] ?? (process.env['STRATAFS_LONG'] === '1' ? 100 : 4),
);
const SEED = Number(process.env['STRATAFS_SEED'] ?? 1);
/** Between two cuts. */
const CALLS = 120;
const SIZE = '96M';

describe.skipIf(
  !has({
    ...{ root: true, fuse: true, stratafs: true, loop: true, fileSystems: ['xfs', 'ext4'] },
    programs: ['mkfs.xfs', 'mkfs.ext4'],
  }),
)('a power failure', () => {
  const random = new Random(SEED);
  const sys = new Sys(loadNative());
  let base: string;
  let twin: Twin;
  const at = (name: string): string => join(base, name);
  const stackOn = (disk: string): Stack => ({
    lowers: [at('l0'), at('l1')],
    upper: join(disk, 'up'),
    work: join(disk, 'work'),
  });

  beforeAll(async () => {
    base = scratch('powerCut');
    for (const name of ['l0', 'l1', 'xfs', 'disk', 'then', 'mnt', 'twin']) mkdirSync(at(name));
    for (const [i, entries] of TWIN_LAYERS.entries()) await build(at(`l${i}`), entries);
    await mustRun('truncate', ['-s', '700M', at('xfs.img')]);
    await mustRun('mkfs.xfs', ['-q', '-m', 'reflink=1', at('xfs.img')]);
    await mustRun('mount', ['-o', 'loop', at('xfs.img'), at('xfs')]);
    await mustRun('truncate', ['-s', SIZE, at('xfs/disk.img')]);
    await mustRun('mkfs.ext4', ['-q', '-F', '-E', 'lazy_itable_init=0', at('xfs/disk.img')]);
    await mustRun('mount', ['-o', 'loop', at('xfs/disk.img'), at('disk')]);
    for (const name of ['up', 'work']) mkdirSync(at(`disk/${name}`));
    await run('sync', ['-f', at('disk')]);
    twin = await Twin.make(at('twin'));
  });

  afterAll(async () => {
    await twin.close();
    for (const place of mountsBelow(base)) await run('umount', ['-l', place]);
    rmSync(base, { recursive: true, force: true });
  });

  /** Others look at the disks of this machine, too. */
  async function unmountDisk(): Promise<void> {
    for (let tries = 0; tries < 100; tries++) {
      const { code } = await run('umount', [at('then')]);
      if (code === 0) return;
      await sleep(20);
    }
    throw new Error('the disk stays busy');
  }

  /** What a mount over the device of that moment shows. */
  async function treeAfterCut(image: string, kernel: boolean): Promise<Tree> {
    await mustRun('mount', ['-o', 'loop', image, at('then')]);
    try {
      const stack = stackOn(at('then'));
      const options = kernel ? ['redirect_dir=on,metacopy=on,index=on'] : [];
      const driver = kernel ? 'kernel' : 'stratafs';
      const mounted = await mountStack(driver, stack, at('mnt2'), options);
      const tree = treeOfDirectory(sys, at('mnt2'));
      // Which waits until the host has let go of the disk, as umount(8) does not.
      if (!kernel) await mustRun(stratafsBinary(), ['unmount', at('mnt2')]);
      await mounted.unmount();
      return tree;
    } finally {
      await unmountDisk();
      rmSync(image);
    }
  }

  it(`${CUTS} times`, { timeout: 60_000 + CUTS * 10_000 }, async () => {
    mkdirSync(at('mnt2'));
    const mounted = await mountStack('stratafs', stackOn(at('disk')), at('mnt'));
    const client = await mounted.client();
    const calls: Call[] = [];
    const answers: string[] = [];
    /** Calls that the twin has done, and that are on the disk for sure. */
    let [done, synced] = [0, 0];
    const ask = async (call: Call, number: number): Promise<void> => {
      const [name, ...words] = call;
      answers[number] = await client.errno(name, ...words);
    };
    for (let cut = 1; cut <= CUTS; cut++) {
      const fresh = someCalls(random, CALLS);
      const first = calls.length;
      calls.push(...fresh);
      const asked = fresh.map((call, i) => ask(call, first + i));
      await asked[random.below(CALLS)];
      await sleep(random.below(5));
      const least = answers.length;
      // Another file each time: elsewhere the last one may still be mounted.
      const image = at(`xfs/cut${cut}.img`);
      await mustRun('cp', ['--reflink=always', at('xfs/disk.img'), image]);
      const most = Math.min(answers.length + 1, calls.length);
      await Promise.all(asked);
      synced = Math.max(synced, syncedCalls(calls, answers.slice(0, least)));
      const tree = await treeAfterCut(image, cut % 4 === 0);
      const where = `seed ${SEED}, cut ${cut}`;
      const step = async (): Promise<void> => {
        const call = calls[done] ?? [''];
        expect(await twin.do(call), `${where}, ${call.join(' ')}`).toBe(answers[done++]);
      };
      while (done < synced) await step();
      const look = (): string[] => twin.differences(tree, blocksOf(calls.slice(done, most)));
      let wrong = look();
      let nearest = wrong;
      while (wrong.length > 0 && done < most) {
        await step();
        wrong = look();
        if (wrong.length < nearest.length) nearest = [`after ${done}`, ...wrong];
      }
      expect(wrong.length === 0 ? [] : nearest, `${where}, calls ${synced} to ${most}`).toEqual([]);
    }
    await mounted.unmount();
    process.stdout.write(`${CUTS} cuts, ${calls.length} calls\n`);
  });
});
