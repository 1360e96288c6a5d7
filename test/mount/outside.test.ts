/** What suites for kernel overlayfs found here (xfstests, LTP); each name has the suite's number. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { DRIVER, makeFixture, MOUNT_NEEDS, mounting, withFixture } from '../support/fixture.js';
import { withMount } from '../support/mount.js';
import { has } from '../support/needs.js';
import { dir, type Entry, file, hardlink } from '../support/tree.js';

/** cap_net_raw+ep, as struct vfs_cap_data. */
const CAPS = '0x0100000200200000000000000000000000000000';

const NEEDS = {
  ...MOUNT_NEEDS,
  kernelOverlay: true,
  programs: ['gcc', 'python3', 'setfacl', 'getfacl', 'chattr', 'setpriv'],
};

/** Output of a shell script whose first arguments are $1, $2 …; also of one that fails. */
function sh(script: string, ...args: readonly string[]): string {
  const line = `{ ${script}; } 2>&1 || true`;
  return execFileSync('sh', ['-c', line, 'sh', ...args], {
    encoding: 'latin1',
    timeout: 60_000,
  }).trim();
}

/** d_ino and st_ino of every entry of a directory that differ. */
const otherNumbers = (path: string): string =>
  execFileSync(
    'python3',
    [
      '-c',
      'import os,sys\nfor e in os.scandir(sys.argv[1]):\n  s=os.lstat(e.path).st_ino\n  if s!=e.inode(): print(e.name,e.inode(),s)',
      path,
    ],
    { encoding: 'latin1', timeout: 60_000 },
  );

/** Runs `body` over a fixture that is removed afterwards. */
async function withLayers(
  lowers: readonly (readonly Entry[])[],
  body: (fixture: Awaited<ReturnType<typeof makeFixture>>) => Promise<void>,
): Promise<void> {
  const fixture = await makeFixture('outside', { lowers });
  try {
    await body(fixture);
  } finally {
    sh('chattr -R -ia "$1"', fixture.stack.upper ?? '');
    rmSync(fixture.top, { recursive: true, force: true });
  }
}

