/** `stratafs install TARGET` beneath a directory, what the engine makes of it, and `uninstall`. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import process from 'node:process';
import { has } from '../support/needs.js';
import { type Ran, run } from '../support/run.js';
import { expectNothingLeft } from './support/leftovers.js';
import { engineIn, type Engine } from './support/podman.js';
import { bash } from './support/run.js';
import { MOUNTS, STRATAFS, unmountBelow } from './support/union.js';

const PROGRAMS = ['podman', 'runc', 'busybox', 'containerd', 'unshare', 'systemd-analyze'];

describe.skipIf(!has({ ...MOUNTS, programs: PROGRAMS, mountNamespaces: true }))(
  'install and uninstall',
  () => {
    let dir: string;
    const at = (path: string): string => join(dir, path);
    const stratafs = (...args: string[]): Promise<Ran> =>
      run(STRATAFS, [...args, '--destdir', dir], { env: { ...process.env, HOME: '/home/nobody' } });
    const read = (path: string): string => readFileSync(at(path), 'utf8');
    const put = (path: string, text: string, mode = 0o644): void => {
      mkdirSync(dirname(at(path)), { recursive: true });
      writeFileSync(at(path), text);
      chmodSync(at(path), mode);
    };
    /** Names, modes and contents; without directories, as those that systemd reads stay. */
    const tree = async (): Promise<string> =>
      (
        await bash(
          `cd ${dir}; find . -path ./store -prune -o -path ./run -prune -o -type f \\( -path './etc/*' -o -path './usr/*' -o -path './var/*' \\) -print | sort | while read -r f; do stat -c '%n %a %u' "$f"; sha256sum "$f"; done`,
        )
      ).stdout;

    /** Installs, looks, and takes it off again: then all is as it was. */
    async function both(args: readonly string[], look: () => Promise<void> | void): Promise<void> {
      const before = await tree();
      const installed = await stratafs('install', ...args);
      expect([installed.code, installed.stderr]).toEqual([0, expect.any(String)]);
      // A second time changes nothing.
      const once = await tree();
      expect((await stratafs('install', ...args)).code).toBe(0);
      expect(await tree()).toBe(once);
      await look();
      expect(await stratafs('uninstall', ...args)).toMatchObject({ code: 0, stderr: '' });
      expect(await tree()).toBe(before);
    }

    beforeEach(() => {
      dir = mkdtempSync('/var/tmp/stratafs-clients-');
      mkdirSync(at('etc'));
    });

    afterEach(async () => {
      await unmountBelow(dir);
      rmSync(dir, { recursive: true, force: true });
    });

    describe('podman', () => {
      const conf = (): string =>
        `# mine\n[storage]\ndriver = "overlay" # as ever\ngraphroot = "${dir}/store"\nrunroot = "${dir}/run"\n\n[storage.options.overlay]\n# mount_program = "/usr/bin/fuse-overlayfs"\nmountopt = "nodev,metacopy=on"\n`;

      it('runs containers on stratafs by the storage.conf of the machine, which keeps what it says', async () => {
        put('etc/containers/storage.conf', conf(), 0o640);
        let engine: Engine | undefined;
        await both(['podman'], async () => {
          const line = `mount_program = "${STRATAFS}"\n`;
          expect(read('etc/containers/storage.conf').replace(line, '')).toBe(conf());
          engine = await engineIn(dir, { storageConf: at('etc/containers/storage.conf') });
          await bash(
            `mkdir ${dir}/tree && cp /bin/busybox ${dir}/tree && tar -C ${dir}/tree -cf ${dir}/tree.tar .`,
          );
          await engine.podman(['import', '-q', `${dir}/tree.tar`, 'localhost/small:1']);
          const see = ['/busybox', 'grep', ' / ', '/proc/mounts'];
          const { stdout } = await engine.podman(['run', '--rm', 'localhost/small:1', ...see]);
          expect(stdout).toContain(' / fuse.stratafs rw');
        });
        // The same store without it: the kernel's overlayfs, as before.
        const { stdout } = await (engine as Engine).podman([
          'info',
          '-f',
          '{{.Store.GraphOptions}}',
        ]);
        expect(stdout).not.toContain('stratafs');
        await bash(`umount ${dir}/store/overlay 2>/dev/null || true`);
        await expectNothingLeft(dir);
      });

      it('makes a storage.conf where there is none', () =>
        both(['podman'], () => {
          expect(read('etc/containers/storage.conf')).toMatch(
            /^\[storage\]\ndriver = "overlay"\n(.*\n)*\[storage.options.overlay\]\nmount_program = ".*"\n$/,
          );
        }));

      it.each([
        [
          'another mount program',
          '[storage.options.overlay]\nmount_program = "/x"\n',
          /make it .*mount_program = "/,
        ],
        ['another driver', '[storage]\ndriver = "vfs"\n', /has the driver "vfs"/],
        [
          'inline tables',
          'storage = { driver = "overlay", options = { overlay = {} } }\n',
          /add by hand/,
        ],
        ['no TOML', '[storage\n', /mend it first/],
      ])('refuses a storage.conf with %s, and leaves it', async (_, text, sentence) => {
        put('etc/containers/storage.conf', text);
        const before = await tree();
        const ran = await stratafs('install', 'podman');
        expect([ran.code, ran.stderr]).toEqual([1, expect.stringMatching(sentence)]);
        expect(ran.stderr).toMatch(/^stratafs: [^\n]+\n$/);
        expect(await tree()).toBe(before);
      });

      it('leaves a file that was changed since, and says what to take out', async () => {
        put('etc/containers/storage.conf', conf());
        expect((await stratafs('install', 'podman')).code).toBe(0);
        put('etc/containers/storage.conf', `${read('etc/containers/storage.conf')}# later\n`);
        const ran = await stratafs('uninstall', 'podman');
        expect(ran.code).toBe(1);
        expect(ran.stderr).toMatch(
          /storage.conf stays, as it was changed: take out by hand: .*mount_program/,
        );
        expect(read('etc/containers/storage.conf')).toContain('# later');
      });
    });

    describe('containerd', () => {
      const dump = async (): Promise<string> => {
        const script = `mount --bind ${dir}/etc/containerd /etc/containerd && containerd config dump`;
        return (await bash(`unshare -m --propagation private sh -c '${script}'`)).stdout;
      };

      it.each([
        ['no file', undefined],
        [
          'a file of CRI',
          'version = 2\n\n[plugins."io.containerd.grpc.v1.cri"]\n  sandbox_image = "own:1"\n  [plugins."io.containerd.grpc.v1.cri".containerd]\n    default_runtime_name = "own"\n',
        ],
      ])('has the snapshotter, also of CRI, with %s', async (_, text) => {
        if (text !== undefined) put('etc/containerd/config.toml', text);
        await both(['containerd', '--engine', '1', '--cri'], async () => {
          const units = `${dir}/etc/systemd/system/stratafs-snapshotter.`;
          const checked = await bash(
            `systemd-analyze --man=no verify ${units}socket ${units}service 2>&1`,
          );
          expect(checked.stdout).toBe('');
          const config = await dump();
          expect(config).toMatch(
            /\[proxy_plugins.stratafs\]\s+address = "\/run\/stratafs\/snapshotter.sock"/,
          );
          expect(config).toMatch(/snapshotter = "stratafs"/);
          expect(config).toMatch(/disable_snapshot_annotations = false/);
          if (text !== undefined) expect(config).toMatch(/"own:1"[^]*default_runtime_name = "own"/);
        });
      });

      it("takes Docker's file of version 1 as it is", async () => {
        put('etc/containerd/config.toml', 'disabled_plugins = ["cri"]\n');
        await both(['containerd', '--engine', '1'], async () => {
          expect(await dump()).toMatch(/\[proxy_plugins.stratafs\]/);
        });
        const ran = await stratafs('install', 'containerd', '--engine', '1', '--cri');
        expect([ran.code, ran.stderr]).toEqual([1, expect.stringContaining('not of version 2')]);
      });
    });

    describe('Docker', () => {
      it('20.10 to 27: a program called fuse-overlayfs, and the driver of that name', async () => {
        put('etc/docker/daemon.json', '{ "log-level": "info" }\n', 0o600);
        for (const name of ['a', 'b', 'mnt']) mkdirSync(at(name));
        writeFileSync(at('a/file'), 'a\n');
        await both(['docker', '--engine', '27'], async () => {
          expect(JSON.parse(read('etc/docker/daemon.json'))).toEqual({
            'log-level': 'info',
            'storage-driver': 'fuse-overlayfs',
          });
          const program = at('usr/local/sbin/fuse-overlayfs');
          // A list that fuse-overlayfs alone takes: it is known by its name.
          const options = `lowerdir=${at('a')}:${at('b')}:`;
          expect(await run(program, ['-o', options, at('mnt')])).toMatchObject({
            code: 0,
            stderr: '',
          });
          expect(readFileSync(at('mnt/file'), 'utf8')).toBe('a\n');
          await unmountBelow(dir);
        });
      });

      it("28 and later: containerd's image store on the snapshotter", async () => {
        put('etc/docker/daemon.json', '{ "features": { "buildkit": true } }\n');
        await both(['docker', '--engine', '29'], () => {
          expect(JSON.parse(read('etc/docker/daemon.json'))).toEqual({
            features: { buildkit: true, 'containerd-snapshotter': true },
            'storage-driver': 'stratafs',
          });
          expect(read('etc/systemd/system/stratafs-snapshotter.socket')).toContain('ListenStream=');
        });
        put('etc/docker/daemon.json', '{ "storage-driver": "btrfs" }\n');
        const ran = await stratafs('install', 'docker', '--engine', '29');
        expect(ran.stderr).toMatch(
          /has "storage-driver": "btrfs": make it "stratafs", or take it out/,
        );
      });
    });

    it('k3s: templates for its containerd, and the setting', () =>
      both(['k3s'], () => {
        const data = 'var/lib/rancher/k3s/agent/etc/containerd';
        expect(read(`${data}/config-v3.toml.tmpl`)).toMatch(
          /\{\{ template "base" \. \}\}\n[^]*"stratafs-diff"/,
        );
        expect(read(`${data}/config.toml.tmpl`)).not.toContain('stratafs-diff');
        expect(read('etc/rancher/k3s/config.yaml.d/stratafs.yaml')).toMatch(
          /^snapshotter: stratafs$/m,
        );
        expect(read('etc/systemd/system/stratafs-snapshotter.service')).toContain(
          'snapshotter --containerd /run/k3s/containerd/containerd.sock',
        );
      }));

    it('Apptainer: the program of its image driver', async () => {
      const conf =
        '# ENABLE OVERLAY: [yes/no/driver/try]\nenable overlay = yes\nmount proc = yes\n';
      put('etc/apptainer/apptainer.conf', conf);
      const where = ['--conf', '/etc/apptainer/apptainer.conf', '--libexec', '/usr/libexec'];
      await both(['apptainer', ...where], () => {
        expect(read('etc/apptainer/apptainer.conf')).toBe(
          conf.replace('overlay = yes', 'overlay = driver'),
        );
        expect(read('usr/libexec/apptainer/bin/fuse-overlayfs')).toContain(STRATAFS);
      });
      // That of Apptainer's own package.
      put('usr/libexec/apptainer/bin/fuse-overlayfs', 'ELF', 0o755);
      const ran = await stratafs('install', 'apptainer', ...where);
      expect([ran.code, ran.stderr]).toEqual([1, expect.stringContaining('move it away')]);
      expect(read('etc/apptainer/apptainer.conf')).toBe(conf);
    });
  },
);
