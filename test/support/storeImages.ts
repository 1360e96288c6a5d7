/** Images made by hand, as a docker-archive or in pieces, so that each part of them can be wrong. */
import { createHash } from 'node:crypto';
import { openStore, type Store } from '../../src/store/state/store.js';
import { scratch } from './run.js';
import { type Member, pieces, tarball } from './tarball.js';

export const sha256 = (data: string | Buffer): string =>
  `sha256:${createHash('sha256').update(data).digest('hex')}`;

export interface MadeImage {
  /** Tars of the layers, bottom first. */
  readonly layers: readonly Buffer[];
  readonly config: object;
  readonly id: string;
}

/** An image of these layers; `more` goes into its config. */
export function makeImage(layers: readonly (readonly Member[])[], more: object = {}): MadeImage {
  const tars = layers.map(tarball);
  const config = {
    created: '2026-01-02T03:04:05Z',
    architecture: 'amd64',
    os: 'linux',
    config: { Env: ['PATH=/bin'], Cmd: ['/bin/sh'], Labels: { a: 'b' } },
    rootfs: { type: 'layers', diff_ids: tars.map(sha256) },
    history: tars.map((_, i) => ({ created: '2026-01-02T03:04:05Z', created_by: `step ${i}` })),
    ...more,
  };
  return { layers: tars, config, id: sha256(JSON.stringify(config)) };
}

/** A docker-archive of images, each with its names. */
export function dockerArchive(
  images: readonly { readonly image: MadeImage; readonly tags: readonly string[] }[],
): Buffer {
  const members = new Map<string, Member>();
  const manifest = images.map(({ image, tags }) => {
    const config = `${image.id.slice('sha256:'.length)}.json`;
    members.set(config, { name: config, data: JSON.stringify(image.config) });
    const layers = image.layers.map((data) => {
      const name = `${sha256(data).slice('sha256:'.length)}/layer.tar`;
      members.set(name, { name, data });
      return name;
    });
    return { Config: config, RepoTags: tags, Layers: layers };
  });
  return tarball([...members.values(), { name: 'manifest.json', data: JSON.stringify(manifest) }]);
}

/** An OCI layout as a tar. `edit` may spoil its blobs, by name, before they are written. */
export function ociArchive(
  image: MadeImage,
  edit: (blobs: Map<string, Buffer>) => void = () => undefined,
): Buffer {
  const blobs = new Map<string, Buffer>();
  const put = (data: Buffer, mediaType: string) => {
    const digest = sha256(data);
    blobs.set(`blobs/sha256/${digest.slice('sha256:'.length)}`, data);
    return { mediaType, digest, size: data.length };
  };
  const type = 'application/vnd.oci.image';
  const manifest = {
    schemaVersion: 2,
    config: put(Buffer.from(JSON.stringify(image.config)), `${type}.config.v1+json`),
    layers: image.layers.map((data) => put(data, `${type}.layer.v1.tar`)),
  };
  const top = put(Buffer.from(JSON.stringify(manifest)), `${type}.manifest.v1+json`);
  blobs.set('index.json', Buffer.from(JSON.stringify({ schemaVersion: 2, manifests: [top] })));
  blobs.set('oci-layout', Buffer.from('{"imageLayoutVersion":"1.0.0"}'));
  edit(blobs);
  return tarball([...blobs].map(([name, data]) => ({ name, data })));
}

export const asSource = (data: Buffer): AsyncGenerator<Buffer, void> => pieces(data, 65_536);

export const newStore = (): Promise<Store> => openStore({ root: scratch('store'), sync: false });
