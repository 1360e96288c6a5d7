import { writeFile, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { has } from '../support/needs.js';
import { expectNothingLeft } from './support/leftovers.js';
import { buildLimits, busyboxRoot, engineIn, type Engine } from './support/podman.js';
import { debianLayers } from './support/rootfs.js';
import { bash } from './support/run.js';
import { MOUNTS, unmountBelow, withUnion } from './support/union.js';

const PROGRAMS = ['podman', 'buildah', 'runc', 'busybox', 'debootstrap'];

const CONTAINERFILE = `FROM localhost/small:1
RUN rm /etc/opt/f1 && rm -r /etc/opt && mkdir /etc/opt && echo again > /etc/opt/f2 && ln /etc/opt/f2 /etc/opt/f3
RUN chmod 4711 /bin/busybox && mkdir -p /srv/a/b && echo deep > /srv/a/b/c
COPY Containerfile /srv/`;

describe.skipIf(!has({ ...MOUNTS, kernelOverlay: true, programs: PROGRAMS }))(
  'podman with the binary as its mount program',
  () => {
    let engine: Engine;

    /** What podman printed, and nothing on stderr that speaks of the storage. */
    const podman = async (...args: string[]): Promise<string> => {
      const { stdout, stderr } = await engine.podman(args);
      expect(stderr).not.toMatch(/overlay|mount/i);
      return stdout.trim();
    };
    const lines = (text: string): string[] => text.split('\n').sort();

    beforeAll(async () => {
      engine = await engineIn(await mkdtemp('/var/tmp/stratafs-clients-'));
      const tar = await busyboxRoot(engine.dir);
      await podman('import', '-q', '--change', 'CMD=/bin/sh', tar, 'localhost/small:1');
    });

    afterAll(async () => {
      const { dir } = engine;
      try {
        await engine.podman(['rm', '-fa', '-t', '0']);
        // podman's own bind of its store on itself is the one mount that it leaves by design.
        await bash(`umount ${dir}/store/overlay 2>/dev/null || true`);
        await expectNothingLeft(dir);
      } finally {
        await unmountBelow(dir);
        await rm(dir, { recursive: true, force: true });
      }
    });

    it('runs a container', async () => {
      const script =
        'cat /etc/opt/f5; echo x > /etc/opt/f5; cat /etc/opt/f5; grep " / " /proc/mounts';
      const said = await podman('run', '--rm', 'localhost/small:1', 'sh', '-c', script);
      expect(said).toMatch(/^5\nx\n.* fuse\./);
    });

    it('keeps a container through exec, stop, start, diff, commit and rm', async () => {
      await podman('run', '-d', '--name', 'small-run', 'localhost/small:1', 'sleep', '1000');
      await podman(
        'exec',
        'small-run',
        'sh',
        '-c',
        'rm /etc/opt/f2; echo new > /root/new; echo y >> /etc/passwd',
      );
      await podman('stop', '-t', '0', 'small-run');
      expect(lines(await podman('diff', 'small-run'))).toEqual(
        lines('C /etc\nC /etc/opt\nD /etc/opt/f2\nC /etc/passwd\nC /root\nA /root/new'),
      );
      await podman('start', 'small-run');
      expect(await podman('exec', 'small-run', 'cat', '/root/new')).toBe('new');
      await podman('commit', '-q', 'small-run', 'localhost/small:2');
      await podman('rm', '-f', '-t', '0', 'small-run');
      const see = 'ls /etc/opt; cat /root/new; tail -n 1 /etc/passwd';
      expect(await podman('run', '--rm', 'localhost/small:2', 'sh', '-c', see)).toBe(
        'f1\nf3\nf4\nf5\nnew\ny',
      );
    });

    it.each(['chroot', 'oci'])('builds an image with isolation %s', async (isolation) => {
      const context = `${engine.dir}/context`;
      await mkdir(context, { recursive: true });
      await writeFile(`${context}/Containerfile`, CONTAINERFILE);
      const image = `localhost/built:${isolation}`;
      const flags = ['--isolation', isolation, '--no-cache', '--layers', ...(await buildLimits())];
      await engine.podman(['build', '-q', ...flags, '-t', image, context]);
      const see =
        'ls /etc/opt; cat /etc/opt/f3 /srv/a/b/c; stat -c "%a %h" /bin/busybox /etc/opt/f2';
      expect(await podman('run', '--rm', image, 'sh', '-c', see)).toBe(
        'f2\nf3\nagain\ndeep\n4711 1\n644 2',
      );
    });

    it('saves an image, removes it, and loads it again', async () => {
      const archive = `${engine.dir}/small.tar`;
      await podman('save', '-q', '-o', archive, 'localhost/small:2');
      await podman('rmi', '-f', 'localhost/small:2');
      await podman('load', '-q', '-i', archive);
      expect(await podman('run', '--rm', 'localhost/small:2', 'cat', '/root/new')).toBe('new');
    });

    it('runs a Debian whose image was made from a union, and apt-get works in it', async () => {
      const lowers = await debianLayers();
      const tar = `${engine.dir}/debian.tar`;
      const parts =
        '--exclude=./usr/share/doc/* --exclude=./odd/many --exclude=./var/lib/apt/lists/*';
      await withUnion('stratafs', lowers, ({ mountpoint }) =>
        bash(`tar -C ${mountpoint} --numeric-owner --xattrs ${parts} -cf ${tar} .`),
      );
      await podman('import', '-q', tar, 'localhost/debian:1');
      const script =
        'apt-get -qq purge -y --allow-remove-essential iputils-ping >&2; dpkg --audit; test ! -e /bin/ping';
      await engine.podman(['run', '--name', 'purged', 'localhost/debian:1', 'sh', '-euc', script]);
      const changed = lines(await podman('diff', 'purged'));
      expect(changed).toContain('D /usr/bin/ping');
      expect(changed.length).toBeLessThan(100);
      await podman('rm', 'purged');
    });

    it('lets buildah change an image through a mount of it', async () => {
      const { stdout } = await engine.buildah(['from', '--pull-never', 'localhost/small:1']);
      const name = stdout.trim();
      const mountpoint = (await engine.buildah(['mount', name])).stdout.trim();
      await bash(`rm etc/opt/f4; echo by-hand > etc/opt/f6; touch -d @1 etc/opt/f5`, {
        cwd: mountpoint,
      });
      await engine.buildah(['umount', name]);
      await engine.buildah(['commit', '-q', '--rm', name, 'localhost/small:3']);
      const see = 'ls /etc/opt; stat -c %Y /etc/opt/f5';
      expect(await podman('run', '--rm', 'localhost/small:3', 'sh', '-c', see)).toBe(
        'f1\nf2\nf3\nf5\nf6\n1',
      );
    });
  },
);
