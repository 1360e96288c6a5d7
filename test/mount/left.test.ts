/** Mounts that are left: dead ones, detached ones and what keeps them, uppers that another host has. */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hostScript, makeDirectories } from '../support/hostScript.js';
import { has } from '../support/needs.js';
import { scratch } from '../support/run.js';

describe.skipIf(!has({ root: true, fuse: true, stratafs: true }))('a mount that is left', () => {
  let base: string;

  beforeAll(() => {
    base = scratch('left');
    makeDirectories(base);
    mkdirSync(join(base, 'other'));
  });

  afterAll(() => {
    rmSync(base, { recursive: true, force: true });
  });

  const script = (body: string): Promise<string> => hostScript(base, body);

  it('is listed as dead when its host was killed, and is unmounted', async () => {
    const output = await script(`
      "$S" -o lowerdir=low m1; p=$(host); kill -KILL $p; gone $p
      "$S" mounts | sed "s,$PWD,,g"; "$S" mounts --json | grep -E '"(state|mountpoint)"' | sed "s,$PWD,,;s/^ *//"
      "$S" unmount m1; live || "$S" mounts`);
    expect(output.split('\n')).toEqual([
      '/m1 dead: its host has ended; stratafs unmount /m1',
      '"mountpoint": "/m1",',
      '"state": "dead",',
      '0',
      '',
    ]);
  });

  it('names who keeps it busy, and as what', async () => {
    const output = await script(`
      "$S" -o lowerdir=low m1; tail -f m1/hello >/dev/null & q=$!; (cd m1; exec sleep 60) & r=$!
      until_ "[ $(readlink /proc/$r/cwd) = $PWD/m1 ]"; until_ 'ls -l /proc/'$q'/fd | grep -q m1/hello'
      "$S" unmount m1 2>&1 | sed "s,$PWD,,;s/\\b$q\\b/Q/;s/\\b$r\\b/R/" | tr ':' '\\n' | grep -oE 'is busy|Q tail|R sleep as its cwd' | sort
      "$S" unmount --lazy m1
      "$S" mounts | grep -oE "detached, held by .*" | sed "s/\\b$q\\b/Q/;s/\\b$r\\b/R/" | tr ',' '\\n' | grep -oE '(Q|R) .*' | sort
      "$S" mounts --json | grep -c '"how": "cwd"'
      kill $q $r; disown -a; quiet && echo quiet`);
    expect(output.split('\n')).toEqual([
      'Q tail',
      'R sleep as its cwd',
      'is busy',
      'Q tail (fd)',
      'R sleep (cwd)',
      '1',
      'quiet',
      '',
    ]);
  });

  // Another group: another host.
  it('gives its upper to a mount of another host when it is detached, with what was written', async () => {
    const output = await script(`
      setpriv --groups 7 "$S" -o lowerdir=low,upperdir=up,workdir=work m1; p=$(of m1)
      exec 5> m1/held; echo kept >&5; umount -l m1
      "$S" -o lowerdir=low,upperdir=up,workdir=work m1; [ $(of m1) != $p ] && echo another
      cat m1/held; exec 5>&-; "$S" unmount m1; quiet && echo quiet`);
    expect(output).toBe('another\nkept\nquiet\n');
  });

  it('keeps its upper while it is mounted, and says where', async () => {
    const output = await script(`
      setpriv --groups 7 "$S" -o lowerdir=low,upperdir=up2,workdir=work2 m1; p=$(of m1)
      "$S" -o lowerdir=low,upperdir=up2,workdir=work2 m2 2>&1 | sed "s,$PWD,,g;s/host $p (stratafs [^)]*)/host P/"
      unshare -m --propagation private "$S" -o lowerdir=low,upperdir=up2,workdir=work2 m2 2>&1 | sed "s,$PWD,,g;s/namespace [0-9]*/namespace N/;s/host $p (stratafs [^ )]*/host P (V/"
      cat m1/hello; "$S" unmount m1`);
    const end = 'it is mounted on /m1: unmount that first, or use another directory';
    expect(output.split('\n')).toEqual([
      `stratafs: upperdir /up2 is in use by another live mount, of host P: ${end}`,
      `stratafs: upperdir /up2 is in use by another live mount, of host P (V in mount namespace N): ${end}`,
      'hello',
      '',
    ]);
  });

  it('says which process has locked an upper that no host knows of', async () => {
    const output = await script(`
      flock -F -x up sleep 60 & until_ "grep -q ':$(stat -c %i up) ' /proc/locks"; q=$(awk -v i=":$(stat -c %i up)" '$6 ~ i"$" { print $5 }' /proc/locks)
      "$S" -o lowerdir=low,upperdir=up,workdir=work m1 2>&1 | sed "s,$PWD,,g;s/$q/Q/"; kill $q; disown -a`);
    expect(output).toMatch(
      /^stratafs: upperdir \/up is in use by process Q \(sleep of user 0\): unmount/,
    );
  });

  it('loses nothing that is mounted on a file which is opened for writing by another way', async () => {
    const output = await script(`
      echo lower > low/hosts; echo mine > other/hosts; mount --bind up up; umount up
      rm -rf up3 work3; mkdir up3 work3; "$S" -o lowerdir=low,upperdir=up3,workdir=work3,data=passthrough m1
      mount --bind m1 m2; exec 6< m1/hosts; mount --bind other/hosts m1/hosts; cat m1/hosts
      sh -c 'echo more >> m2/hosts' 2>&1 | grep -o 'resource busy'; cat m1/hosts m2/hosts
      exec 6<&-; until_ "sh -c 'echo more >> m2/hosts' 2>/dev/null" && cat m1/hosts m2/hosts
      mv m2/hosts m2/moved 2>/dev/null; cat m1/hosts; umount m1/hosts; cat m1/hosts; umount m2; "$S" unmount m1; rm low/hosts`);
    expect(output.split('\n')).toEqual([
      'mine',
      'resource busy',
      'mine',
      'lower',
      'mine',
      'lower',
      'more',
      'mine',
      'lower',
      'more',
      '',
    ]);
  });
});
