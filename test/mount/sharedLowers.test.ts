/**
 * Several unions over the same lowers in one host, which shares between them what it knows of these:
 * each must go on as if it were alone. Each has a twin of kernel overlayfs over copies that gets the
 * same changes.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { type Mounted, mountStack } from '../support/mount.js';
import { has, stratafsBinary } from '../support/needs.js';
import { mustRun, scratch } from '../support/run.js';
import { build, dir, type Entry, file, opaque, symlink, whiteout } from '../support/tree.js';

const DIRECTORIES = 6;

function layer(number: number): Entry[] {
  const entries: Entry[] = [];
  for (let d = 0; d < DIRECTORIES; d++) {
    entries.push(dir(`d${d}`), dir(`d${d}/sub`), file(`d${d}/sub/s${number}`, `${d}`));
    for (let f = 0; f < 8; f++) entries.push(file(`d${d}/f${number}-${f}`, `${number} ${d} ${f}`));
    entries.push(symlink(`d${d}/l${number}`, `f${number}-0`), file(`d${d}/same`, `${number}`));
  }
  return entries;
}

/** What each union does in turn; the first only looks. */
const CHANGES = [
  'true',
  // Whiteouts, and files over them.
  'rm d0/f0-1 d1/same d2/l2; echo new >d1/same; echo more >d3/added; rm -r d4/sub',
  // Opaque directories.
  'rm -r d0 d5; mkdir d0; echo x >d0/f0-2; mkdir d5; mkdir d5/sub',
  // Redirected directories, and what is made at their old names.
  'mv d1 e1; mv d2/sub d3/moved; mkdir d1; echo y >d1/f1-1; mv e1/sub e1/sub2',
  // Metadata-only copies, also renamed, and one with data.
  'chmod 0600 d0/f0-* d1/same; mv d1/same d1/other; mv d2/f1-0 d2/f1-1; echo z >>d3/same',
] as const;
const LATER = 'rm d3/f0-3; mkdir d4/late; echo l >d4/late/x; mv d4/f1-2 d4/f9; rm d2/f0-0';

/** Names, types, modes and contents; names that never were are asked for, too. */
const LOOK = `find . -mindepth 1 ! -type d -printf '%P %y %m %s %l\\n' | sort
find . -mindepth 1 -type d -printf '%P %y %m\\n' | sort
find . -type f | sort | xargs cat | md5sum
for d in *; do for n in none f0-0 f0-1 f1-1 same other sub l2 a b c d e; do
  [ -e $d/$n ] && echo $d/$n; done; done; true`;

describe.skipIf(!has({ root: true, fuse: true, stratafs: true, kernelOverlay: true }))(
  'unions over the same lowers',
  () => {
    const root = scratch('shared-lowers');
    const lowers = ['top', 'middle', 'base'].map((name) => join(root, name));
    const ours: Mounted[] = [];
    const twins: Mounted[] = [];

    beforeAll(async () => {
      for (const [i, lower] of lowers.entries()) {
        mkdirSync(lower);
        const marks = i === 0 ? [whiteout('d0/f1-3'), opaque('o'), file('o/shown', 'x')] : [];
        const below = i === 0 ? [] : [dir('o'), file(`o/hidden${i}`, 'y')];
        await build(lower, [...layer(i), ...marks, ...below]);
      }
      for (let i = 0; i < CHANGES.length; i++) {
        ours.push(await mount('stratafs', `s${i}`));
        twins.push(await mount('kernel', `k${i}`));
      }
    });

    afterAll(async () => {
      for (const mounted of [...ours, ...twins]) await mounted.unmount();
      rmSync(root, { recursive: true, force: true });
    });

    function mount(driver: 'stratafs' | 'kernel', name: string): Promise<Mounted> {
      const [mountpoint, upper, work] = ['mnt', 'upper', 'work'].map((part) => {
        const path = join(root, name, part);
        mkdirSync(path, { recursive: true });
        return path;
      }) as [string, string, string];
      const features = ['redirect_dir=on', 'metacopy=on', 'index=off'];
      return mountStack(driver, { lowers, upper, work }, mountpoint, features);
    }

    const inside = async ({ path }: Mounted, script: string): Promise<string> =>
      (await mustRun('sh', ['-ec', script], { cwd: path })).stdout;

    async function compare(skipped: number): Promise<void> {
      for (const [i, mounted] of ours.entries()) {
        if (i === skipped) continue;
        const expected = await inside(twins[i], LOOK);
        expect(await inside(mounted, LOOK), `union ${i}`).toBe(expected);
      }
    }

    async function listings({ path }: Mounted): Promise<{ read: number; shared: number }> {
      const { stdout } = await mustRun(stratafsBinary(), ['stats', path, '--json']);
      return (JSON.parse(stdout) as { listings: { read: number; shared: number } }).listings;
    }

    // There are no more engine threads than cores, and each reads all once.
    const shares = it.skipIf(availableParallelism() >= CHANGES.length);
    shares('read them once for all unions of an engine thread', async () => {
      await compare(-1);
      const all = await Promise.all(ours.map(listings));
      const directories = 2 * DIRECTORIES + 2;
      const sum = (of: readonly number[]): number => of.reduce((a, b) => a + b, 0);
      expect(sum(all.map(({ read, shared }) => read + shared))).toBeGreaterThanOrEqual(
        ours.length * directories,
      );
      expect(Math.min(...all.map(({ read }) => read))).toBe(0);
    });

    it('see only their own changes', async () => {
      for (const [i, script] of CHANGES.entries()) {
        await inside(ours[i], script);
        await inside(twins[i], script);
        await compare(-1);
      }
    });

    it('list anew what the kernel has forgotten', async () => {
      writeFileSync('/proc/sys/vm/drop_caches', '2');
      await compare(-1);
    });

    it('go on when one of them ends', async () => {
      await ours[1].unmount();
      await compare(1);
      for (const i of [0, 2, 4]) {
        await inside(ours[i], LATER.replaceAll('d4', i === 2 ? 'd1' : 'd4'));
        await inside(twins[i], LATER.replaceAll('d4', i === 2 ? 'd1' : 'd4'));
      }
      writeFileSync('/proc/sys/vm/drop_caches', '2');
      await compare(1);
    });

    it('do not hand on what has changed before a later mount', async () => {
      for (const name of ['late', 'd2/late', 'd2/sub/late']) {
        writeFileSync(join(lowers[1], name), '');
      }
      rmSync(join(lowers[2], 'd3/f2-5'));
      const late = [await mount('stratafs', 's-late'), await mount('kernel', 'k-late')] as const;
      ours.push(late[0]);
      twins.push(late[1]);
      const shown = await inside(late[0], LOOK);
      expect(shown).toContain('d2/sub/late');
      expect(shown).toBe(await inside(late[1], LOOK));
    });
  },
);
