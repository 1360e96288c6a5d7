/** What fails in one mount or with one asker leaves nothing behind in the host, which goes on for the others. */
import { existsSync, rmSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hostScript, makeDirectories } from '../support/hostScript.js';
import { has } from '../support/needs.js';
import { scratch } from '../support/run.js';

const PIDS = ['/sys/fs/cgroup/pids', '/sys/fs/cgroup'].find(
  (path) => existsSync(`${path}/stratafs`) || existsSync(`${path}/cgroup.procs`),
);

describe.skipIf(!has({ root: true, fuse: true, stratafs: true, mountNamespaces: true }))(
  'trouble in the host',
  () => {
    let base: string;

    beforeAll(() => {
      base = scratch('trouble');
      makeDirectories(base);
    });

    afterAll(() => {
      rmSync(base, { recursive: true, force: true });
    });

    const script = (body: string, env: NodeJS.ProcessEnv = {}): Promise<string> =>
      hostScript(base, body, env);

    it('leaks nothing in 1,000 refused mounts', async () => {
      const output = await script(`
      mkdir -p bad badwork; setfattr -n trusted.overlay.origin -v broken bad; mkdir -p badwork/work/incompat/volatile
      "$S" -o lowerdir=low m1; p=$(host)
      refuse() { for i in $(seq $1); do
        "$S" -o lowerdir=low,upperdir=up,workdir=badwork m2 2>/dev/null && echo mounted
        "$S" -o lowerdir=low,upperdir=up,workdir=work,context=x m2 2>/dev/null && echo mounted
        "$S" -o lowerdir=low:missing m2 2>/dev/null && echo mounted
        "$S" -o lowerdir=low,upperdir=up,workdir=work m1/hello 2>/dev/null && echo mounted
      done; }
      count() { ls -l /proc/$p/fd | wc -l; ls -l /proc/$p/fd | grep -c memfd; }
      refuse 5; sleep 0.5; before=$(count); refuse 250; sleep 0.5; after=$(count)
      [ "$before" = "$after" ] && echo same || echo $before then $after
      "$S" -o lowerdir=low,upperdir=up,workdir=work m2; "$S" unmount m2; "$S" unmount m1`);
      expect(output).toBe('same\n');
    });

    // With room for one thread the path is looked at, and the lock needs the next one. A layer on FUSE needs more.
    it.skipIf(PIDS === undefined)(
      'says that threads are short, gives locks back, and answers again',
      async () => {
        const output = await script(
          `
      g=$C/stratafs-limit-$$; mkdir $g; mkdir m5; "$S" --foreground -o lowerdir=low m4 & f=$!; until_ 'mountpoint -q m4'
      "$S" -o lowerdir=low m1; p=$(of m1); "$S" -o lowerdir=low m2; sleep 1
      n=$(ls /proc/$p/task | wc -l); echo $p > $g/cgroup.procs
      for extra in 0 1 2 3; do echo $((n + extra)) > $g/pids.max
        for layer in low m4; do for i in 1 2; do
          timeout 60 "$S" -o lowerdir=$layer,upperdir=up,workdir=work m3 > said 2>&1 && "$S" unmount m3 || cat said
        done; done; done > all
      sed "s,$PWD,," all | sort -u; cat m1/hello; "$S" mounts | wc -l
      echo max > $g/pids.max
      "$S" -o lowerdir=m4,upperdir=up,workdir=work m3 && echo x > m3/new && cat m3/new
      for m in m1 m2 m3 m4; do "$S" unmount $m; done; gone $p; gone $f; rmdir $g`,
          { C: PIDS },
        );
        const said = output.split('\n');
        expect(said.splice(-4)).toEqual(['hello', '3', 'x', '']);
        expect(said.length).toBeGreaterThan(0);
        for (const line of said) {
          expect(line).toMatch(
            /^stratafs: (no thread can be had|cannot (start|lock|mount).*thread|the engine cannot start)/,
          );
        }
      },
    );

    // An engine thread that looks at a path which it serves itself would wait for ever.
    it('mounts on, below and above what it serves itself', async () => {
      const output = await script(`
      mkdir -p low/sub a b; for i in 1 2 3 4; do "$S" -o lowerdir=low m$i; done
      for i in 1 2 3 4; do for k in 1 2 3; do timeout 20 "$S" -o lowerdir=a:b m$i || echo failed; done
        timeout 20 "$S" -o lowerdir=low m$i || echo failed; timeout 20 "$S" -o lowerdir=a:b m$i/sub || echo failed; done
      live; for i in 1 2 3 4; do umount m$i/sub; for k in 1 2 3 4 5; do umount m$i; done; done; rmdir low/sub; quiet && echo quiet`);
      expect(output).toBe('24\nquiet\n');
    });

    it('knows which of two mounts on one mount point is which', async () => {
      const output = await script(`
      mkdir -p a b; echo a > a/a; echo b > b/b
      for i in 1 2 3 4 5; do
        "$S" -o lowerdir=a m1 & "$S" -o lowerdir=b m1 & wait
        "$S" mounts --json | grep -o '"device": "[^"]*"' | sort -u | wc -l
        umount m1; umount m1; quiet || echo kept; done`);
      expect(output).toBe('2\n2\n2\n2\n2\n');
    });
  },
);
