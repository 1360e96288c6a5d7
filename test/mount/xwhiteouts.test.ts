/**
 * Whiteouts where device nodes cannot be made: the host runs under a seccomp filter that refuses
 * them. What it leaves in the upper is read by an unfiltered host and by kernel overlayfs.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { MOUNT_NEEDS } from '../support/fixture.js';
import { has, stratafsBinary } from '../support/needs.js';
import { mustRun, scratch } from '../support/run.js';
import { build, dir, file, symlink } from '../support/tree.js';

const LOWER = [
  file('gone', 'x'),
  file('remade', 'x'),
  file('file-to-dir', 'x'),
  file('moved', 'moved'),
  file('over', 'over'),
  file('target', 'target'),
  symlink('link', 'gone'),
  dir('emptied'),
  file('emptied/a'),
  file('emptied/b'),
  dir('dir-gone'),
  file('dir-gone/in'),
  dir('dir-to-file'),
  dir('moved-dir'),
  file('moved-dir/in', 'in'),
  file('moved-dir/out', 'out'),
  dir('deep'),
  dir('deep/er'),
  file('deep/er/gone'),
  file('deep/er/stays', 'stays'),
  dir('onto'),
  file('onto/in'),
  dir('source'),
  file('source/s', 's'),
];

/** Every way to leave a whiteout, and every way to put something in its place. */
const CHANGES = `
  rm gone link; rm remade; echo remade >remade
  rm file-to-dir; mkdir file-to-dir; echo in >file-to-dir/in
  echo more >>moved; mv moved moved-to; mv -f over target
  rm emptied/a emptied/b; touch emptied/c; rm emptied/c
  rm -r dir-gone; rmdir dir-to-file; echo file >dir-to-file
  rm moved-dir/out; mv moved-dir moved-dir-to; mkdir moved-dir; echo new >moved-dir/new
  rm deep/er/gone; chmod 700 deep/er/stays
  rm onto/in; mv -T source onto
  echo upper >up; rm up; echo one >one; echo two >two; mv -f one two
  mkdir plain plain2; touch plain2/x; rm plain2/x; mv -T plain plain2; mkdir plain; mv plain2 plain/
  rm -r plain; rm -r deep/er; mkdir deep/er; echo again >deep/er/again
`;

/** Names, kinds, sizes and contents, as a sorted text. */
const LIST = `find . -mindepth 1 -printf '%P %y %s %m\\n' | sort; find . -type f | sort | xargs cat`;

