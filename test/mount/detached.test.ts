/** An upper whose old mount was detached, remounts, and the removal of large files. */
import { rmSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hostScript, makeDirectories } from '../support/hostScript.js';
import { has } from '../support/needs.js';
import { scratch } from '../support/run.js';

describe.skipIf(!has({ root: true, fuse: true, stratafs: true, mountNamespaces: true }))(
  'a mount that was let go',
  () => {
    let base: string;

    beforeAll(() => {
      base = scratch('detached');
      makeDirectories(base);
    });

    afterAll(() => {
      rmSync(base, { recursive: true, force: true });
    });

    const script = (body: string): Promise<string> => hostScript(base, body);
    const RW = 'lowerdir=low,upperdir=up,workdir=work';

    it('gives its upper to the next mount, with all that was written', async () => {
      const output = await script(`
      "$S" -o ${RW} m1; head -c 3000000 /dev/urandom > m1/data; sum=$(md5sum < m1/data)
      exec 8>>m1/open; echo first >&8; (cd m1; exec sleep 60) & s=$!
      umount -l m1; echo second >&8
      "$S" -o ${RW} m2; [ "$(md5sum < m2/data)" = "$sum" ] && echo whole; cat m2/open
      echo third >&8 2>/dev/null || echo cut off; exec 8>&-; kill $s; "$S" mounts | wc -l; "$S" unmount m2`);
      expect(output).toBe('whole\nfirst\nsecond\ncut off\n1\n');
    });

    it('does so when it lives on in another mount namespace', async () => {
      const output = await script(`
      rm -rf up/* ; "$S" -o ${RW} m1; echo kept > m1/kept
      unshare -m --propagation private sleep 60 & s=$!; sleep 0.5
      echo late > m1/late; umount m1; "$S" -o ${RW} m2 && cat m2/kept m2/late
      kill $s; "$S" unmount m2`);
      expect(output).toBe('kept\nlate\n');
    });

    it('keeps its upper while it is still in a place, which the refusal names', async () => {
      const output = await script(`
      rm -rf up/*; "$S" -o ${RW} m1; mount --bind m1 m3; umount -l m1
      "$S" -o ${RW} m2 2>&1 | sed "s,$PWD,,g"; cat m3/hello; umount m3; "$S" -o ${RW} m2 && echo free; "$S" unmount m2`);
      const inUse = 'is in use by the mount on /m3: unmount that first, or use another directory';
      expect(output).toBe(`stratafs: upperdir /up ${inUse}\nhello\nfree\n`);
    });

    it('is remounted read-only and back, and never writable without an upper', async () => {
      const output = await script(`
      rm -rf up/*; "$S" -o ${RW} m1; echo a > m1/a
      "$S" none m1 -o remount,ro,lowerdir=/elsewhere; cat up/a; touch m1/b 2>/dev/null || echo read-only
      "$S" none m1 -o remount,rw; touch m1/b && echo writable
      "$S" -o lowerdir=low m2; "$S" none m2 -o remount,rw 2>&1 | sed "s,$PWD,,g"
      "$S" -o remount,${RW} m3 2>&1 | sed "s,$PWD,,g"
      "$S" unmount m1; "$S" unmount m2`);
      expect(output.split('\n')).toEqual([
        'a',
        'read-only',
        'writable',
        'stratafs: /m2 was mounted read-only: unmount it, and mount it with upperdir, workdir and rw',
        'stratafs: /m3 is no mount of stratafs: see stratafs mounts',
        '',
      ]);
    });

    it('removes a large file at once, and its blocks soon', async () => {
      const output = await script(`
      rm -rf up/*; "$S" -o ${RW} m1; head -c 64M /dev/zero > m1/big; sync -f m1
      used() { du -sk up work | awk '{ n += $1 } END { print n }'; }
      [ $(used) -gt 60000 ] && echo used; rm m1/big; ls m1
      until_ '[ $(used) -lt 2000 ]' && echo freed; "$S" unmount m1; ls -A up work/work | grep -c '#o' || true`);
      expect(output).toBe('used\nhello\nfreed\n0\n');
    });
  },
);
