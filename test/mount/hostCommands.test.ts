/** `stratafs host` and `stratafs logs`. */
import { rmSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hostScript, makeDirectories } from '../support/hostScript.js';
import { has } from '../support/needs.js';
import { scratch } from '../support/run.js';

describe.skipIf(!has({ root: true, fuse: true, stratafs: true, mountNamespaces: true }))(
  'the commands for hosts',
  () => {
    let base: string;

    beforeAll(() => {
      base = scratch('hosts');
      makeDirectories(base);
    });

    afterAll(() => {
      rmSync(base, { recursive: true, force: true });
    });

    const script = (body: string): Promise<string> =>
      hostScript(base, body, { STRATAFS_GRACE: '60' });

    it('show hosts, replace one that goes on with its mounts, and end them', async () => {
      const output = await script(`
      "$S" -o lowerdir=low m1; p=$(of m1)
      "$S" host status | sed -n "s/^$p stratafs [^ ]* (build [0-9a-f]*) in [^:]*: \\(1 mount\\), up.*, run by launcher$/\\1/p"
      "$S" host restart; "$S" -o lowerdir=low m2; q=$(of m2); [ $p != $q ] && echo another
      "$S" host status | grep -c "^$p .*takes no more"; "$S" mounts | wc -l; cat m1/hello
      "$S" unmount m1; gone $p && echo over
      "$S" host stop 2>&1 | sed "s/host $q/host/"; cat m2/hello
      "$S" host stop --force; gone $q; live || true`);
      expect(output.split('\n')).toEqual([
        '1 mount',
        'another',
        '1',
        '2',
        'hello',
        'over',
        'stratafs: host: it has 1 mount: unmount first, or stop it with --force',
        'hello',
        '0',
        '',
      ]);
    });

    it('find and end hosts of namespaces that everybody else has left', async () => {
      const output = await script(`
      unshare -m --propagation private "$S" -o lowerdir=low m1
      n=$(stat -Lc %i /proc/self/ns/mnt); "$S" mounts | wc -l
      "$S" host status --json > all; node -e '
        const mine = JSON.parse(require("fs").readFileSync("all")).filter(({ here, mounts, path, build }) =>
          !here && mounts === 1 && build === process.argv[1]);
        console.log(mine.length >= 1 ? "found" : "lost");' $(cat "\${S%/build*}/dist/build-id")
      p=$(node -p 'JSON.parse(require("fs").readFileSync("all")).filter(({ here, mounts }) => !here && mounts === 1).at(-1).pid')
      kill -TERM $p; gone $p && echo ended`);
      expect(output).toBe('0\nfound\nended\n');
    });

    it('show what a host has logged, also when it has ended, and follow it', async () => {
      const output = await script(`
      "$S" -o lowerdir=low m1; p=$(of m1); "$S" unmount m1; "$S" host stop; gone $p
      "$S" logs | grep -c "\\[$p\\] host .* started"; "$S" logs | grep -c "\\[$p\\] host ended: it was told to"
      "$S" logs -f > followed & f=$!; "$S" -o lowerdir=low m1; q=$(of m1)
      until_ 'grep -q "\\[$q\\] host .* started" followed' && echo followed; kill $f; "$S" unmount m1; "$S" host stop`);
      expect(output).toBe('1\n1\nfollowed\n');
    });
  },
);