describe.skipIf(!has(NEEDS))('kernel overlayfs is right in', () => {
  test('an absolute redirect below an opaque ancestor (overlay/057)', async () => {
    await withLayers([[dir('origin'), file('origin/foo', 'foo')]], async ({ top, ...fixture }) => {
      const { stack, mountpoint } = fixture;
      const lower = join(top, 'lower0');
      await mounting({ top, ...fixture }, async () => {
        sh('cd "$1" && mkdir pure && mv origin pure/redirect', mountpoint);
        return Promise.resolve();
      });
      for (const name of ['upper2', 'work2']) mkdirSync(join(top, name));
      const two = {
        lowers: [stack.upper ?? '', lower],
        upper: join(top, 'upper2'),
        work: join(top, 'work2'),
      };
      await withMount(DRIVER, two, mountpoint, async () => {
        sh('cd "$1" && mv pure/redirect redirect', mountpoint);
        return Promise.resolve();
      });
      await withMount(DRIVER, two, mountpoint, async () => {
        expect(sh('cat "$1/redirect/foo"', mountpoint)).toBe('foo');
        return Promise.resolve();
      });
    });
  });

  test.each(['a default ACL', 'set-group-ID'])(
    'what %s on the workdir does to copies: nothing (overlay/023)',
    async (kind) => {
      const lower = [file('a', 'secret\n', { mode: 0o660 }), dir('d', { mode: 0o750 })];
      await withLayers([lower], async (fixture) => {
        const work = fixture.stack.work ?? '';
        if (kind === 'set-group-ID') sh('chgrp 1234 "$1" && chmod 2755 "$1"', work);
        else sh('setfacl -d -m u:1234:rwx "$1"', work);
        await mounting(fixture, async () => {
          const { mountpoint } = fixture;
          sh('chown 0:0 "$1/a" "$1/d"; echo more >>"$1/a"; touch "$1/new"', mountpoint);
          const seen = sh(
            'cd "$1" && setpriv --reuid 1234 --regid 1234 --clear-groups cat a; getfacl -cp a d | tr -d "\\n"; stat -c " %G" a d',
            mountpoint,
          );
          expect(seen).toMatch(/^cat: a: Permission denied/);
          expect(seen).not.toContain('1234');
          expect(seen).toMatch(/root\n root$/);
          return Promise.resolve();
        });
      });
    },
  );

  test.each([[[]], [['data=passthrough']]])(
    'files of the upper that came with chattr +i and +a (overlay/030), %j',
    async (options) => {
      await withLayers([[]], async (fixture) => {
        const upper = fixture.stack.upper ?? '';
        sh('cd "$1" && echo i >i && echo a >a && chattr +i i && chattr +a a', upper);
        await mounting(
          fixture,
          async () => {
            const at = (script: string): string => sh(`cd "$1" && ${script}`, fixture.mountpoint);
            expect(at('cat i a')).toBe('i\na');
            // The cached plane hears of a write when it is written back.
            expect(at('echo x >>i && sync i')).toMatch(/Operation not permitted/);
            expect(at('echo x >a')).toMatch(/Operation not permitted/);
            expect(at('echo more >>a; sync a; cat a')).toBe('a\nmore');
            expect(at('mv i j; rm a')).toMatch(/not permitted[^]*not permitted/);
            return Promise.resolve();
          },
          options,
        );
        expect(sh('cat "$1/i" "$1/a"', upper)).toBe('i\na\nmore');
      });
    },
  );

  test('the capabilities of a file that is written through a shared mapping', async () => {
    await withLayers([[]], async (fixture) => {
      const upper = fixture.stack.upper ?? '';
      sh('cd "$1" && echo program >f && setfattr -n security.capability -v "$2" f', upper, CAPS);
      const caps = (path: string): string =>
        sh('getfattr -n security.capability -e hex --only-values "$1/f" 2>/dev/null | wc -c', path);
      await mounting(fixture, async () => {
        const store =
          'import mmap,os,sys\nf=os.open(sys.argv[1],os.O_RDWR)\nm=mmap.mmap(f,0)\nm[0:1]=b"P"\nm.flush()\nos.fsync(f)';
        execFileSync('python3', ['-c', store, join(fixture.mountpoint, 'f')], { timeout: 60_000 });
        expect(caps(fixture.mountpoint)).toBe('20');
        return Promise.resolve();
      });
      expect([sh('cat "$1/f"', upper), caps(upper)]).toEqual(['Program', '20']);
      await mounting(fixture, async () => {
        sh('echo more >>"$1/f"; sync "$1/f"', fixture.mountpoint);
        return Promise.resolve();
      });
      expect(caps(upper)).toBe('0');
    });
  });

  test('a name too long, in a directory that only lowers have', async () => {
    await withFixture(
      'outside-long',
      { lowers: [[dir('d'), file('d/f')]] },
      async (_, __, fixture) => {
        const at = fixture.mountpoint;
        const long = 'N'.repeat(256);
        for (const list of ['true', 'ls "$1/d"']) {
          expect(sh(`${list} >/dev/null; stat "$1/d/$2"`, at, long)).toMatch(/File name too long$/);
          expect(sh(`${list} >/dev/null; cat "$1/d/$2"`, at, long)).toMatch(/File name too long$/);
        }
        return Promise.resolve();
      },
    );
  });

  test('the d_ino of a hard link after its copy-up with index=off', async () => {
    await withLayers([[file('a', 'a'), dir('d'), hardlink('d/b', 'a')]], async (fixture) => {
      await mounting(fixture, async () => {
        expect(otherNumbers(fixture.mountpoint)).toBe('');
        sh('chown 1000 "$1/a"', fixture.mountpoint);
        expect(otherNumbers(fixture.mountpoint)).toBe('');
        return Promise.resolve();
      }, ['index=off']);
    });
  });

  test('the d_ino of ".." of a listed directory that moves', async () => {
    const lower = [dir('one'), dir('one/moves'), file('one/moves/f'), dir('two')];
    await withLayers([lower], async (fixture) => {
      await mounting(fixture, async () => {
        const number = (path: string): string =>
          sh(`ls -fi "$1/${path}" | awk '$2==".." {print $1}'`, fixture.mountpoint);
        const own = (path: string): string => sh(`stat -c %i "$1/${path}"`, fixture.mountpoint);
        expect(number('one/moves')).toBe(own('one'));
        sh('mv "$1/one/moves" "$1/two/moves"', fixture.mountpoint);
        expect(number('two/moves')).toBe(own('two'));
        return Promise.resolve();
      });
    });
  });
});
