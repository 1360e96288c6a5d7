/** An upper or workdir that a mount of kernel overlayfs changes is refused, however its options name it. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { mkdirSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { has, stratafsBinary } from '../support/needs.js';
import { mustRun, type Ran, run, scratch } from '../support/run.js';
import { mountsBelow } from '../support/staleMounts.js';

describe.skipIf(!has({ root: true, fuse: true, stratafs: true, kernelOverlay: true }))(
  'directories in use by kernel overlayfs',
  () => {
    let base: string;

    beforeEach(() => {
      base = scratch('in-use');
      for (const name of [
        'low',
        'low2',
        'up/in',
        'up2',
        'o/up',
        'o/work',
        'work',
        'work2',
        'bind',
        'm1',
        'm2',
      ]) {
        mkdirSync(join(base, name), { recursive: true });
      }
      mkdirSync(join(base, 'a,b \\c'));
    });

    afterEach(async () => {
      for (const at of mountsBelow(base).toReversed()) await run('umount', [at]);
      expect(mountsBelow(base)).toEqual([]);
      rmSync(base, { recursive: true });
    });

    const kernel = (upper: string, work: string): Promise<Ran> =>
      mustRun(
        'mount',
        ['-t', 'overlay', 'o', '-o', `lowerdir=low,upperdir=${upper},workdir=${work}`, 'm1'],
        {
          cwd: base,
        },
      );
    const ours = (options: string): Promise<Ran> =>
      run(stratafsBinary(), ['-o', options, 'm2'], { cwd: base });
    const refused = async (options: string, role: string, how = 'is in use by'): Promise<void> => {
      const { code, stderr } = await ours(options);
      const sentence = new RegExp(
        `^stratafs: ${role} \\S.* ${how} the overlay mount on \\S*/m1: unmount`,
      );
      expect([code, stderr]).toEqual([1, expect.stringMatching(sentence)]);
    };
    const OURS = 'lowerdir=low2,upperdir=up,workdir=work2';

    it('named by relative paths', async () => {
      await kernel('./up/', 'work');
      await refused(OURS, 'upperdir');
      // Of the same name, but another.
      expect(await ours('lowerdir=low2,upperdir=o/up,workdir=work2')).toMatchObject({ code: 0 });
      await mustRun('umount', ['m2'], { cwd: base });
      await refused('lowerdir=low2,upperdir=up2,workdir=work', 'workdir');
      // Of the same name, but beside another upper.
      expect(await ours('lowerdir=low2,upperdir=up2,workdir=o/work')).toMatchObject({ code: 0 });
    });

    it.each(['relative', 'whole'])(
      'is followed by a mount that only reads it: %s',
      async (form) => {
        const at = form === 'whole' ? `${base}/` : '';
        await mustRun('sh', ['-c', 'echo low >low/f; echo old >up/g; mkdir up/d'], { cwd: base });
        await kernel(`${at}up`, `${at}work`);
        expect(await ours('lowerdir=low,upperdir=up,ro')).toMatchObject({ code: 0 });
        const script = `set -e
        same() { sleep 1.1; diff -r m1 m2; }
        same; cat m2/f m2/g; ls m2/d m2/in
        echo more >>m1/f; echo new >m1/d/n; mv m1/g m1/h; rmdir m1/in; mkdir m1/g; same
        cat m2/f m2/h m2/d/n; rm -r m1/d; echo file >m1/d; mv m1/h m1/f; same; cat m2/f m2/d; ls m2`;
        const { stdout } = await mustRun('bash', ['-c', script], { cwd: base });
        const first = ['low', 'old', 'm2/d:', '', 'm2/in:'];
        const then = ['low', 'more', 'old', 'new', 'old', 'file', 'd', 'f', 'g', ''];
        expect(stdout.split('\n')).toEqual([...first, ...then]);
      },
    );

    it('named by whole paths', async () => {
      await kernel(`${base}/up`, `${base}/work`);
      await refused(OURS, 'upperdir');
      await refused('lowerdir=low2,upperdir=up2,workdir=work', 'workdir');
      const inside = 'lies inside a directory in use by';
      await refused('lowerdir=low2,upperdir=up/in,workdir=work2', 'upperdir', inside);
      // The kernel only warns of these.
      const fine = [
        'lowerdir=low2,upperdir=up/in,workdir=work2,index=off',
        'lowerdir=up',
        'lowerdir=work',
      ];
      for (const options of fine) {
        expect([options, (await ours(options)).code]).toEqual([options, 0]);
        await mustRun('umount', ['m2'], { cwd: base });
      }
      await refused('lowerdir=up,upperdir=up2,workdir=work2,index=on', 'lower layer');
      await mustRun('umount', ['m1'], { cwd: base });
      expect(await ours(OURS)).toMatchObject({ code: 0 });
    });

    it('named by another path, and by one that needs escapes', async () => {
      await mustRun('mount', ['--bind', 'o', 'bind'], { cwd: base });
      symlinkSync('up', join(base, 'o/alias'));
      await kernel(`${base}/bind/alias`, `${base}/bind/work`);
      await refused('lowerdir=low2,upperdir=o/up,workdir=work2', 'upperdir');
      await refused('lowerdir=low2,upperdir=up2,workdir=o/work', 'workdir');
      await mustRun('umount', ['m1'], { cwd: base });
      await kernel(`${base}/a\\,b \\\\c`, 'work');
      await refused('lowerdir=low2,upperdir=a\\,b \\\\c,workdir=work2', 'upperdir');
    });
  },
);
