import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { has } from '../support/needs.js';
import { differences, manifest } from './support/manifest.js';
import { bash, run } from './support/run.js';
import { makeImages, type TestStore, testStore } from './support/store.js';
import { MOUNTS, mountUnion, STRATAFS, unmount, unmountBelow } from './support/union.js';

const PROGRAMS = ['buildah', 'podman', 'skopeo', 'umoci', 'oci-image-tool', 'busybox', 'setfattr'];

describe.skipIf(!has({ ...MOUNTS, programs: PROGRAMS }))('images in and out of the store', () => {
  let store: TestStore;
  let id: string;

  beforeAll(async () => {
    store = await testStore();
    await makeImages(store.dir);
    await store.ok('load', '-i', `${store.dir}/app.tar`);
    id = await store.ok('image', 'inspect', '-f', '{{.Id}}', 'localhost/app:1');
  }, 300_000);

  afterAll(async () => {
    await unmountBelow(store.dir);
    await store.remove();
  });

  /** The tree that a mount of an image shows. */
  async function treeOf(image: string) {
    const format = '{{.GraphDriver.Data.UpperDir}}{{with .GraphDriver.Data.LowerDir}}:{{.}}{{end}}';
    const layers = (await store.ok('image', 'inspect', '-f', format, image)).split(':');
    // Kernel overlayfs mounts two layers or more.
    if (layers.length === 1) return manifest(layers[0]);
    const at = `${store.dir}/mnt`;
    await mkdir(at, { recursive: true });
    await run('mount', ['-t', 'overlay', 'overlay', '-o', `lowerdir=${layers.join(':')}`, at]);
    try {
      return await manifest(at);
    } finally {
      await run('umount', [at]);
    }
  }

  const umociTree = async (layout: string, name: string) => {
    const bundle = `${store.dir}/bundle-${name}`;
    await run('umoci', ['unpack', '--image', `${layout}:1`, bundle], { timeout: 120_000 });
    return manifest(`${bundle}/rootfs`);
  };

  it('keeps the ID that podman and buildah gave', async () => {
    const config = await bash(
      `skopeo inspect --raw oci:${store.dir}/app.oci:1 | jq -r .config.digest`,
    );
    expect(id).toBe(config.stdout.trim());
  });

  it('shows the tree that umoci unpacks, every attribute of it', async () => {
    const theirs = await umociTree(`${store.dir}/app.oci`, 'theirs');
    expect(differences(await treeOf('localhost/app:1'), theirs)).toEqual([]);
  });

  it('gives one image from an archive, a layout, an oci-archive and stdin', async () => {
    await run('skopeo', [
      'copy',
      '-q',
      `oci:${store.dir}/app.oci:1`,
      `oci-archive:${store.dir}/app.oa:localhost/oa:1`,
    ]);
    await store.ok('load', '-q', '-i', `${store.dir}/app.oci`);
    await store.ok('import', `${store.dir}/app.oa`);
    await bash(`gzip -kf ${store.dir}/app.tar`);
    const piped = await bash(`"$BIN" load < ${store.dir}/app.tar.gz`, {
      env: { ...store.env, BIN: STRATAFS },
    });
    expect(piped.stdout).toBe('Loaded image: localhost/app:1\n');
    expect(await store.ok('images', '-q', '--no-trunc')).toBe(id);
    expect(await store.ok('images', '--format', '{{.Repository}}:{{.Tag}}', 'localhost/oa')).toBe(
      'localhost/oa:1',
    );
  });

  describe('saves', () => {
    it('an archive that podman and skopeo take, with the same ID and layers', async () => {
      const file = `${store.dir}/both.tar`;
      await store.ok('save', '-o', file, 'localhost/app:1');
      const podman = [
        '--root',
        `${store.dir}/ps`,
        '--runroot',
        `${store.dir}/pr`,
        '--storage-driver',
        'vfs',
      ];
      const loaded = await run('podman', [...podman, 'load', '-q', '-i', file], {
        timeout: 120_000,
      });
      expect(loaded.stdout).toContain('Loaded image: localhost/app:1');
      const ids = await run('podman', [...podman, 'images', '--no-trunc', '-q']);
      expect(ids.stdout.trim()).toBe(id);
      await run('podman', [...podman, 'rmi', '-fa']);
      for (const transport of ['docker-archive', 'oci-archive']) {
        const raw = await run('skopeo', ['inspect', '--config', '--raw', `${transport}:${file}`]);
        const sum = await run('sha256sum', [], { input: raw.stdout });
        expect(`sha256:${sum.stdout.slice(0, 64)}`).toBe(id);
      }
    });

    it('layouts that oci-image-tool, umoci and skopeo take', async () => {
      const layout = `${store.dir}/saved`;
      await store.ok('save', '--format', 'oci-dir', '-o', layout, 'localhost/app:1');
      const ref = 'name=localhost/app:1';
      await run('oci-image-tool', ['validate', '--type', 'image', '--ref', ref, layout]);
      await run('skopeo', [
        'copy',
        '-q',
        `oci:${layout}:localhost/app:1`,
        `oci:${store.dir}/again:1`,
      ]);
      const ours = await umociTree(`${store.dir}/again`, 'again');
      expect(differences(ours, await treeOf('localhost/app:1'))).toEqual([]);
      const archive = `${store.dir}/oci.tar`;
      await store.ok('save', '--format', 'oci-archive', '-o', archive, 'localhost/app:1');
      const digest = await run('skopeo', [
        'inspect',
        '-f',
        '{{.Digest}}',
        `oci-archive:${archive}`,
      ]);
      const inLayout = await bash(`jq -r '.manifests[0].digest' ${layout}/index.json`);
      expect(digest.stdout).toBe(inLayout.stdout);
    });

    it('several images, shared layers once', async () => {
      await store.ok('load', '-q', '-i', `${store.dir}/base.tar`);
      const file = `${store.dir}/two.tar`;
      await store.ok('save', '-o', file, 'localhost/app:1', 'localhost/base:1');
      const names = (await run('tar', ['-tf', file])).stdout.split('\n').filter(Boolean);
      expect(new Set(names).size).toBe(names.length);
      const other = await testStore();
      try {
        await run(STRATAFS, ['load', '-i', file], { env: other.env });
        const listed = await other.ok('images', '--format', '{{.Repository}}:{{.Tag}}');
        expect(listed.split('\n').sort()).toEqual(['localhost/app:1', 'localhost/base:1']);
      } finally {
        await other.remove();
      }
    });

    it('nothing to a file that exists when it fails', async () => {
      const file = `${store.dir}/keep.tar`;
      await writeFile(file, 'mine');
      const { code, stderr } = await store.run(['save', '-o', file, 'localhost/nope:1']);
      expect([code, stderr]).toEqual([1, 'stratafs: No such image: localhost/nope:1\n']);
      expect(await readFile(file, 'utf8')).toBe('mine');
      expect((await readdir(store.dir)).filter((name) => name.endsWith('.tmp'))).toEqual([]);
    });
  });

  it('its content is an OCI layout in place', async () => {
    const layout = `${store.root}/content`;
    const { stdout } = await run('skopeo', ['inspect', `oci:${layout}:localhost/app:1`]);
    expect(JSON.parse(stdout)).toMatchObject({ Architecture: expect.any(String) as string });
    // oci-image-tool of Debian takes names for ambiguous in a layout of three manifests or more.
    await run('umoci', ['ls', '--layout', layout]);
  });

  describe('root file systems', () => {
    it('a directory and a tarball of it are images with the same tree', async () => {
      const root = `${store.dir}/bundle-theirs/rootfs`;
      await bash(
        `tar -C ${root} --xattrs --xattrs-include='*' --numeric-owner -cf ${store.dir}/rootfs.tar .`,
      );
      await store.ok(
        'import',
        '-c',
        'CMD ["/bin/sh"]',
        '-c',
        'ENV A=b C="d e"',
        '-m',
        'mine',
        `${store.dir}/rootfs.tar`,
        'tarball',
      );
      await store.ok('import', root, 'directory:2');
      const theirs = await manifest(root);
      expect(differences(await treeOf('tarball'), theirs)).toEqual([]);
      expect(differences(await treeOf('directory:2'), theirs)).toEqual([]);
      const config = await store.ok(
        'image',
        'inspect',
        '-f',
        '{{json .Config.Env}} {{json .Config.Cmd}} {{.Comment}}',
        'tarball',
      );
      expect(config).toBe('["A=b","C=d e"] ["/bin/sh"] mine');
    });

    it('are reproducible with SOURCE_DATE_EPOCH', async () => {
      const once = async () =>
        (
          await run(STRATAFS, ['import', `${store.dir}/rootfs.tar`], {
            env: { ...store.env, SOURCE_DATE_EPOCH: '1000000000' },
          })
        ).stdout;
      expect(await once()).toBe(await once());
    });
  });

  it('a mount of stratafs shows the same tree', async () => {
    const format = '{{.GraphDriver.Data.UpperDir}}:{{.GraphDriver.Data.LowerDir}}';
    const layers = (await store.ok('image', 'inspect', '-f', format, 'localhost/app:1')).split(':');
    const union = await mountUnion('stratafs', layers, `${store.dir}/union`);
    try {
      const shown = new Map(await manifest(union.mountpoint));
      const wanted = new Map(await treeOf('localhost/app:1'));
      // The root is the upper's, made just now.
      for (const tree of [shown, wanted]) tree.set('/', '');
      expect(differences(shown, wanted)).toEqual([]);
    } finally {
      await unmount(union);
    }
  });
});
