/** What every beginner reads about images, as tests; and names, removal, gc and fsck. */
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { beforeEach, describe, expect, test } from 'vitest';
import { survey, sweep } from '../../src/store/collect/gc.js';
import { pruneImages, removeImage } from '../../src/store/collect/removeImages.js';
import { blobPath } from '../../src/store/content/blobs.js';
import { findImage, resolveImage } from '../../src/store/images/find.js';
import { imageHistory } from '../../src/store/images/history.js';
import { inspectImage } from '../../src/store/images/inspect.js';
import { listImages } from '../../src/store/images/list.js';
import { parseReference, withDefaultTag } from '../../src/store/images/reference.js';
import { setReference } from '../../src/store/images/tags.js';
import { imageTree } from '../../src/store/images/tree.js';
import { chainIds } from '../../src/store/layers/chain.js';
import { isSound, verifyLayer } from '../../src/store/layers/verify.js';
import { fsck } from '../../src/store/mend/fsck.js';
import { repairLayer } from '../../src/store/mend/repair.js';
import { type Digest, hexOf } from '../../src/store/state/ids.js';
import type { Store } from '../../src/store/state/store.js';
import { loadTar } from '../../src/store/transfer/load.js';
import { importRootfs } from '../../src/store/transfer/rootfs.js';
import { has } from '../support/needs.js';
import { scratch } from '../support/run.js';
import { asSource, dockerArchive, makeImage, newStore } from '../support/storeImages.js';

const BASE = [
  { name: './', type: '5', mode: 0o755 },
  { name: './etc/', type: '5', mode: 0o755 },
  { name: './etc/one', data: 'one\n' },
  { name: './etc/two', data: 'two\n' },
];
const TOP = [
  { name: './etc/', type: '5', mode: 0o755 },
  { name: './etc/.wh.two', data: '' },
  { name: './etc/three', data: 'three\n' },
];

const base = makeImage([BASE]);
const app = makeImage([BASE, TOP], { author: 'a' });

