/** Archives, manifests and configs that lie: one sentence each, and nothing is left of them. */
import { existsSync, readdirSync } from 'node:fs';
import { beforeEach, describe, expect, test } from 'vitest';
import { UserError } from '../../src/base/errno.js';
import { sweep } from '../../src/store/collect/gc.js';
import type { Store } from '../../src/store/state/store.js';
import { loadTar } from '../../src/store/transfer/load.js';
import { importRootfs } from '../../src/store/transfer/rootfs.js';
import { has } from '../support/needs.js';
import {
  asSource,
  dockerArchive,
  makeImage,
  newStore,
  ociArchive,
  sha256,
} from '../support/storeImages.js';
import { tarball } from '../support/tarball.js';

const FILES = [{ name: 'a', data: 'a' }];
const image = makeImage([FILES]);
const manifestOf = (value: unknown) =>
  tarball([{ name: 'manifest.json', data: JSON.stringify(value) }]);
const config = (more: object) =>
  dockerArchive([{ image: makeImage([FILES], more), tags: ['a:1'] }]);
const blobs = (edit: (all: Map<string, Buffer>) => void) => ociArchive(image, edit);
const isLayer = (data: Buffer) => data.length % 512 === 0;

/** Replaces the manifest, and the index's word for it, by another. */
function withManifest(change: (manifest: Record<string, unknown>) => unknown): Buffer {
  return blobs((all) => {
    const [name, data] = [...all].find(([, bytes]) => bytes.includes('"layers":['))!;
    all.delete(name);
    const next = Buffer.from(
      JSON.stringify(change(JSON.parse(data.toString()) as Record<string, unknown>)),
    );
    const digest = sha256(next);
    all.set(`blobs/sha256/${digest.slice(7)}`, next);
    const mediaType = 'application/vnd.oci.image.manifest.v1+json';
    const index = { schemaVersion: 2, manifests: [{ mediaType, digest, size: next.length }] };
    all.set('index.json', Buffer.from(JSON.stringify(index)));
  });
}

const index = (value: unknown) =>
  blobs((all) =>
    all.set('index.json', Buffer.from(typeof value === 'string' ? value : JSON.stringify(value))),
  );

