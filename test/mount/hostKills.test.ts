/**
 * SIGKILL of the host at any point of a mix of changes: what was answered is in the union afterwards, what was
 * not is as before or after it; and kernel overlayfs shows the same. STRATAFS_KILLS says how often
 * (`npm run test:long`: 100).
 */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadNative } from '../../src/sys/native.js';
import { Sys } from '../../src/sys/sys.js';
import { Random } from '../differential/random.js';
import { treeOfDirectory } from '../faults/snapshot.js';
import { mountStack, type Mounted, type Stack } from '../support/mount.js';
import { has, stratafsBinary } from '../support/needs.js';
import { mustRun, run, scratch } from '../support/run.js';
import { mountsBelow } from '../support/staleMounts.js';
import { build } from '../support/tree.js';
import { type Call, someCalls, Twin, TWIN_LAYERS } from '../support/twin.js';

const KILLS = Number(
  process.env['STRATAFS_KILLS'] ?? (process.env['STRATAFS_LONG'] === '1' ? 100 : 5),
);
const SEED = Number(process.env['STRATAFS_SEED'] ?? 1);
/** More than the host does before it is killed. */
const CALLS = 3000;
const LATEST_MS = 100;
/** Kernel overlayfs looks at the upper after each so many kills. */
const KERNEL_EACH = 4;

/** The host is gone: no answer of it. EIO is what the kernel makes of that when it writes pages. */
const UNANSWERED = ['ENOTCONN', 'ECONNABORTED', 'EIO'];

describe.skipIf(!has({ root: true, fuse: true, stratafs: true, kernelOverlay: true }))(
  'a host that is killed',
  () => {
    const random = new Random(SEED);
    const sys = new Sys(loadNative());
    let base: string;
    let stack: Stack;
    let twin: Twin;
    const at = (name: string): string => join(base, name);

    beforeAll(async () => {
      base = scratch('hostKills');
      for (const name of ['l0', 'l1', 'up', 'work', 'mnt', 'twin']) mkdirSync(at(name));
      for (const [i, entries] of TWIN_LAYERS.entries()) await build(at(`l${i}`), entries);
      stack = { lowers: [at('l0'), at('l1')], upper: at('up'), work: at('work') };
      twin = await Twin.make(at('twin'));
    });

    afterAll(async () => {
      await twin.close();
      for (const place of mountsBelow(base)) await run('umount', ['-l', place]);
      rmSync(base, { recursive: true, force: true });
    });

    async function killHost(): Promise<void> {
      const { stdout } = await mustRun(stratafsBinary(), ['mounts', '--json']);
      const mounts = JSON.parse(stdout) as { readonly mountpoint: string; readonly pid: number }[];
      const ours = mounts.find(({ mountpoint }) => mountpoint === at('mnt'));
      if (!ours) throw new Error('the mount is not listed');
      process.kill(ours.pid, 'SIGKILL');
    }

    /** Does calls until the host is killed; those that were made, and their answers. */
    async function changeUntilKilled(mounted: Mounted): Promise<[Call[], string[]]> {
      const calls = someCalls(random, CALLS);
      const client = await mounted.client();
      const [first, ...rest] = calls.map(([name, ...words]) => client.errno(name, ...words));
      await first;
      await sleep(random.below(LATEST_MS));
      await killHost();
      return [calls, [await first, ...(await Promise.all(rest))]];
    }

    const look = (): ReturnType<typeof treeOfDirectory> => treeOfDirectory(sys, at('mnt'));

    it(`${KILLS} times`, { timeout: 60_000 + KILLS * 10_000 }, async () => {
      let mounted = await mountStack('stratafs', stack, at('mnt'));
      let [answered, succeeded] = [0, 0];
      for (let round = 1; round <= KILLS; round++) {
        const [calls, answers] = await changeUntilKilled(mounted);
        await mounted.unmount();
        const end = answers.findIndex((answer) => UNANSWERED.includes(answer));
        expect(end, `round ${round}: all was done before the kill`).not.toBe(-1);
        answered += end;
        succeeded += answers.slice(0, end).filter((answer) => answer === 'ok').length;
        for (const [i, call] of calls.slice(0, end).entries()) {
          expect(await twin.do(call), `round ${round}, ${call.join(' ')}`).toBe(answers[i]);
        }
        mounted = await mountStack('stratafs', stack, at('mnt'));
        const unanswered = calls[end] ?? [''];
        const where = `seed ${SEED}, round ${round}, in ${unanswered.join(' ')}`;
        let tree = look();
        const before = twin.differences(tree);
        if (before.length > 0) {
          await twin.do(unanswered);
          const after = twin.differences(tree);
          expect(after, `${where}: before it ${before.join('; ')}`).toEqual([]);
        }
        await twin.closeFiles();
        if (round % KERNEL_EACH !== 0) continue;
        await mounted.unmount();
        const kernel = await mountStack('kernel', stack, at('mnt'), [
          'redirect_dir=on,metacopy=on,index=on',
        ]);
        tree = look();
        await kernel.unmount();
        expect(twin.differences(tree), `${where}, kernel overlayfs`).toEqual([]);
        mounted = await mountStack('stratafs', stack, at('mnt'));
      }
      await mounted.unmount();
      expect(succeeded).toBeGreaterThan(KILLS);
      process.stdout.write(
        `${KILLS} kills, ${answered} calls were answered, ${succeeded} of them ok\n`,
      );
    });
  },
);