describe.skipIf(!has({ ...MOUNT_NEEDS, kernelOverlay: true, mountNamespaces: true }))(
  'without device nodes',
  () => {
    let base: string;
    let expected: string;

    beforeAll(async () => {
      base = scratch('xwhiteouts');
      for (const name of ['low', 'up', 'work', 'mnt', 'plain', 'kup', 'kwork']) {
        mkdirSync(join(base, name));
      }
      await build(join(base, 'low'), LOWER);
      const source = join(import.meta.dirname, '../support/refuseMknod.c');
      await mustRun('gcc', ['-O1', '-Wall', '-Werror', '-o', join(base, 'refuse'), source]);
      expected = await shell(`cp -a low/. plain; (cd plain; ${CHANGES}); cd plain; ${LIST}`);
    });

    afterAll(() => {
      rmSync(base, { recursive: true, force: true });
    });

    async function shell(script: string): Promise<string> {
      const env = { ...process.env, S: stratafsBinary(), STRATAFS_GRACE: '0' };
      // A mount namespace has a host of its own; the script ends it.
      const all = `set -u
      awk '/ - fuse.stratafs / { print $5 }' /proc/self/mountinfo | xargs -r -d '\\n' umount -l 2>/dev/null
      finish() { for p in $("$S" mounts --json | sed -n 's/.*"pid": \\([0-9]*\\).*/\\1/p'); do kill "$p"; done; }
      trap finish EXIT
      ${script}`;
      const command = ['-m', '--propagation', 'private', 'bash', '-c', all];
      const ran = await mustRun('unshare', command, { cwd: base, env, timeoutMs: 60_000 });
      expect(ran.stderr).toBe('');
      return ran.stdout;
    }

    const union = 'lowerdir=low,upperdir=up,workdir=work';

    it('every whiteout is a marked file, and the tree is as on a plain file system', async () => {
      const seen = await shell(`./refuse "$S" -o ${union} mnt
      cd mnt; ${CHANGES}
      ${LIST}; cd ..; umount mnt`);
      expect(seen).toBe(expected);
      expect(await shell('find up work -type c')).toBe('');
      const marks =
        'getfattr -d -m overlay.opaque up up/emptied up/moved-dir-to; find work -type f';
      expect(
        await shell(`${marks}; stat -c '%s %F' up/gone; getfattr -d -m whiteout up/gone`),
      ).toBe(
        ['up', 'up/emptied', 'up/moved-dir-to']
          .map((path) => `# file: ${path}\ntrusted.overlay.opaque="x"\n\n`)
          .join('') + '0 regular empty file\n# file: up/gone\ntrusted.overlay.whiteout=""\n\n',
      );
    });

    it('the next mount shows the same, with device nodes or without, and what it removes is known', async () => {
      for (const how of ['', './refuse ']) {
        const seen = await shell(`${how}"$S" -o ${union} mnt; cd mnt; ${LIST}; cd ..; umount mnt`);
        expect(seen).toBe(expected);
      }
      const diff = await shell(`"$S" -o ${union} mnt; "$S" diff mnt; umount mnt`);
      expect(diff).toContain('D /gone\n');
      expect(diff).toContain('D /emptied/a\n');
      expect(diff).not.toMatch(/^[AC] \/(gone|emptied\/[ab])$/m);
    });

    it('kernel overlayfs hides the same names, below another upper also from listings', async () => {
      const options = 'redirect_dir=on,metacopy=on,index=off';
      const below = `lowerdir=up:low,upperdir=kup,workdir=kwork,${options}`;
      const seen = await shell(
        `mount -t overlay o -o ${below} mnt; cd mnt; ${LIST}; cd ..; umount mnt`,
      );
      expect(seen).toBe(expected);
      const asUpper = await shell(`mount -t overlay o -o ${union},${options} mnt
      for n in gone link emptied/a moved-dir-to/out over; do [ -e mnt/$n ] || [ -L mnt/$n ] || echo $n; done
      cat mnt/remade mnt/moved-dir-to/in; umount mnt`);
      expect(asUpper).toBe('gone\nlink\nemptied/a\nmoved-dir-to/out\nover\nremade\nin');
    });

    it('both kinds may stand in one directory', async () => {
      const seen = await shell(`mkdir up3 work3; u=lowerdir=low,upperdir=up3,workdir=work3
      "$S" -o $u mnt; rm mnt/gone mnt/emptied/a; umount mnt; finish
      ./refuse "$S" -o $u mnt; rm mnt/remade mnt/emptied/b; umount mnt
      "$S" -o $u mnt; ls mnt/emptied; ls mnt | grep -x -e gone -e remade || true
      rmdir mnt/emptied; echo back >mnt/gone; cat mnt/gone; ls mnt | grep -x emptied || true; umount mnt`);
      expect(seen).toBe('back\n');
    });

    it('an upper that takes neither device nodes nor xattrs is refused', async () => {
      // ramfs has no xattrs.
      const seen = await shell(`mkdir r; mount -t ramfs r r; mkdir r/up r/work
      ./refuse "$S" -o lowerdir=low,upperdir=r/up,workdir=r/work mnt 2>said; echo $?; sed "s,$PWD,.," said`);
      expect(seen).toMatch(
        /^1\nstratafs: the file system of workdir \.\/r\/work takes neither device nodes nor overlay xattrs/,
      );
    });

    it('an upper that takes device nodes and no xattrs is refused', async () => {
      const seen = await shell(`mkdir r2; mount -t ramfs r r2; mkdir r2/up r2/work
      "$S" -o lowerdir=low,upperdir=r2/up,workdir=r2/work mnt 2>said; echo $?; sed "s,$PWD,.," said`);
      expect(seen).toMatch(
        /^1\nstratafs: the file system of workdir \.\/r2\/work takes no overlay xattrs/,
      );
    });
  },
);