const CASES: readonly [name: string, archive: Buffer, message: RegExp][] = [
  ['nothing', tarball([]), /neither manifest.json nor oci-layout/],
  ['no tar at all', Buffer.from('GIF89a'.repeat(200)), /archive|tar/],
  ['cut off', dockerArchive([{ image, tags: [] }]).subarray(0, 1200), /archive/],
  [
    'a manifest that is no JSON',
    tarball([{ name: 'manifest.json', data: '[{' }]),
    /manifest.json is not JSON/,
  ],
  ['a manifest that is no list', manifestOf({ Config: 'x' }), /not a list of images/],
  ['10,000 images', manifestOf(Array.from({ length: 10_000 }, () => ({}))), /not a list of images/],
  ['no Layers', manifestOf([{ Config: 'x' }]), /no Config or Layers/],
  ['Layers of numbers', manifestOf([{ Config: 'x', Layers: [1] }]), /no Config or Layers/],
  [
    'a config outside',
    manifestOf([{ Config: '../../../../etc/passwd', Layers: [] }]),
    /has no "..\/..\/..\/..\/etc\/passwd"/,
  ],
  [
    'a layer that is a symlink outside',
    tarball([
      { name: 'c.json', data: JSON.stringify(image.config) },
      { name: 'layer.tar', type: '2', target: '../../../../etc/passwd' },
      {
        name: 'manifest.json',
        data: JSON.stringify([{ Config: 'c.json', Layers: ['layer.tar'] }]),
      },
    ]),
    /has no "layer.tar"/,
  ],
  ['a config of 9 MiB', config({ author: 'x'.repeat(9 << 20) }), /too large for a JSON document/],
  [
    'diff ids that are none',
    config({ rootfs: { type: 'layers', diff_ids: ['sha256:../../../x'] } }),
    /not a sha256 digest/,
  ],
  [
    'more diff ids than layers',
    config({ rootfs: { type: 'layers', diff_ids: [sha256('a'), sha256('b')] } }),
    /has 1 layers and the config has 2/,
  ],
  [
    'another diff id',
    config({ rootfs: { type: 'layers', diff_ids: [sha256('x')] } }),
    /diff|digest/,
  ],
  [
    'another kind of rootfs',
    config({ rootfs: { type: 'base', diff_ids: [] } }),
    /no rootfs of type layers/,
  ],
  ['no rootfs', config({ rootfs: null }), /no rootfs of type layers/],
  [
    '5,000 layers',
    config({
      rootfs: { type: 'layers', diff_ids: Array.from({ length: 5000 }, () => sha256('')) },
    }),
    /5000 layers: at most/,
  ],
  ['Env that is a map', config({ config: { Env: { A: 'b' } } }), /config.Env is not a list/],
  ['Cmd of numbers', config({ config: { Cmd: [1] } }), /config.Cmd\[0\] is not a string/],
  ['Env with a NUL', config({ config: { Env: ['A=\0'] } }), /Env\[0\] is not a string/],
  ['Labels of lists', config({ config: { Labels: { a: [] } } }), /Labels is not a string/],
  ['history that is text', config({ history: 'long' }), /history is not a list/],
  [
    'a name that is none',
    dockerArchive([{ image, tags: ['../../etc:passwd'] }]),
    /invalid reference format/,
  ],
  ['a name in capitals', dockerArchive([{ image, tags: ['Debian:1'] }]), /must be lowercase/],
  [
    'a layer with another digest',
    blobs((all) => {
      for (const [name, data] of all)
        if (isLayer(data)) all.set(name, Buffer.concat([data, Buffer.alloc(512)]));
    }),
    /has the digest .* instead of/,
  ],
  [
    'a config with another digest',
    blobs((all) => {
      for (const [name, data] of all)
        if (data.includes('diff_ids')) all.set(name, Buffer.concat([data, Buffer.from(' ')]));
    }),
    /the image config has the digest/,
  ],
  [
    'a layer that is not there',
    blobs((all) => {
      for (const [name, data] of all) if (isLayer(data)) all.delete(name);
    }),
    /has no "blobs\/sha256/,
  ],
  ['an index that is no JSON', index('{'), /index.json is not JSON/],
  [
    'an index without manifests',
    index({ schemaVersion: 2 }),
    /index.json of the layout is not a list/,
  ],
  [
    'an index of paths',
    index({ manifests: [{ digest: 'sha256:../../../../etc/passwd', size: 1 }] }),
    /not a sha256 digest/,
  ],
  [
    'an index of negative sizes',
    index({ manifests: [{ digest: sha256(''), size: -1 }] }),
    /not a number of bytes/,
  ],
  [
    'only other platforms',
    index({
      manifests: [{ digest: sha256(''), size: 1, platform: { os: 'plan9', architecture: 'mips' } }],
    }),
    /no image for linux\/.*, only for plan9\/mips/,
  ],
  [
    'a manifest of schema 1',
    withManifest(() => ({ schemaVersion: 1, fsLayers: [], note: '"layers":[' })),
    /not of schema version 2/,
  ],
  [
    'a manifest of no image',
    withManifest((m) => ({
      ...m,
      config: { ...(m['config'] as object), mediaType: 'application/vnd.cncf.helm.config.v1+json' },
    })),
    /the manifest is of no image/,
  ],
  [
    'a layer of an unknown type',
    withManifest((m) => ({
      ...m,
      layers: (m['layers'] as object[]).map((l) => ({ ...l, mediaType: 'text/plain' })),
    })),
    /unknown type 'text\/plain'/,
  ],
  [
    'a layer of another size',
    withManifest((m) => ({
      ...m,
      layers: (m['layers'] as object[]).map((l) => ({ ...l, size: 7 })),
    })),
    /instead of 7/,
  ],
  [
    'a layer whose names climb',
    dockerArchive([{ image: makeImage([[{ name: '../../evil', data: 'x' }]]), tags: [] }]),
    /evil/,
  ],
  [
    'a layer that writes through its own link',
    dockerArchive([
      {
        image: makeImage([
          [
            { name: 'l', type: '2', target: '/tmp' },
            { name: 'l/evil', data: 'x' },
          ],
        ]),
        tags: [],
      },
    ]),
    /./,
  ],
];

describe.skipIf(!has({ root: true }))('hostile images', () => {
  let store: Store;

  const nothingLeft = async () => {
    for (const path of ['leases', 'trash', 'layers', 'content/blobs/sha256']) {
      expect(readdirSync(`${store.root}/${path}`), path).toEqual([]);
    }
    for (const kind of ['images', 'layers', 'repositories'] as const)
      expect(store.list(kind)).toEqual([]);
    expect((await sweep(store)).removed).toEqual([]);
  };

  beforeEach(async () => {
    store = await newStore();
  });

  test.each(CASES)('%s', async (name, archive, message) => {
    const error = await loadTar(store, asSource(archive)).then(
      () => undefined,
      (reason: unknown) => reason,
    );
    if (name === 'a layer that writes through its own link' && error === undefined) {
      // The link was replaced by a directory, as Docker does: nothing was written through it.
      expect(existsSync('/tmp/evil')).toBe(false);
      return;
    }
    expect(error, String(error)).toBeInstanceOf(UserError);
    const text = (error as UserError).message;
    expect(text).toMatch(message);
    expect(text).not.toMatch(/\n/);
    expect(text.length).toBeLessThan(600);
    await nothingLeft();
  });

  test('the second image of an archive is bad: the first one has no name and goes', async () => {
    const bad = makeImage([FILES], { rootfs: { type: 'layers', diff_ids: [sha256('x')] } });
    const archive = dockerArchive([
      { image, tags: ['good:1'] },
      { image: bad, tags: ['bad:1'] },
    ]);
    await expect(loadTar(store, asSource(archive))).rejects.toThrow(UserError);
    await nothingLeft();
  });

  test('a root file system that is no tar, or climbs out', async () => {
    for (const data of [
      Buffer.from('x'.repeat(2000)),
      tarball([{ name: '/../../evil', data: 'x' }]),
    ]) {
      await expect(importRootfs(store, asSource(data))).rejects.toThrow(UserError);
      await nothingLeft();
    }
    await expect(
      importRootfs(store, asSource(tarball(FILES)), { changes: ['RUN x'] }),
    ).rejects.toThrow(/is no change/);
    await nothingLeft();
  });
});
