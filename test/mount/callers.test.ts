/**
 * As fuse-overlayfs and as a helper of mount(8): each test calls the program with the argument vector of
 * one caller, and does with the mount what that caller does.
 */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { has, stratafsBinary } from '../support/needs.js';
import { mustRun, type Ran, run, scratch } from '../support/run.js';
import { mountsBelow } from '../support/staleMounts.js';

/** nobody: fusermount asks for a name. */
const USER = 65_534;
/** As an ordinary user, who has no rights left. */
const AS_USER = ['setpriv', `--reuid=${USER}`, `--regid=${USER}`, '--clear-groups'];
const PROGRAMS = ['setpriv', 'fusermount', 'fusermount3', 'mount.fuse3', 'busybox', 'unshare'];

describe.skipIf(!has({ root: true, fuse: true, stratafs: true, programs: PROGRAMS }))(
  'called as by',
  () => {
    let base: string;
    let deviceMode: number;
    let running: ChildProcess | undefined;
    const at = (name: string): string => join(base, name);
    const program = (): string => at('bin/fuse-overlayfs');

    const env = (): NodeJS.ProcessEnv => ({
      ...process.env,
      PATH: `${at('bin')}:${process.env['PATH'] ?? ''}`,
      XDG_RUNTIME_DIR: at('run'),
    });
    const called = (file: string, args: readonly string[], options = {}): Promise<Ran> =>
      run(file, args, { cwd: base, env: env(), ...options });

    /** Starts what stays in the foreground; resolves when it has mounted, as Apptainer and enroot wait. */
    async function foreground(file: string, args: readonly string[], more = {}): Promise<string[]> {
      const child = spawn(file, args, {
        cwd: base,
        env: { ...env(), ...more },
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      running = child;
      const said: string[] = [];
      for (const stream of [child.stdout, child.stderr]) {
        stream.setEncoding('latin1').on('data', (text: string) => said.push(text));
      }
      for (let tries = 0; tries < 400; tries++) {
        if (child.exitCode !== null) throw new Error(`it ended: ${said.join('')}`);
        // The mount's root answers: what is mounted before it is served takes its time.
        if (mountsBelow(base).length > 0) {
          const args = ['stat', mountsBelow(base)[0] ?? ''];
          const answer = await called('stat', args.slice(1));
          if (answer.code !== 0) await called('setpriv', [...AS_USER.slice(1), ...args]);
          return said;
        }
        await sleep(25);
      }
      throw new Error(`it did not mount: ${said.join('')}`);
    }

    /** SIGTERM, and at most `ms` for the end, as its caller gives it. */
    async function terminate(ms: number): Promise<number | null> {
      const child = running;
      if (!child) throw new Error('nothing runs');
      child.kill('SIGTERM');
      const killed = setTimeout(() => child.kill('SIGKILL'), ms);
      if (child.exitCode === null) await once(child, 'exit');
      clearTimeout(killed);
      return child.exitCode;
    }

    beforeAll(() => {
      base = scratch('callers');
      chmodSync(base, 0o755);
      // As udev does it on ordinary machines.
      deviceMode = statSync('/dev/fuse').mode & 0o7777;
      chmodSync('/dev/fuse', 0o666);
    });

    beforeEach(() => {
      for (const name of ['a', 'b', 'up', 'work', 'mnt', 'bin', 'run']) mkdirSync(at(name));
      symlinkSync(stratafsBinary(), program());
      writeFileSync(at('a/top'), 'from a\n');
      writeFileSync(at('b/below'), 'from b\n');
      for (const name of ['a', 'b', 'up', 'work', 'run', 'a/top', 'b/below']) {
        chownSync(at(name), USER, USER);
      }
    });

    afterEach(async () => {
      for (const mount of mountsBelow(base)) await run('umount', ['-l', mount]);
      running?.kill('SIGKILL');
      running = undefined;
      for (const name of readdirSync(base)) rmSync(at(name), { recursive: true, force: true });
    });

    afterAll(() => {
      chmodSync('/dev/fuse', deviceMode);
      rmSync(base, { recursive: true, force: true });
    });

    const layers = (): string =>
      `lowerdir=${at('a')}:${at('b')},upperdir=${at('up')},workdir=${at('work')}`;
    const mounted = (): boolean => mountsBelow(base).length > 0;

    describe('Apptainer', () => {
      it('in a user namespace: -f, SIGTERM while in use', async () => {
        const said = await foreground(program(), [
          ...['-f', '-o', `allow_other,${layers()},noacl`, at('mnt')],
        ]);
        const user = spawn('sh', ['-c', 'exec 9>>below; echo more >&9; exec sleep 60'], {
          cwd: at('mnt'),
        });
        try {
          for (let tries = 0; tries < 200 && !existsSync(at('up/below')); tries++) await sleep(25);
          // Whatever is said on stderr is shown to the user.
          expect([await terminate(1000), said]).toEqual([0, []]);
          expect(mounted()).toBe(false);
          expect(readFileSync(at('up/below'), 'latin1')).toBe('from b\nmore\n');
        } finally {
          user.kill('SIGKILL');
        }
      });

      it('read-only, as its images are', async () => {
        const options = `allow_other,ro,lowerdir=${at('a')}:${at('b')},noacl`;
        await foreground(program(), ['-f', '-o', options, at('mnt')]);
        expect((await called('touch', [at('mnt/new')])).stderr).toContain('Read-only file system');
      });

      /** The starter, which is root: it opens /dev/fuse, mounts, drops its rights and hands the rest on. */
      const starter = (options: string, ...flags: string[]): string[] => {
        const own = `fd=3,rootmode=40000,user_id=${USER},group_id=${USER}`;
        return [
          ...['-c', `exec 3<>/dev/fuse; mount -i -t fuse fuse-overlayfs mnt -o ${own}; exec "$@"`],
          ...['sh', ...AS_USER, '--inh-caps=-all', program(), ...flags, '-o', options, '/dev/fd/3'],
        ];
      };

      it('with its setuid starter: /dev/fd/N', async () => {
        await foreground('bash', starter(`allow_other,${layers()},noacl`, '-f'));
        const script =
          'cat top below; echo new > new; chmod 600 top; rm below; mkdir d; mv d e; ls';
        const args = [...AS_USER.slice(1), 'sh', '-c', `cd ${at('mnt')} && ${script}`];
        const ran = await called('setpriv', args);
        expect(ran).toEqual({ code: 0, stdout: 'from a\nfrom b\ne\nnew\ntop\n', stderr: '' });
        const listed = await called('setpriv', [...AS_USER.slice(1), stratafsBinary(), 'mounts']);
        expect(listed.stdout).toContain(at('mnt'));
        // Who may not enter by the options of the starter's mount may not.
        expect((await called('ls', [at('mnt')])).stderr).toContain('Permission denied');
        // In use; what the kernel holds is on the disk when it ends, and the mount is the starter's.
        const late = 'exec 8>late; echo late >&8; echo; exec sleep 60';
        const writer = spawn('setpriv', [
          ...[...AS_USER.slice(1), 'sh', '-c', `cd ${at('mnt')} && ${late}`],
        ]);
        try {
          await once(writer.stdout, 'data');
          expect(await terminate(5000)).toBe(0);
        } finally {
          writer.kill('SIGKILL');
        }
        expect(mounted()).toBe(true);
        expect(readFileSync(at('up/late'), 'latin1')).toBe('late\n');
        expect(readFileSync(at('up/new'), 'latin1')).toBe('new\n');
      });

      it('and ends when the starter has unmounted', async () => {
        await foreground('bash', starter(`${layers()},noacl`, '-f'));
        await mustRun('umount', [at('mnt')]);
        const child = running;
        if (child?.exitCode === null) await once(child, 'exit');
        expect(child?.exitCode).toBe(0);
      });

      it('with a descriptor that is another file', async () => {
        const args = ['-f', '-o', `lowerdir=${at('a')}`, '/dev/fd/3'];
        const ran = await called('bash', ['-c', 'exec "$@" 3</dev/null', 'sh', program(), ...args]);
        expect(ran.code).toBe(1);
        expect(ran.stderr).toMatch(/^stratafs: mount point \/dev\/fd\/3 is not \/dev\/fuse: .*\n$/);
      });
    });

    it('mount.fuse3 with drop_privileges: /dev/fd/N without -f', async () => {
      // Root without the right to write everywhere.
      for (const name of ['up', 'work']) chownSync(at(name), 0, 0);
      const options = `${layers()},drop_privileges`;
      const args = ['overlay', at('mnt'), '-o', options, '-t', 'fuse-overlayfs'];
      expect(await called('mount.fuse3', args)).toEqual({ code: 0, stdout: '', stderr: '' });
      expect((await mustRun('cat', [at('mnt/top')])).stdout).toBe('from a\n');
      await mustRun('umount', [at('mnt')]);
      const wrong = ['overlay', at('mnt'), '-o', 'lowerdir=/gone,drop_privileges'];
      const refused = await called('mount.fuse3', [...wrong, '-t', 'fuse-overlayfs']);
      expect(refused).toMatchObject({
        code: 1,
        stderr: 'stratafs: lower layer /gone does not exist: correct lowerdir\n',
      });
    });

    it('SingularityCE: the mount point is the last lower', async () => {
      const options = `lowerdir=${at('a')}:${at('b')},upperdir=${at('up')},workdir=${at('work')}`;
      const ran = await called(program(), ['-o', options, at('b')]);
      expect(ran).toEqual({ code: 0, stdout: '', stderr: '' });
      await mustRun('sh', ['-c', 'cat top below; echo more >> below; rm top'], { cwd: at('b') });
      await mustRun('fusermount3', ['-u', at('b')]);
      // Nothing but what changed, so its clean-up of .wh..opq finds nothing.
      expect(readdirSync(at('up')).sort()).toEqual(['below', 'top']);
      expect(readFileSync(at('b/below'), 'latin1')).toBe('from b\n');
    });

    it('enroot: the mount point holds lower, upper and work', async () => {
      const root = at('rootfs');
      for (const name of ['lower', 'upper', 'work'])
        mkdirSync(join(root, name), { recursive: true });
      writeFileSync(join(root, 'lower/file'), 'lower\n');
      mkdirSync(join(root, 'lower/dir'));
      const options = `lowerdir=${root}/lower,upperdir=${root}/upper,workdir=${root}/work`;
      const said = await foreground(program(), ['-f', '-o', options, root], {
        FUSE_OVERLAYFS_DISABLE_OVL_WHITEOUT: 'y',
      });
      const script = 'echo more >> file; mv dir moved; rm file; ls';
      expect((await mustRun('sh', ['-c', script], { cwd: root })).stdout).toBe('moved\n');
      expect(said.join('')).toMatch(/DISABLE_OVL_WHITEOUT has no effect here/);
      await mustRun('fusermount3', ['-u', root]);
      expect(readdirSync(join(root, 'upper')).sort()).toEqual(['dir', 'file', 'moved']);
    });

    describe('mod managers and launchers of games', () => {
      const options = (): string =>
        `lowerdir=a:b:,upperdir=up,workdir=work,squash_to_uid=${USER},squash_to_gid=${USER}`;

      it.each(['fusermount', 'fusermount3'])('relative, and taken off by %s -u', async (helper) => {
        const own = (...args: string[]): Promise<Ran> =>
          called('setpriv', [...AS_USER.slice(1), ...args]);
        chownSync(at('mnt'), USER, USER);
        expect(await own(program(), '-o', options(), 'mnt')).toMatchObject({ code: 0, stderr: '' });
        expect((await own('cat', 'mnt/below')).stdout).toBe('from b\n');
        expect(await own(helper, '-u', 'mnt')).toMatchObject({ code: 0, stderr: '' });
        expect(mounted()).toBe(false);
      });

      it('an empty layer in the list is refused under our own name', async () => {
        const ran = await called(stratafsBinary(), ['-o', options(), 'mnt']);
        expect([ran.code, ran.stderr]).toEqual([
          1,
          expect.stringContaining('a colon without a layer'),
        ]);
      });
    });

    it('a store whose mountopt has options of the reference', async () => {
      const more =
        'timeout=1.5,threaded=1,fast_ino=1,noxattrs=1,static_nlink,ino32_t,kernel_cache,max_write=65536,max_idle_threads=5,clone_fd,attr_timeout=2,entry_timeout=2,auto_cache,use_ino,umask=022,nonempty,allow_root,auto_unmount';
      const ran = await called(program(), ['-o', `${layers()},${more}`, at('mnt')]);
      expect(ran).toEqual({ code: 0, stdout: '', stderr: '' });
      const logged = await called(stratafsBinary(), ['logs']);
      for (const name of ['threaded=1', 'static_nlink', 'umask=022', 'auto_unmount']) {
        expect(logged.stdout).toContain(`option ${name} of fuse-overlayfs has no effect here`);
      }
    });

    describe.skipIf(!has({ mountNamespaces: true }))('mount(8)', () => {
      /** In a mount namespace whose /usr/sbin and /etc/fstab are ours. */
      const inside = (script: string): Promise<Ran> => {
        const set = `mount -t tmpfs none /usr/local/sbin && ln -s "$S" /usr/local/sbin/stratafs
          touch fstab && printf '%s\\n' "$LINE" > fstab && mount --bind fstab /etc/fstab`;
        return called(
          'unshare',
          ['-m', '--propagation', 'private', 'sh', '-ec', `${set}\n${script}`],
          {
            env: {
              ...env(),
              S: stratafsBinary(),
              STRATAFS_GRACE: '0',
              LINE: `stratafs ${at('mnt')} fuse.stratafs ${layers()},nofail,x-systemd.requires-mounts-for=${at('a')} 0 0`,
            },
          },
        );
      };

      it('fstab: mount -a, remount read-only and back, umount', async () => {
        const ran = await inside(`mount -a -t fuse.stratafs; echo one > mnt/one; ls mnt
          mount -o remount,ro ${at('mnt')}; if touch mnt/two 2>&1; then exit 1; fi
          mount -o remount,rw ${at('mnt')}; touch mnt/three; umount mnt; ls mnt up`);
        expect([ran.code, ran.stderr]).toEqual([0, '']);
        expect(ran.stdout).toBe(
          "below\none\ntop\ntouch: cannot touch 'mnt/two': Read-only file system\nmnt:\n\nup:\none\nthree\n",
        );
      });

      it('remounts also what is served in the foreground', async () => {
        await foreground(stratafsBinary(), ['-f', '-o', layers(), at('mnt')]);
        const remount = (flag: string): Promise<Ran> =>
          called(stratafsBinary(), ['none', at('mnt'), '-o', `remount,${flag}`]);
        expect(await remount('ro')).toMatchObject({ code: 0, stderr: '' });
        expect((await called('touch', [at('mnt/new')])).stderr).toContain('Read-only file system');
        expect(await remount('rw')).toMatchObject({ code: 0, stderr: '' });
        expect((await called('touch', [at('mnt/new')])).code).toBe(0);
        expect(
          (await called(stratafsBinary(), ['none', '/proc', '-o', 'remount,ro'])).stderr,
        ).toMatch(/\/proc is no mount of stratafs/);
      });

      it('systemd: what a .mount unit runs', async () => {
        const ran = await inside(`mount stratafs ${at('mnt')} -t fuse.stratafs -o ${layers()}
          cat mnt/top; umount ${at('mnt')} -c`);
        expect(ran).toEqual({ code: 0, stdout: 'from a\n', stderr: '' });
      });
    });

    describe.skipIf(!has({ programs: ['bwrap', 'systemd-nspawn'] }))('what runs on a union', () => {
      const SCRIPT =
        'busybox cat /top /below; echo new > /new; busybox rm /top; busybox test ! -e /top';

      beforeEach(async () => {
        for (const name of ['bin', 'proc', 'dev', 'tmp', 'usr', 'etc']) mkdirSync(at(`b/${name}`));
        copyFileSync('/bin/busybox', at('b/bin/busybox'));
        symlinkSync('busybox', at('b/bin/sh'));
        writeFileSync(at('b/etc/os-release'), '');
        expect((await called(program(), ['-o', layers(), at('mnt')])).code).toBe(0);
      });

      it('bubblewrap', async () => {
        const flags = [
          '--bind',
          at('mnt'),
          '/',
          '--proc',
          '/proc',
          '--dev',
          '/dev',
          '--unshare-pid',
        ];
        const ran = await called('bwrap', [...flags, '/bin/busybox', 'sh', '-c', SCRIPT]);
        expect(ran).toEqual({ code: 0, stdout: 'from a\nfrom b\n', stderr: '' });
        expect(readFileSync(at('up/new'), 'latin1')).toBe('new\n');
      });

      it('systemd-nspawn', async () => {
        const flags = ['--quiet', '--register=no', '--keep-unit', '-D', at('mnt')];
        const ran = await called('systemd-nspawn', [...flags, '/bin/busybox', 'sh', '-c', SCRIPT]);
        expect([ran.code, ran.stdout.replaceAll('\r', '')]).toEqual([0, 'from a\nfrom b\n']);
        expect(readFileSync(at('up/new'), 'latin1')).toBe('new\n');
      });
    });
  },
);