describe.skipIf(!has({ root: true }))('images', () => {
  let store: Store;

  const load = (...images: [typeof base, string][]) =>
    loadTar(store, asSource(dockerArchive(images.map(([image, tag]) => ({ image, tags: [tag] })))));
  const idOf = (text: string) => findImage(store, text);
  const layerOf = (image: typeof base, i: number) =>
    (image.config as { rootfs: { diff_ids: Digest[] } }).rootfs.diff_ids[i];
  const blobs = () => readdirSync(`${store.root}/content/blobs/sha256`);
  const tag = (name: string, id: Digest) =>
    store.locked(() => setReference(store, withDefaultTag(parseReference(name)), id));
  const container = (image: typeof base) => {
    const uses = [
      `images/${hexOf(image.id as Digest)}`,
      ...image.layers.map((_, i) => `layers/${hexOf(layerOf(image, i))}`),
    ];
    store.publish('containers', 'c'.repeat(64), { uses: uses as `images/${string}`[] });
  };

  beforeEach(async () => {
    store = await newStore();
  });

  describe('as the concept texts have them', () => {
    test('images never change: what is loaded again, tagged or lies below another stays as it is', async () => {
      await load([base, 'base:1']);
      const before = JSON.stringify(inspectImage(store, 'base:1'));
      const tree = statSync(`${resolveImage(store, 'base:1').layers[0]}/etc/one`, { bigint: true });
      await load([base, 'base:1'], [app, 'app:1']);
      await tag('other', base.id as Digest);
      const after = inspectImage(store, 'base:1') as { RepoTags: string[] };
      expect(after.RepoTags).toEqual(['base:1', 'other:latest']);
      expect(JSON.stringify({ ...after, RepoTags: ['base:1'] })).toBe(before);
      const same = statSync(`${resolveImage(store, 'base:1').layers[0]}/etc/one`, { bigint: true });
      expect([same.ino, same.ctimeNs]).toEqual([tree.ino, tree.ctimeNs]);
    });

    test('a layer is stored once, however many images use it', async () => {
      await load([base, 'base:1'], [app, 'app:1']);
      expect(store.list('layers')).toHaveLength(2);
      expect(resolveImage(store, 'app:1').layers[1]).toBe(resolveImage(store, 'base:1').layers[0]);
      // Two layers, two configs, two manifests.
      expect(blobs()).toHaveLength(6);
    });

    test('the ID changes with the content, and only with it', async () => {
      const other = makeImage([[...BASE.slice(0, 2), { name: './etc/one', data: 'one!' }]]);
      await load([base, 'a:1'], [other, 'a:2'], [base, 'a:3']);
      expect(idOf('a:1')).toBe(base.id);
      expect(idOf('a:2')).not.toBe(base.id);
      expect(idOf('a:3')).toBe(base.id);
    });

    test('an image that is updated leaves the container on the old one', async () => {
      await load([base, 'a:1']);
      container(base);
      await load([app, 'a:1']);
      expect(idOf('a:1')).toBe(app.id);
      await sweep(store);
      expect(idOf(base.id)).toBe(base.id);
      expect(existsSync(resolveImage(store, base.id).layers[0])).toBe(true);
    });
  });

  describe('are found', () => {
    test('by name, ID, and the beginning of an ID', async () => {
      await load([base, 'base:1'], [app, 'docker.io/library/app']);
      expect(idOf('app')).toBe(app.id);
      expect(idOf('app:latest')).toBe(app.id);
      expect(idOf(hexOf(app.id as Digest).slice(0, 12))).toBe(app.id);
      expect(idOf(app.id)).toBe(app.id);
      expect(idOf('app:2')).toBeUndefined();
      expect(idOf('nope')).toBeUndefined();
    });

    test('with their steps, sizes, layers and chain ids', async () => {
      await load([app, 'app:1']);
      const steps = imageHistory(store, 'app:1');
      expect(steps.map(({ createdBy, size }) => [createdBy, size])).toEqual([
        ['step 1', 6],
        ['step 0', 8],
      ]);
      const ids = [layerOf(app, 0), layerOf(app, 1)];
      expect(inspectImage(store, 'app:1')).toMatchObject({
        Id: app.id,
        RootFS: { Type: 'layers', Layers: ids },
        Size: 14,
        Config: { Cmd: ['/bin/sh'], Labels: { a: 'b' } },
      });
      expect(chainIds(ids)[0]).toBe(ids[0]);
      expect(listImages(store)).toHaveLength(1);
    });

    test('as a tree of shared layers', async () => {
      await load([base, 'base:1'], [app, 'app:1']);
      expect(imageTree(store, () => true).map(({ layer, images }) => [layer, images])).toEqual([
        [layerOf(app, 0), ['base:1']],
        [layerOf(app, 1), ['app:1']],
      ]);
    });
  });

  describe('are removed', () => {
    test('name by name; the last one takes the image and what nobody else needs', async () => {
      await load([base, 'base:1'], [app, 'app:1']);
      await tag('again:1', app.id as Digest);
      expect(await removeImage(store, 'again:1')).toEqual({ untagged: ['again:1'], deleted: [] });
      const { untagged, deleted } = await removeImage(store, 'app:1');
      expect(untagged).toEqual(['app:1']);
      expect(deleted).toEqual([app.id, chainIds([layerOf(app, 0), layerOf(app, 1)])[1]]);
      expect(store.list('layers')).toEqual([hexOf(layerOf(base, 0))]);
      expect((await removeImage(store, 'base:1')).untagged).toEqual(['base:1']);
      expect([store.list('layers'), blobs()]).toEqual([[], []]);
    });

    test('not while a container uses them, unless forced: then the layers stay', async () => {
      await load([app, 'app:1']);
      container(app);
      await expect(removeImage(store, 'app:1')).rejects.toThrow(
        /^conflict: unable to remove repository reference "app:1" \(must force\) - container cccccccccccc is using its referenced image/,
      );
      await removeImage(store, 'app:1', { force: true });
      expect(store.list('layers')).toHaveLength(2);
      store.remove('containers', 'c'.repeat(64));
      expect((await pruneImages(store, false, () => true)).deleted).toEqual([app.id]);
      expect([store.list('layers'), blobs()]).toEqual([[], []]);
    });

    test('not by ID while several repositories name them, unless forced', async () => {
      await load([base, 'a:1']);
      await tag('b:1', base.id as Digest);
      await expect(removeImage(store, base.id)).rejects.toThrow(
        /must be forced.*multiple repositories/,
      );
      const { untagged } = await removeImage(store, base.id, { force: true });
      expect([...untagged].sort()).toEqual(['a:1', 'b:1']);
      expect(store.list('repositories')).toEqual([]);
    });

    test('prune takes what has no tag, or with --all what no container uses', async () => {
      await load([base, 'a:1'], [app, 'b:1']);
      await load([app, 'a:1']);
      expect((await pruneImages(store, false, () => true)).deleted).toEqual([base.id]);
      container(app);
      expect((await pruneImages(store, true, () => true)).deleted).toEqual([]);
    });
  });

  describe('gc', () => {
    test('says why each object lives or goes, and takes only what nothing needs', async () => {
      await load([app, 'app:1']);
      container(app);
      writeFileSync(`${store.root}/content/blobs/sha256/${'0'.repeat(64)}`, 'x');
      const verdicts = await survey(store);
      expect(verdicts.find(({ object }) => object === `blobs/${'0'.repeat(64)}`)).toEqual({
        object: `blobs/${'0'.repeat(64)}`,
        keep: false,
        reason: 'no image, container, volume or command uses it',
        bytes: 1,
      });
      const layer = verdicts.find(({ object }) => object === `layers/${hexOf(layerOf(app, 0))}`);
      expect(layer).toMatchObject({
        keep: true,
        reason: 'used by image app:1, container cccccccccccc',
      });
      expect((await sweep(store)).removed).toEqual([`blobs/${'0'.repeat(64)}`]);
      expect((await survey(store)).every(({ keep }) => keep)).toBe(true);
    });

    test('leaves what a command under way relies on', async () => {
      const lease = await store.lease();
      const hex = '1'.repeat(64);
      writeFileSync(`${store.root}/content/blobs/sha256/${hex}`, 'x');
      lease.keep(`blobs/${hex}`);
      expect((await sweep(store)).removed).toEqual([]);
      lease.release();
      expect((await sweep(store)).removed).toEqual([`blobs/${hex}`]);
    });
  });

  describe('a layer', () => {
    const damage = (path: string, text: string) => {
      writeFileSync(`${resolveImage(store, 'app:1').layers[1]}/${path}`, text);
    };

    test('that has changed is found, path by path, and mended alone', async () => {
      await load([app, 'app:1']);
      const [bottom, top] = [layerOf(app, 0), layerOf(app, 1)];
      expect(isSound(await verifyLayer(store, bottom))).toBe(true);
      damage('etc/one', 'ONE\n');
      damage('etc/more', '');
      const { differences } = await verifyLayer(store, bottom);
      expect(differences.filter(({ what }) => what !== 'time')).toEqual([
        { path: '/etc/more', what: 'added' },
      ]);
      expect(differences.map(({ path }) => path)).toContain('/etc/one');
      const before = statSync(resolveImage(store, 'app:1').layers[0]).ino;
      expect(await repairLayer(store, bottom)).toHaveLength(1);
      expect(isSound(await verifyLayer(store, bottom))).toBe(true);
      expect(readFileSync(`${resolveImage(store, 'app:1').layers[1]}/etc/one`, 'utf8')).toBe(
        'one\n',
      );
      expect(statSync(resolveImage(store, 'app:1').layers[0]).ino).toBe(before);
      expect(await repairLayer(store, top)).toEqual([]);
    });

    test('whose archive only implies a directory has it as it is below, and stays sound', async () => {
      const sticky = [{ name: './tmp/', type: '5', mode: 0o1777 }];
      const plain = [{ name: './tmp/', type: '5', mode: 0o700 }];
      const upper = [{ name: 'tmp/x', data: 'x' }];
      const [first, second] = [makeImage([sticky, upper]), makeImage([plain, upper])];
      await load([first, 'first:1']);
      expect(statSync(`${resolveImage(store, 'first:1').layers[0]}/tmp`).mode & 0o7777).toBe(
        0o1777,
      );
      await load([second, 'second:1']);
      for (const i of [0, 1]) {
        expect(isSound(await verifyLayer(store, layerOf(first, i)))).toBe(true);
        expect(isSound(await verifyLayer(store, layerOf(second, i)))).toBe(true);
      }
      await removeImage(store, 'second:1');
      expect(isSound(await verifyLayer(store, layerOf(first, 1)))).toBe(true);
    });

    test('with the same size and time, but other bytes, is found too', async () => {
      await load([app, 'app:1']);
      const path = `${resolveImage(store, 'app:1').layers[1]}/etc/one`;
      const { atime, mtime } = statSync(path);
      writeFileSync(path, 'oNe\n');
      utimesSync(path, atime, mtime);
      const { differences } = await verifyLayer(store, layerOf(app, 0));
      expect(differences).toEqual([{ path: '/etc/one', what: 'content' }]);
    });

    test('whose blob is lost is packed again when its files are right, and the image stays', async () => {
      const root = scratch('rootfs');
      mkdirSync(`${root}/etc`);
      writeFileSync(`${root}/etc/one`, 'one\n');
      const id = await importRootfs(store, { directory: root });
      const [layer] = resolveImage(store, id).config.rootfs.diff_ids;
      rmSync(blobPath(store, layer));
      expect(await verifyLayer(store, layer)).toMatchObject({ judged: true, differences: [] });
      expect(await repairLayer(store, layer)).toHaveLength(1);
      expect(isSound(await verifyLayer(store, layer))).toBe(true);
      expect(resolveImage(store, id).id).toBe(id);
      rmSync(blobPath(store, layer));
      expect(await fsck(store)).toHaveLength(1);
      expect(await fsck(store, { deep: true })).toEqual([]);
    });

    test('whose blob is lost and whose files prove nothing is not called mended', async () => {
      await load([app, 'app:1']);
      // Written by another program: packed again it is another archive.
      rmSync(blobPath(store, layerOf(app, 1)));
      expect((await verifyLayer(store, layerOf(app, 1))).judged).toBe(false);
      await expect(repairLayer(store, layerOf(app, 1))).rejects.toThrow(
        /cannot be mended: blob .* is missing/,
      );
      expect((await fsck(store)).map(({ mended }) => mended)).toEqual([undefined]);
    });
  });

  describe('fsck', () => {
    const check = async (options = {}) =>
      (await fsck(store, options)).map(
        ({ object, problem, mended }) => `${object}: ${problem}: ${mended ?? '-'}`,
      );

    beforeEach(async () => {
      await load([base, 'base:1'], [app, 'app:1']);
    });

    test('finds nothing in a good store', async () => {
      expect(await check({ deep: true })).toEqual([]);
    });

    test('makes a damaged or lost image record again from content', async () => {
      const path = `${store.root}/state/images/${hexOf(app.id as Digest)}.json`;
      const before = JSON.parse(readFileSync(path, 'utf8')) as object;
      for (const spoil of [() => writeFileSync(path, '{"id"'), () => rmSync(path)]) {
        spoil();
        expect(await check({ dryRun: true })).toHaveLength(1);
        expect((await check())[0]).toMatch(/it was made again from its manifest$/);
        expect({ ...(JSON.parse(readFileSync(path, 'utf8')) as object), added: 0 }).toEqual({
          ...before,
          added: 0,
        });
        expect(await check({ deep: true })).toEqual([]);
      }
    });

    test('unpacks a lost layer again: its record, its files, or both', async () => {
      const key = hexOf(layerOf(app, 0));
      const record = () => rmSync(`${store.root}/state/layers/${key}.json`);
      const files = () => rmSync(`${store.root}/layers/${key}`, { recursive: true });
      for (const parts of [[record], [files], [record, files]]) {
        for (const spoil of parts) spoil();
        expect((await check()).join()).toMatch(/it was unpacked again from its blob/);
        expect(await check({ deep: true })).toEqual([]);
      }
    });

    test('takes tags from the index when their record is damaged, and removes what leads nowhere', async () => {
      const [first] = store.list('repositories');
      writeFileSync(`${store.root}/state/repositories/${first}.json`, 'X');
      expect((await check())[0]).toMatch(/its tags were taken from content\/index.json/);
      expect([idOf('app:1'), idOf('base:1')]).toEqual([app.id, base.id]);
      await tag('ghost:1', `sha256:${'9'.repeat(64)}`);
      expect(await check()).toEqual([
        'docker.io/library/ghost:1: its image 999999999999 is missing: the name was removed',
      ]);
    });

    test('sweeps what crashes have left', async () => {
      writeFileSync(`${store.root}/state/images/.999999999-abc.tmp`, '');
      writeFileSync(`${store.root}/content/blobs/sha256/${'0'.repeat(64)}`, 'x');
      const found = await check();
      expect(found).toHaveLength(2);
      expect(found.every((line) => line.endsWith('removed'))).toBe(true);
      expect(await check()).toEqual([]);
    });

    test('deep: finds a bad bit in a blob and in a file', async () => {
      const layer = layerOf(app, 0);
      const blob = blobPath(store, layer);
      const data = readFileSync(blob);
      data[600] ^= 1;
      writeFileSync(blob, data);
      expect(await check({ dryRun: true })).toEqual([]);
      expect((await check({ dryRun: true, deep: true })).join()).toMatch(
        /its digest is another one/,
      );
      data[600] ^= 1;
      writeFileSync(blob, data);
      writeFileSync(`${store.root}/layers/${hexOf(layer)}/etc/one`, 'bad\n');
      expect((await check({ deep: true })).join()).toMatch(/was unpacked again/);
      expect(await check({ deep: true })).toEqual([]);
    });
  });
});
