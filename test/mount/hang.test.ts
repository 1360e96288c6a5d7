/** A layer whose server has stopped is the trouble of its own mounts. */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hostScript, makeDirectories } from '../support/hostScript.js';
import { has } from '../support/needs.js';
import { scratch } from '../support/run.js';

/** A layer on m1, served by a process of its own ($f) that can be stopped. Whatever happens it goes on at the end. */
const LAYER = `
"$S" --foreground -o lowerdir=low m1 >/dev/null 2>&1 & f=$!
until_ "mountpoint -q m1"
go_on() { kill -CONT $f 2>/dev/null; for m in m6 m5 m4 m3 m2 m1; do umount -l $m 2>/dev/null; done; kill $f 2>/dev/null; finish; }
trap go_on EXIT
`;

describe.skipIf(!has({ root: true, fuse: true, stratafs: true, mountNamespaces: true }))(
  'a layer that hangs',
  () => {
    let base: string;

    beforeAll(() => {
      base = scratch('hang');
      makeDirectories(base);
      for (const name of ['m5', 'm6']) mkdirSync(join(base, name));
    });

    afterAll(() => {
      rmSync(base, { recursive: true, force: true });
    });

    const script = (body: string): Promise<string> => hostScript(base, LAYER + body);

    it('leaves other mounts, new ones, unmounts, mounts and stats alone', async () => {
      const output = await script(`
      "$S" -o lowerdir=m1 m2; "$S" -o lowerdir=low,upperdir=up,workdir=work m3
      kill -STOP $f
      timeout 60 stat m2/missing >/dev/null 2>&1 &
      "$S" -o lowerdir=m1 m5 > late 2>&1 &
      "$S" -o lowerdir=low,upperdir=m1/up,workdir=m1/work m6 > late2 2>&1 &
      sleep 0.3
      run() { timeout 5 "$@" || echo "late: $*"; }
      run cat m3/hello; echo new > m3/new; run cat m3/new
      run "$S" -o lowerdir=low m4; run cat m4/hello; run "$S" unmount m4
      run "$S" mounts 2>&1 | grep -v stopped | grep -c "^$PWD/m[23] "; run "$S" stats m3 | grep -c '^data '
      timeout 20 "$S" stats m2 2>&1 | sed "s,$PWD,,"
      until_ "[ -s late ] && [ -s late2 ]" || until_ "[ -s late ] && [ -s late2 ]" && cat late late2 | sed "s,$PWD,,"
      run "$S" unmount m3; kill -CONT $f; cat m2/hello; "$S" unmount m2`);
      const late = 'does not answer: look at the server of its file system, or leave it out';
      expect(output.split('\n')).toEqual([
        'hello',
        'new',
        'hello',
        '2',
        '1',
        'stratafs: the engine of /m2 does not answer: one of its layers hangs',
        `stratafs: lower layer /m1 ${late}`,
        `stratafs: upperdir /m1/up ${late}`,
        'hello',
        '',
      ]);
    });

    it('has an engine thread for each of its mounts, which ends with the mount', async () => {
      const output = await script(`
      "$S" -o lowerdir=low m2; p=$(of m2); until_ '[ $(ls /proc/$p/task | wc -l) = $(sleep 0.3; ls /proc/$p/task | wc -l) ]'
      before=$(ls /proc/$p/task | wc -l)
      "$S" -o lowerdir=m1 m3; "$S" -o lowerdir=m1 m4; [ $(ls /proc/$p/task | wc -l) -ge $((before + 2)) ] && echo more
      cat m4/hello; for m in m4 m3; do "$S" unmount $m; done
      until_ '[ $(ls /proc/$p/task | wc -l) -le $((before + 1)) ]' && echo fewer; cat m2/hello; "$S" unmount m2`);
      expect(output).toBe('more\nhello\nfewer\nhello\n');
    });

    it('does not keep a host that was told to end', async () => {
      const output = await script(`
      "$S" -o lowerdir=m1 m2; "$S" -o lowerdir=low m3; p=$(of m3); kill -STOP $f
      timeout 60 stat m2/missing >/dev/null 2>&1 &
      sleep 0.2; kill -TERM $p; i=0; while kill -0 $p 2>/dev/null && [ $i -lt 450 ]; do i=$((i+1)); sleep 0.1; done
      kill -0 $p 2>/dev/null || echo ended; live`);
      expect(output).toBe('ended\n1\n');
    });
  },
);
