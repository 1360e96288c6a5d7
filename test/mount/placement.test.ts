/** Where layers and mount point may lie to each other: what is allowed, and what is one too many. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { has, stratafsBinary } from '../support/needs.js';
import { mustRun, type Ran, run, scratch } from '../support/run.js';
import { mountsBelow } from '../support/staleMounts.js';

const OPTIONS = 'lowerdir=all/low,upperdir=all/up,workdir=all/work';

describe.skipIf(!has({ root: true, fuse: true, stratafs: true, kernelOverlay: true }))(
  'placement',
  () => {
    let base: string;

    beforeEach(() => {
      base = scratch('placement');
      for (const name of ['all/low/in', 'all/up', 'all/work', 'm1', 'm2', 'm3', 'empty']) {
        mkdirSync(join(base, name), { recursive: true });
      }
      writeFileSync(join(base, 'all/low/text'), 'text');
    });

    afterEach(async () => {
      // Newest first: one may lie on another.
      for (const at of mountsBelow(base).toReversed()) await run('umount', [at]);
      expect(mountsBelow(base)).toEqual([]);
      rmSync(base, { recursive: true });
    });

    const ask = (options: string, at: string): Promise<Ran> =>
      run(stratafsBinary(), ['-o', options, at], { cwd: base });
    const kernel = (options: string, at: string): Promise<Ran> =>
      mustRun('mount', ['-t', 'overlay', 'overlay', '-o', options, at], { cwd: base });
    const shell = async (script: string): Promise<string> =>
      (await mustRun('bash', ['-c', script], { cwd: base })).stdout;

    it.each([
      ['on a lower layer', 'all/low'],
      ['inside a lower layer', 'all/low/in'],
      ['on the upperdir', 'all/up'],
      ['on the workdir', 'all/work'],
      ['around all layers', 'all'],
    ])('a mount %s works, as in kernel overlayfs', async (_, at) => {
      expect(await ask(OPTIONS, at)).toEqual({ code: 0, stdout: '', stderr: '' });
      const seen = `cat ${at}/text; echo more >>${at}/text; rm -r ${at}/in; mkdir ${at}/d;
        cat ${at}/text; ls ${at}; umount ${at}; ls all/up`;
      expect(await shell(seen)).toBe('texttextmore\nd\ntext\nd\nin\ntext\n');
    });

    it('unions on unions are refused above two, whoever serves them', async () => {
      const refused = /layer \S*\/m2 lies on 2 union mounts, one on the other/;
      const pairs = ['kernel', 'ours'].flatMap((a) => ['kernel', 'ours'].map((b) => [a, b]));
      for (const drivers of pairs) {
        for (const [i, driver] of drivers.entries()) {
          const [lower, at] = [join(base, i === 0 ? 'all/low' : 'm1'), `m${i + 1}`];
          // The kernel's table shows the paths as they were given: relative ones lead nowhere.
          if (driver === 'kernel') await kernel(`lowerdir=${lower}:${join(base, 'empty')}`, at);
          else expect(await ask(`lowerdir=${lower}:empty`, at)).toMatchObject({ code: 0 });
        }
        expect(await shell('cat m2/text')).toBe('text');
        const third = await ask('lowerdir=m2:empty', 'm3');
        expect([drivers, third.code, third.stderr]).toEqual([
          drivers,
          1,
          expect.stringMatching(refused),
        ]);
        await shell('umount m2; umount m1');
      }
    });

    it('an upperdir that a mount of another host changes can be neither changed nor read', async () => {
      expect(await ask(OPTIONS, 'm1')).toMatchObject({ code: 0 });
      // An engine looks at an upper of its own host, whose cache is written first.
      expect(await ask('lowerdir=all/low,upperdir=all/up,ro', 'm2')).toMatchObject({ code: 0 });
      for (const options of [OPTIONS, 'lowerdir=all/low,upperdir=all/up,ro']) {
        const script = `umount -l m2; umount -l m1; "$0" -o ${options} m3; r=$?
          for p in $("$0" mounts --json | sed -n 's/.*"pid": \\([0-9]*\\).*/\\1/p'); do kill $p; done
          exit $r`;
        const command = ['-m', '--propagation', 'private', 'bash', '-c', script, stratafsBinary()];
        const env = { ...process.env, STRATAFS_GRACE: '0' };
        const { code, stderr } = await run('unshare', command, { cwd: base, env });
        expect([options, code, stderr]).toEqual([
          options,
          1,
          expect.stringMatching(/^stratafs: upperdir \S*\/up is in use by another live mount/),
        ]);
      }
    });
  },
);
