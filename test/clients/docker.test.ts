/** Docker 20.10 to 27: its storage driver fuse-overlayfs runs the program of that name, which is ours. */
import { mkdirSync, symlinkSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { has } from '../support/needs.js';
import { Docker } from './support/docker.js';
import { expectNothingLeft } from './support/leftovers.js';
import { busyboxTree } from './support/ociImage.js';
import { bash } from './support/run.js';
import { MOUNTS, STRATAFS, unmountBelow } from './support/union.js';

const PROGRAMS = ['dockerd', 'docker', 'containerd', 'runc', 'busybox'];
const CHANGE =
  'rm /etc/opt/f1; mv /etc/opt/sub /etc/opt/moved; echo more >> /etc/opt/f2; chmod 4711 /bin/busybox; mkdir /new';

describe.skipIf(!has({ ...MOUNTS, programs: PROGRAMS }))(
  'Docker with fuse-overlayfs that is ours',
  () => {
    let dir: string;
    let docker: Docker;

    beforeAll(async () => {
      dir = await mkdtemp('/var/tmp/stratafs-clients-');
      mkdirSync(`${dir}/bin`);
      symlinkSync(STRATAFS, `${dir}/bin/fuse-overlayfs`);
      const options = { storageDriver: 'fuse-overlayfs', path: `${dir}/bin` };
      docker = await Docker.start(`${dir}/docker`, options);
      await busyboxTree(`${dir}/busybox`);
      await bash(`tar -C ${dir}/busybox -c . | docker import - small:1`, {
        env: { DOCKER_HOST: `unix://${dir}/docker/d.sock` },
      });
    });

    afterAll(async () => {
      try {
        await docker.stop();
        await unmountBelow(dir);
        await expectNothingLeft(dir);
      } finally {
        await unmountBelow(dir);
        await rm(dir, { recursive: true, force: true });
      }
    });

    const run = (image: string, script: string, ...flags: string[]) =>
      docker.text('run', '--network', 'none', ...flags, image, '/bin/sh', '-c', script);

    it('runs containers on a union of ours', async () => {
      expect(await run('small:1', 'grep " / " /proc/mounts; cat /etc/opt/f5', '--rm')).toMatch(
        /fuse\.\S* .*\n5$/,
      );
    });

    it('tells what a container changed, and makes an image of it', async () => {
      await run('small:1', CHANGE, '--name', 'changed');
      const changed = (await docker.text('diff', 'changed')).split('\n').sort();
      for (const line of ['D /etc/opt/f1', 'D /etc/opt/sub', 'A /etc/opt/moved', 'A /new']) {
        expect(changed).toContain(line);
      }
      await docker.text('commit', 'changed', 'small:2');
      const see = 'ls /etc/opt; cat /etc/opt/f2; ls /etc/opt/moved; stat -c %a /bin/busybox';
      expect(await run('small:2', see, '--rm')).toBe(
        'f2\nf3\nf4\nf5\nmoved\n2\nmore\nf1\nf2\nf3\nf4\nf5\n4711',
      );
    });

    it('starts a container again with what it had', async () => {
      await docker.text('start', '-a', 'changed').catch(() => '');
      expect(
        await bash(`docker export changed | tar -t | grep -c '^etc/opt/f1$' || true`, {
          env: { DOCKER_HOST: `unix://${dir}/docker/d.sock` },
        }),
      ).toMatchObject({ stdout: '0\n' });
      await docker.text('rm', 'changed');
      await docker.text('rmi', 'small:2', 'small:1');
      expect(await docker.text('images', '-q')).toBe('');
    });
  },
);
