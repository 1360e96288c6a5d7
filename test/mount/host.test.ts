/**
 * The resident host. Each test runs in a mount namespace of its own, and so with a host of its own,
 * which the end of the namespace takes with it.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { rmSync } from 'node:fs';
import { hostScript, makeDirectories } from '../support/hostScript.js';
import { has } from '../support/needs.js';
import { scratch } from '../support/run.js';

describe.skipIf(!has({ root: true, fuse: true, stratafs: true, mountNamespaces: true }))(
  'the host',
  () => {
    let base: string;

    beforeAll(() => {
      base = scratch('host');
      makeDirectories(base);
    });

    afterAll(() => {
      rmSync(base, { recursive: true, force: true });
    });

    const script = (body: string, env: NodeJS.ProcessEnv = {}): Promise<string> =>
      hostScript(base, body, env);

    it('is one for several mounts, also when eight launchers start at once', async () => {
      const output = await script(`
      for i in 1 2 3 4 5 6 7 8; do mkdir -p n$i; "$S" -o lowerdir=low n$i & done; wait
      live; host | wc -l; cat n5/hello
      for i in 1 2 3 4 5 6 7 8; do "$S" unmount n$i; done; live || true`);
      expect(output).toBe('8\n1\nhello\n0\n');
    });

    it('drops what it inherits: descriptors, directory, session, umask, limits', async () => {
      const output = await script(`
      exec 9<low/hello; umask 077
      (ulimit -S -f 100; ulimit -S -t 60; ulimit -S -v 9000000; "$S" -o lowerdir=low m1)
      p=$(host)
      ls -l /proc/$p/fd | grep -c low/hello || true
      readlink /proc/$p/cwd /proc/$p/fd/0 /proc/$p/fd/1
      awk '/^(Umask|PPid)/ { print $2 }' /proc/$p/status
      grep -cE '^Max (cpu time|file size|address space) +unlimited +unlimited' /proc/$p/limits
      "$S" unmount m1`);
      const [files, cwd, stdin, stdout, umask, , limits] = output.split('\n');
      expect([files, cwd, stdin, stdout, umask, limits]).toEqual([
        '0',
        '/',
        '/dev/null',
        '/dev/null',
        '0000',
        '3',
      ]);
    });

    it('ends a grace time after its last mount and leaves no socket', async () => {
      const output = await script(
        `"$S" -o lowerdir=low m1; p=$(host); "$S" unmount m1; gone $p && echo ended
       ls /run/stratafs | grep -c "$(stat -Lc %i /proc/self/ns/user)-$(stat -Lc %i /proc/self/ns/mnt).*sock" || true`,
        { STRATAFS_GRACE: '0' },
      );
      expect(output).toBe('ended\n0\n');
    });

    it('gives a mount up whoever unmounts it, and however', async () => {
      const output = await script(`
      for i in 1 2 3; do "$S" -o lowerdir=low m$i; done
      umount m1; umount -l m2; fusermount3 -u m3; live || true; quiet && echo quiet`);
      expect(output).toBe('0\nquiet\n');
    });

    it('keeps a mount that is detached in use until it is let go', async () => {
      const output = await script(`
      "$S" -o lowerdir=low m1; p=$(host)
      exec 8<m1/hello; umount -l m1; live || true; cat <&8; exec 8<&-
      quiet && echo quiet; gone $p && echo ended`);
      expect(output).toBe('0\nhello\nquiet\nended\n');
    });

    it('unmounts all on SIGTERM, also what is busy', async () => {
      const output = await script(`
      "$S" -o lowerdir=low,upperdir=up,workdir=work m1; "$S" -o lowerdir=low m2
      echo kept > m1/kept; p=$(host); cd m2
      kill -TERM $p; gone $p && echo ended; cd ..; live || true; cat up/kept`);
      expect(output).toBe('ended\n0\nkept\n');
    });

    it('is replaced when it was killed', async () => {
      const output = await script(`
      "$S" -o lowerdir=low m1; p=$(host); kill -KILL $p; gone $p
      "$S" -o lowerdir=low m2 && cat m2/hello
      "$S" unmount m1 && "$S" unmount m2 && live || true`);
      expect(output).toBe('hello\n0\n');
    });

    it('loses no request when it ends at the very moment one comes', async () => {
      const output = await script(
        `for i in 1 2 3 4; do (
         for n in 1 2 3 4 5; do "$S" -o lowerdir=low m$i && "$S" unmount m$i || echo failed; done
       ) & done; wait; live || true`,
        { STRATAFS_GRACE: '0' },
      );
      expect(output).toBe('0\n');
    });

    it('refuses an upper or a workdir in use, and gives it back at once after an unmount', async () => {
      const output = await script(`
      opts=lowerdir=low,upperdir=up,workdir=work
      "$S" -o $opts m1
      "$S" -o $opts m2 2>&1 | sed "s,$PWD,,g"
      "$S" -o lowerdir=low,upperdir=up,workdir=work2 m2 2>&1 | sed "s,$PWD,,g"
      "$S" -o lowerdir=low,upperdir=up2,workdir=work m2 2>&1 | sed "s,$PWD,,g"
      for i in 1 2 3 4 5; do umount m1; "$S" -o $opts m1 || echo failed; done
      live; "$S" unmount m1`);
      const inUse = 'is in use by the mount on /m1: unmount that first, or use another directory';
      expect(output.split('\n')).toEqual([
        `stratafs: upperdir /up ${inUse}`,
        `stratafs: upperdir /up ${inUse}`,
        `stratafs: workdir /work ${inUse}`,
        '1',
        '',
      ]);
    });

    it('lets a read-only mount look at a live upper, dirty pages included', async () => {
      const output = await script(`
      "$S" -o lowerdir=low,upperdir=up,workdir=work m1; echo fresh > m1/fresh
      "$S" -o ro,lowerdir=low,upperdir=up,workdir=work m2 && cat m2/fresh
      touch m2/no 2>/dev/null || echo read-only; "$S" unmount m2; "$S" unmount m1`);
      expect(output).toBe('fresh\nread-only\n');
    });

    it('serves mounts whose layers lie on its other mounts', async () => {
      const output = await script(`
      "$S" -o lowerdir=low,upperdir=up,workdir=work m1
      "$S" -o lowerdir=m1,upperdir=up2,workdir=work2 m2
      "$S" -o lowerdir=low m3; "$S" -o lowerdir=m3:m1 m4
      (for i in 1 2 3 4 5 6 7 8; do timeout 20 find m4 m1 m3 m2 -type f -exec cat {} + >/dev/null & done; wait)
      cat m4/hello; for i in 4 3 2 1; do "$S" unmount m$i; done; live || true`);
      expect(output).toBe('hello\n0\n');
    });

    it('answers nobody else, even who gets as far as its socket', async () => {
      const output = await script(`
      "$S" -o lowerdir=low m1; p=$(host)
      d=/run/stratafs; s=$(ls -d $d/host-0-$(stat -Lc %i /proc/self/ns/user)-$(stat -Lc %i /proc/self/ns/mnt)-*.sock | head -1)
      chmod 755 $d; chmod 666 "$s"
      ask='const c = require("net").connect(process.argv[1]); c.on("error", () => {});
        c.on("connect", () => c.write("{\\"query\\":\\"mounts\\"}\\n")); c.setEncoding("utf8");
        let text = ""; c.on("data", (t) => (text += t)); c.on("close", () => console.log(text.length > 2));'
      node -e "$ask" "$s"
      setpriv --reuid=65534 --regid=65534 --clear-groups node -e "$ask" "$s"
      chmod 700 $d; chmod 755 "$s"; live
      grep -q "refused a request of user 65534" "\${s%sock}log" && echo logged; "$S" unmount m1`);
      expect(output).toBe('true\nfalse\n1\nlogged\n');
    });

    it('needs at most 1 MiB for each further mount of an image', async () => {
      const output = await script(
        `mkdir -p image many; for i in $(seq 1 200); do mkdir image/d$i; echo $i > image/d$i/f; done
      rss() { awk '/^Rss:/ { print $2 }' /proc/$(host)/smaps_rollup; }
      fresh() { mkdir -p many/$1/u many/$1/w many/$1/m
        "$S" -o lowerdir=image:low,upperdir=many/$1/u,workdir=many/$1/w many/$1/m
        find many/$1/m -type f -exec cat {} + > /dev/null; echo x > many/$1/m/d1/f; }
      fresh 1; fresh 2; before=$(rss); for i in $(seq 3 101); do fresh $i; done; after=$(rss)
      "$S" mounts | wc -l; host | wc -l; echo $(((after - before) / 99))
      for i in $(seq 1 101); do umount many/$i/m; done; rm -rf many image`,
      );
      const [mounts, hosts, kib] = output.split('\n').map(Number);
      expect([mounts, hosts]).toEqual([101, 1]);
      expect(kib).toBeLessThan(1024);
    });

    it('outlives a log that cannot be written', async () => {
      const output = await script(`
      d=/run/stratafs; mkdir -p $d; mount -t tmpfs -o size=64k,mode=700 none $d
      "$S" -o lowerdir=low m1; p=$(host)
      head -c 1000000 /dev/zero > $d/fill 2>/dev/null || echo full
      for i in 1 2 3; do
        node -e 'const c = require("net").connect(process.argv[1], () => c.write("no request\\n"));
          c.on("error", () => {}); c.on("data", (t) => console.log(JSON.parse(t).code));' $d/*.sock
      done
      cat m1/hello; kill -0 $p && "$S" unmount m1; gone $p && umount $d`);
      expect(output).toBe('full\n1\n1\n1\nhello\n');
    });

    it('does not fill the disk with complaints about a layer', async () => {
      const output = await script(`
      d=/run/stratafs; mkdir -p $d; mount -t tmpfs -o mode=700 none $d
      mkdir bad; : > bad/f; setfattr -n trusted.overlay.metacopy bad/f
      "$S" -o lowerdir=bad:low m1; p=$(host)
      for i in $(seq 300); do stat -c %n m1/f 2>/dev/null; done
      grep -c 'no data found' $d/*.log; grep -c 'left out' $d/*.log; cat m1/hello
      "$S" unmount m1; gone $p && umount $d; rm -r bad`);
      expect(output).toBe('100\n1\nhello\n');
    });

    it('says why it cannot start', async () => {
      const output = await script(
        `STRATAFS_NODE=/nonexistent/node "$S" -o lowerdir=low m1 2>&1 || echo $?; live || true`,
      );
      const reason = 'cannot start node (No such file or directory): install Node 20';
      expect(output).toContain(`stratafs: the host ended before it answered (${reason}`);
      expect(output).toMatch(/^[^\n]+\n1\n0\n$/);
    });

    it('takes paths of any bytes', async () => {
      const output = await script(`
      d=$(printf 'x\\377,y:\\n z'); mkdir -p "$d/l" "$d/m"; echo odd > "$d/l/odd"
      e=$(printf 'x\\377\\\\,y\\\\:\\n z')
      "$S" -o "lowerdir=$e/l" "$d/m" && cat "$d/m/odd"; "$S" unmount "$d/m"; live || true`);
      expect(output).toBe('odd\n0\n');
    });
  },
);
