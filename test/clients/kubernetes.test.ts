/** Kubernetes' interface to containerd (CRI) on our snapshotter: what a kubelet asks for a pod. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { has } from '../support/needs.js';
import { Containerd } from './support/containerd.js';
import { Cri, Pod } from './support/cri.js';
import { expectNothingLeft } from './support/leftovers.js';
import { busyboxTree, writeImage } from './support/ociImage.js';
import { MOUNTS, unmountBelow } from './support/union.js';

const PROGRAMS = ['containerd', 'ctr', 'runc', 'busybox'];
const PAUSE = 'docker.io/library/pause:1';
const SMALL = 'docker.io/library/small:1';

interface Usage {
  readonly fs_id: { readonly mountpoint: string };
  readonly used_bytes: { readonly value: string };
}

describe.skipIf(!has({ ...MOUNTS, programs: PROGRAMS }))('a pod on the snapshotter', () => {
  let dir: string;
  let engine: Containerd;
  let cri: Cri;
  const pods: Pod[] = [];

  const pod = async (name: string): Promise<Pod> => {
    const made = new Pod(cri, name, `${dir}/logs`);
    pods.push(made);
    await made.run();
    return made;
  };

  beforeAll(async () => {
    dir = await mkdtemp('/var/tmp/stratafs-clients-');
    for (const name of ['logs', 'cni', 'engine']) mkdirSync(`${dir}/${name}`);
    await busyboxTree(`${dir}/busybox`);
    const layers = [{ kind: 'tree', root: `${dir}/busybox` }] as const;
    await writeImage(`${dir}/pause.tar`, PAUSE, layers, ['/bin/sleep', '1000']);
    await writeImage(`${dir}/small.tar`, SMALL, layers);
    writeFileSync(`${dir}/busybox/etc/opt/earlier`, 'earlier\n');
    await writeImage(`${dir}/earlier.tar`, 'docker.io/library/earlier:1', layers);
    engine = await Containerd.start(`${dir}/engine`, { sandboxImage: PAUSE });
    for (const name of ['pause', 'small']) {
      await engine.with('stratafs')(['images', 'import', `${dir}/${name}.tar`]);
    }
    cri = new Cri(engine.socket);
    // CRI hears of images a moment later.
    for (let tries = 0; ; tries++) {
      const { images } = await cri.call<{ images: { repo_tags: string[] }[] }>('ListImages');
      if (images.some(({ repo_tags: tags }) => tags.includes(SMALL))) break;
      if (tries > 100) throw new Error('CRI does not see the image');
      await sleep(100);
    }
  }, 120_000);

  afterEach(async () => {
    for (const each of pods.splice(0)) await each.remove();
  });

  afterAll(async () => {
    try {
      cri.close();
      await engine.stop();
      await unmountBelow(dir);
      await expectNothingLeft(dir);
    } finally {
      await unmountBelow(dir);
      await rm(dir, { recursive: true, force: true });
    }
  });

  it('has containers that change their images, each for itself', async () => {
    const own = await pod('changes');
    const first = await own.container('first', SMALL);
    const second = await own.container('second', SMALL);
    expect(await own.exec(first, 'grep " / " /proc/mounts')).toContain('fuse.stratafs');
    const change =
      'rm /etc/opt/f1; mv /etc/opt/sub /etc/opt/moved; echo more >> /etc/opt/f2; ls /etc/opt';
    expect(await own.exec(first, change)).toBe('f2\nf3\nf4\nf5\nmoved\n');
    expect(await own.exec(second, 'ls /etc/opt; cat /etc/opt/f2')).toBe(
      'f1\nf2\nf3\nf4\nf5\nsub\n2\n',
    );
    await own.removeContainer(first);
    // A new one begins with the image.
    const again = await own.container('again', SMALL);
    expect(await own.exec(again, 'cat /etc/opt/f1')).toBe('1\n');
  });

  it('has images that were pulled before there was the snapshotter', async () => {
    const name = 'docker.io/library/earlier:1';
    await engine.with('overlayfs')(['images', 'import', `${dir}/earlier.tar`]);
    const own = await pod('earlier');
    const container = await own.container('earlier', name);
    expect(await own.exec(container, 'cat /etc/opt/earlier')).toBe('earlier\n');
  });

  it('has a container whose root is read-only', async () => {
    const own = await pod('readonly');
    const container = await own.container('readonly', SMALL, true);
    await expect(own.exec(container, 'echo x > /new')).rejects.toThrow('Read-only file system');
    expect(await own.exec(container, 'cat /etc/opt/f3')).toBe('3\n');
  });

  it('goes on while the snapshotter is killed and comes again', async () => {
    const own = await pod('restart');
    const container = await own.container('restart', SMALL);
    await own.exec(container, 'echo before > /before');
    await engine.endSnapshotter('SIGKILL');
    expect(await own.exec(container, 'cat /before; echo meanwhile > /meanwhile')).toBe('before\n');
    await engine.restartSnapshotter();
    expect(await own.exec(container, 'cat /meanwhile')).toBe('meanwhile\n');
    const later = await own.container('later', SMALL);
    expect(await own.exec(later, 'cat /etc/opt/f4')).toBe('4\n');
  });

  it('tells the kubelet what images and containers take', async () => {
    const own = await pod('usage');
    const container = await own.container('usage', SMALL);
    await own.exec(container, 'dd if=/dev/zero of=/big bs=1M count=8 2>/dev/null; sync');
    // containerd collects this every ten seconds.
    let written = 0;
    for (let tries = 0; tries < 300 && written < 8 << 20; tries++) {
      const { stats } = await cri.call<{ stats: { writable_layer: Usage | null } }>(
        'ContainerStats',
        {
          container_id: container,
        },
      );
      written = Number(stats.writable_layer?.used_bytes.value ?? 0);
      await sleep(100);
    }
    expect(written).toBeGreaterThanOrEqual(8 << 20);
    const { image_filesystems: places } = await cri.call<{ image_filesystems: Usage[] }>(
      'ImageFsInfo',
    );
    expect(places.map(({ fs_id: id }) => id.mountpoint)).toEqual([
      // 1.6 guesses a directory of its own; 2.x takes exports.root.
      engine.major < 2
        ? expect.stringContaining('io.containerd.snapshotter.v1.stratafs')
        : engine.root,
    ]);
    expect(Number(places[0]?.used_bytes.value)).toBeGreaterThan(1 << 20);
  });
});
