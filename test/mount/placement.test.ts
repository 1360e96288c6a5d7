/** Where layers and mount point may lie to each other: what is allowed, and what is one too many. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { has, stratafsBinary } from '../support/needs.js';
import { mustRun, type Ran, run, scratch } from '../support/run.js';
import { mountsBelow } from '../support/staleMounts.js';

const OPTIONS = 'lowerdir=all/low,upperdir=all/up,workdir=all/work';

describe.skipIf(
  !has({ root: true, fuse: true, stratafs: true, kernelOverlay: true, mountNamespaces: true }),
)('placement', () => {
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

  /** Runs `script` where another host serves what "$0" mounts; what is mounted here shows there, too. */
  const elsewhere = (script: string): Promise<Ran> => {
    const whole = `${script}; r=$?; umount m3 2>/dev/null
        for p in $("$0" mounts --json | sed -n 's/.*"pid": \\([0-9]*\\).*/\\1/p'); do kill $p; done
        exit $r`;
    const command = ['-m', '--propagation', 'private', 'bash', '-c', whole, stratafsBinary()];
    return run('unshare', command, { cwd: base, env: { ...process.env, STRATAFS_GRACE: '0' } });
  };

  it('an upperdir that a mount of another host changes cannot be changed', async () => {
    expect(await ask(OPTIONS, 'm1')).toMatchObject({ code: 0 });
    const { code, stderr } = await elsewhere(`"$0" -o ${OPTIONS} m3`);
    const sentence = /^stratafs: upperdir \S*\/up is in use by another live mount/;
    expect([code, stderr]).toEqual([1, expect.stringMatching(sentence)]);
  });

  it.each(['', ',data=passthrough'])(
    'but it can be read, and what changes shows: ro%s',
    async (option) => {
      expect(await ask(OPTIONS, 'm1')).toMatchObject({ code: 0 });
      // One of the same host sees it, too.
      const reader = `lowerdir=all/low,upperdir=all/up,ro${option}`;
      expect(await ask(reader, 'm2')).toMatchObject({ code: 0 });
      expect(await shell('diff -r m1 m2')).toBe('');
      const script = `set -e
        "$0" -o lowerdir=all/low,upperdir=all/up,ro${option} m3
        same() { sync m1/*; sleep 1.1; diff -r m1 m3; }
        same; cat m3/text; echo
        mkdir m1/new; echo first >m1/new/f; sync m1/new/f; same; cat m3/new/f
        exec 5<m3/new/f 6<m3/text; cd m3/new
        echo second >../../m1/new/g; sync ../../m1/new/g; mv ../../m1/new/g ../../m1/new/f; sleep 1.1; cat f; cd ../..
        if read -r line <&5 2>/dev/null; then echo "old $line"; fi
        echo more >>m1/text; same; cat m3/text
        if read -r line <&6 2>/dev/null || test "$line"; then echo "old $line"; fi
        chmod 600 m1/new/f; mv m1/new m1/moved; rmdir m1/in; ln m1/moved/f m1/link; same
        stat -c '%a %h' m3/link m3/moved/f; cat m3/moved/f
        rm m1/text; mkdir m1/text; echo deep >m1/text/f; sync m1/text/f; same; cat m3/text/f
        if echo no 2>/dev/null >m3/no; then exit 3; fi
        exit 0`;
      const { code, stdout, stderr } = await elsewhere(`(${script})`);
      // Who has a replaced file open reads on, or is told.
      const old = (text: string): string[] => (option === '' ? [] : [`old ${text}`]);
      const expected = [
        ...['text', 'first', 'second', ...old('first'), 'textmore', ...old('text')],
        ...['600 2', '600 2', 'second', 'deep', ''],
      ];
      expect([code, stdout.split('\n'), stderr]).toEqual([0, expected, '']);
      expect(await shell('diff -r m1 m2')).toBe('');
    },
  );
});
