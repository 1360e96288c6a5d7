/** The host is nobody's child: it has nothing of its first mounter, and acts for nobody who could not do it himself. */
import { existsSync, rmSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hostScript, makeDirectories } from '../support/hostScript.js';
import { has } from '../support/needs.js';
import { scratch } from '../support/run.js';

/** Where cgroup version 2 is mounted here, alone or beside version 1. */
const UNIFIED = ['/sys/fs/cgroup/unified', '/sys/fs/cgroup'].find((path) =>
  existsSync(`${path}/cgroup.procs`),
);

describe.skipIf(!has({ root: true, fuse: true, stratafs: true, mountNamespaces: true }))(
  'a host of its own',
  () => {
    let base: string;

    beforeAll(() => {
      base = scratch('own');
      makeDirectories(base);
    });

    afterAll(() => {
      rmSync(base, { recursive: true, force: true });
    });

    const script = (body: string, env: NodeJS.ProcessEnv = {}): Promise<string> =>
      hostScript(base, body, env);

    it.skipIf(UNIFIED === undefined)('outlives the cgroup of who mounted first', async () => {
      const output = await script(
        `c=$C/stratafs-test-$$; mkdir $c
      (echo $BASHPID > $c/cgroup.procs; "$S" -o lowerdir=low m1); "$S" -o lowerdir=low m2
      host | wc -l; echo 1 > $c/cgroup.kill; sleep 0.3; cat m1/hello m2/hello
      "$S" unmount m1; "$S" unmount m2
      until_ "rmdir $c 2>/dev/null" && echo removed`,
        { C: UNIFIED },
      );
      expect(output).toBe('1\nhello\nhello\nremoved\n');
    });

    const VERSION1 = '/sys/fs/cgroup/freezer';
    it.skipIf(!existsSync(VERSION1))(
      'leaves cgroups of version 1 too, cpusets included',
      async () => {
        const output = await script(`
      for k in freezer cpuset memory pids; do d=/sys/fs/cgroup/$k; [ -d $d ] || continue
        mkdir $d/stratafs-test-$$; done
      cat /sys/fs/cgroup/cpuset/cpuset.mems > /sys/fs/cgroup/cpuset/stratafs-test-$$/cpuset.mems
      echo 0 > /sys/fs/cgroup/cpuset/stratafs-test-$$/cpuset.cpus
      (for k in freezer cpuset memory pids; do echo $BASHPID > /sys/fs/cgroup/$k/stratafs-test-$$/cgroup.procs; done
       "$S" -o lowerdir=low m1)
      p=$(host); grep -c "stratafs-test" /proc/$p/cgroup; grep -cE ':(freezer|cpuset|memory|pids):/stratafs$' /proc/$p/cgroup
      cat m1/hello; "$S" unmount m1; gone $p
      for k in freezer cpuset memory pids; do rmdir /sys/fs/cgroup/$k/stratafs-test-$$; ls -d /sys/fs/cgroup/$k/stratafs 2>/dev/null; done; true`);
        expect(output.split('\n').slice(0, 3)).toEqual(['0', '4', 'hello']);
      },
    );

    it('has default priorities and all processors', async () => {
      const output = await script(`
      nice -n 7 ionice -c 3 taskset -c 0 "$S" -o lowerdir=low m1; p=$(host)
      ps -o ni= -p $p | tr -d ' '; ionice -p $p | sed 's/:.*//'
      [ "$(grep Cpus_allowed_list /proc/$p/status)" = "$(grep Cpus_allowed_list /proc/$$/status)" ] && echo all
      "$S" -o lowerdir=low m2; host | wc -l; "$S" unmount m1; "$S" unmount m2`);
      expect(output).toBe('0\nnone\nall\n1\n');
    });

    it('lets the thread that callers wait for take precedence, and no other', async () => {
      const output = await script(`
      "$S" -o lowerdir=low,upperdir=up,workdir=work m1; p=$(host)
      ps -o ni= -p $p | tr -d ' '; ps -L -o ni= -p $p | tr -d ' ' | sort -n -u
      setpriv --bounding-set -sys_nice --inh-caps -sys_nice "$S" -o lowerdir=low m2
      ps -L -o ni= -p $(of m2) | tr -d ' ' | sort -u; "$S" unmount m1; "$S" unmount m2`);
      expect(output).toBe('0\n-10\n0\n0\n');
    });

    // Lowering it takes CAP_SYS_RESOURCE, which not every root has.
    it('is not the first one to be killed when memory is short, or serves nobody else', async () => {
      const output = await script(`
      choom -n 700 -- "$S" -o lowerdir=low m1; "$S" -o lowerdir=low m2
      cat /proc/$(of m2)/oom_score_adj
      [ "$(cat /proc/$(of m1)/oom_score_adj)" = 0 ] || [ "$(of m1)" != "$(of m2)" ] && echo apart
      "$S" unmount m1; "$S" unmount m2`);
      expect(output).toBe('0\napart\n');
    });

    it.each([
      ['supplementary groups', 'setpriv --groups 7,8'],
      ['capabilities', 'setpriv --bounding-set -mknod --inh-caps -mknod'],
      ['no_new_privs', 'setpriv --no-new-privs'],
      ['a network namespace', 'unshare -n'],
      ['a limit that cannot be lifted', 'prlimit --nofile=512:512'],
    ])('serves nobody with other rights: %s', async (_, command) => {
      const output = await script(`
      "$S" -o lowerdir=low m1; ${command} "$S" -o lowerdir=low m2; cat m1/hello m2/hello
      "$S" mounts | wc -l; [ "$(of m1)" != "$(of m2)" ] && echo apart
      "$S" unmount m1; "$S" unmount m2; live || true`);
      // Who may lift the limit shares the host after all.
      expect(output.replace('apart\n', '')).toBe('hello\nhello\n2\n0\n');
      if (!command.startsWith('prlimit')) expect(output).toContain('apart');
    });

    it('mounts nothing for a root without capabilities', async () => {
      const output = await script(`
      "$S" -o lowerdir=low m1
      setpriv --bounding-set -all --inh-caps -all "$S" -o lowerdir=low m2 2>/dev/null || echo refused; live
      "$S" unmount m1`);
      expect(output).toBe('refused\n1\n');
    });

    it('mounts nothing for a peer that could not, whatever it asks', async () => {
      const output = await script(`
      "$S" -o lowerdir=low m1; p=$(host)
      s=$(ls /run/stratafs/host-0-$(stat -Lc %i /proc/self/ns/user)-$(stat -Lc %i /proc/self/ns/mnt)-*.sock)
      b=$("$S" mounts --json | sed -n 's/.*"build": "\\(.*\\)".*/\\1/p')
      ask='const [socket, build, at] = process.argv.slice(1); const c = require("net").connect(socket);
        const argv = ["-o", "lowerdir=" + at + "/low", at + "/m2"];
        c.write(JSON.stringify({ argv, cwd: "/", build }) + "\\n");
        c.setEncoding("utf8"); let text = ""; c.on("data", (t) => (text += t));
        c.on("close", () => { const { code, other } = JSON.parse(text); console.log(code, other ?? ""); });'
      for how in "setpriv --bounding-set -all --inh-caps -all" "setpriv --groups 9" "setpriv --no-new-privs" "unshare -n" "unshare -m"; do
        $how node -e "$ask" $s $b $PWD; done
      node -e "$ask" $s 0123456789ab $PWD | sed 's/, in .*//;s/build .*/build/'; live
      node -e "$ask" $s $b $PWD; live; "$S" unmount m1; "$S" unmount m2`);
      expect(output.split('\n')).toEqual([
        '1 it differs in: capabilities',
        '1 it differs in: groups',
        '1 it differs in: no_new_privs',
        '1 it differs in: net',
        '1 it differs in: mnt',
        '1 it is of build',
        '1',
        '0 ',
        '2',
        '',
      ]);
    });

    it('refuses a mount that would end at once with its PID namespace', async () => {
      const output = await script(`
      "$S" -o lowerdir=low m1
      unshare -pf "$S" -o lowerdir=low m2 2>&1 | grep -c 'first of its PID namespace'; live
      unshare -pf --mount-proc sh -c '"$S" -o lowerdir=low m3 && cat m3/hello; :'
      "$S" mounts | wc -l; cat m1/hello; "$S" unmount m1; umount m3 2>/dev/null; true`);
      expect(output).toBe('1\n1\nhello\n1\nhello\n');
    });
  },
);
