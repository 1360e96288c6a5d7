import { readdir } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { has } from '../support/needs.js';
import { bash, run } from './support/run.js';
import {
  makeImages,
  type Registry,
  startRegistry,
  type TestStore,
  testStore,
} from './support/store.js';
import { MOUNTS } from './support/union.js';

const PROGRAMS = ['buildah', 'skopeo', 'docker-registry', 'busybox', 'setfattr'];

describe.skipIf(!has({ ...MOUNTS, programs: PROGRAMS }))('pull and push', () => {
  let store: TestStore;
  let registry: Registry;

  const skopeo = (...args: string[]) => run('skopeo', args, { timeout: 120_000 });
  const raw = async (name: string) =>
    (await skopeo('inspect', '--raw', '--tls-verify=false', `docker://${registry.host}/${name}`))
      .stdout;
  const digestOf = async (name: string) =>
    `sha256:${(await run('sha256sum', [], { input: await raw(name) })).stdout.slice(0, 64)}`;
  const blobs = () => readdir(`${store.root}/content/blobs/sha256`);

  beforeAll(async () => {
    store = await testStore();
    await makeImages(store.dir);
    registry = await startRegistry(store.dir);
    const put = ['copy', '-q', '--dest-tls-verify=false'];
    for (const name of ['base', 'app']) {
      await skopeo(
        ...put,
        `oci:${store.dir}/${name}.oci:1`,
        `docker://${registry.host}/${name}:oci`,
      );
      const docker = [...put, '--format', 'v2s2', `docker-archive:${store.dir}/${name}.tar`];
      await skopeo(...docker, `docker://${registry.host}/${name}:docker`);
    }
  }, 300_000);

  afterAll(async () => {
    await registry.stop();
    await store.remove();
  });

  for (const form of ['oci', 'docker']) {
    it(`pulls a manifest of ${form}, and pushes it byte for byte`, async () => {
      const name = `${registry.host}/app:${form}`;
      const said = await store.ok('pull', name);
      const digest = await digestOf(`app:${form}`);
      expect(said).toBe(
        `${form}: Pulling from app\nDigest: ${digest}\nStatus: Downloaded newer image for ${name}\n${name}`,
      );
      expect(await store.ok('image', 'inspect', '-f', '{{index .RepoDigests 0}}', name)).toBe(
        `${registry.host}/app@${digest}`,
      );
      await store.ok('tag', name, `${registry.host}/pushed:${form}`);
      const pushed = await store.ok('push', `${registry.host}/pushed:${form}`);
      expect(pushed.split('\n')[1]).toMatch(`${form}: digest: ${digest} size: `);
      expect(await raw(`pushed:${form}`)).toBe(await raw(`app:${form}`));
      expect(await store.ok('pull', name)).toContain(`Status: Image is up to date for ${name}`);
      await store.ok('rmi', '-f', name, `${registry.host}/pushed:${form}`);
      expect(await store.ok('images', '-q')).toBe('');
      expect(await blobs()).toEqual([]);
    });
  }

  it('by digest, and refuses what has another one', async () => {
    const digest = await digestOf('app:oci');
    const name = `${registry.host}/app@${digest}`;
    await store.ok('pull', '-q', name);
    expect(await store.ok('images', '--digests', '--format', '{{.Tag}} {{.Digest}}')).toBe(
      `<none> ${digest}`,
    );
    await store.ok('rmi', name);
    const { code, stderr } = await store.run([
      'pull',
      `${registry.host}/app@sha256:${'0'.repeat(64)}`,
    ]);
    expect([code, stderr.split('\n').length]).toEqual([1, 2]);
  });

  it('fetches no layer that is there already', async () => {
    await store.ok('pull', '-q', `${registry.host}/base:oci`);
    const manifest = JSON.parse(await raw('app:oci')) as { layers: { digest: string }[] };
    // Without its blob the registry could not send the shared layer.
    const shared = manifest.layers[0].digest.slice('sha256:'.length);
    const path = `${store.dir}/registry/docker/registry/v2/blobs/sha256/${shared.slice(0, 2)}/${shared}`;
    await bash(`mv ${path} ${store.dir}/away`);
    try {
      await store.ok('pull', '-q', `${registry.host}/app:oci`);
    } finally {
      await bash(`mv ${store.dir}/away ${path}`);
    }
    await store.ok('rmi', '-f', `${registry.host}/app:oci`, `${registry.host}/base:oci`);
  });

  it('a tag that moved takes the name, and the old image stays without one', async () => {
    const at = `docker://${registry.host}/moving:1`;
    await skopeo('copy', '-q', '--dest-tls-verify=false', `oci:${store.dir}/base.oci:1`, at);
    await store.ok('pull', '-q', `${registry.host}/moving:1`);
    const old = await store.ok('images', '-q', '--no-trunc');
    await skopeo('copy', '-q', '--dest-tls-verify=false', `oci:${store.dir}/app.oci:1`, at);
    await store.ok('pull', '-q', `${registry.host}/moving:1`);
    const dangling = await store.ok('images', '-q', '--no-trunc', '--filter', 'dangling=true');
    expect(dangling).toBe(old);
    expect(await store.ok('image', 'prune', '-f')).toContain(`deleted: ${old}`);
    await store.ok('rmi', `${registry.host}/moving:1`);
  });

  it('uncompressed layers are compressed on the way, and the image keeps its ID', async () => {
    await store.ok('load', '-q', '-i', `${store.dir}/app.tar`);
    const id = await store.ok('images', '-q', '--no-trunc');
    await store.ok('tag', 'localhost/app:1', `${registry.host}/loaded:1`);
    await store.ok('push', '-q', `${registry.host}/loaded:1`);
    const manifest = JSON.parse(await raw('loaded:1')) as {
      config: { digest: string };
      layers: { mediaType: string }[];
    };
    expect(manifest.config.digest).toBe(id);
    expect(manifest.layers.every(({ mediaType }) => mediaType.endsWith('gzip'))).toBe(true);
    await store.ok('rmi', '-f', id);
  });

  it('says in one sentence what is wrong', async () => {
    for (const name of [
      `${registry.host}/nope`,
      `127.0.0.1:1/a`,
      'Upper',
      `${registry.host}/base:nope`,
    ]) {
      const { code, stderr } = await store.run(['pull', '-q', name]);
      expect(code).toBe(1);
      expect(stderr, name).toMatch(/^stratafs: [^\n]+\n$/);
    }
    const { code, stderr } = await store.run(['push', `${registry.host}/not/here:1`]);
    expect([code, stderr]).toEqual([1, `stratafs: No such image: ${registry.host}/not/here:1\n`]);
  });

  it('mends a lost blob from the registry, for one layer', async () => {
    const name = `${registry.host}/app:oci`;
    await store.ok('pull', '-q', name);
    const [layer] = JSON.parse(
      await store.ok('image', 'inspect', '-f', '{{json .RootFS.Layers}}', name),
    ) as string[];
    const blob = await store.ok('layer', 'inspect', '-f', '{{.Blob.Digest}}', layer);
    const file = `${store.root}/content/blobs/sha256/${blob.slice('sha256:'.length)}`;
    await bash(
      `printf X | dd of=${file} bs=1 seek=4000 conv=notrunc status=none; rm ${store.root}/layers/${layer.slice(7)}/etc/one`,
    );
    const verified = await store.run(['layer', 'verify', layer]);
    expect([verified.code, verified.stdout]).toEqual([1, expect.stringContaining('damaged')]);
    const said = await store.ok('layer', 'repair', layer);
    expect(said).toContain('was fetched again');
    expect(said).toContain('was unpacked again');
    expect(await store.ok('layer', 'verify')).not.toContain('damaged');
  });
});
