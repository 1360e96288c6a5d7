/** Images out of a bundle, into the store. */
import { UserError } from '../../base/errno.js';
import { parseJson, sha256 } from '../content/blobs.js';
import { addImage } from '../images/add.js';
import { checkIndex, checkManifest } from '../images/checks.js';
import { type Descriptor, MEDIA } from '../content/documents.js';
import { REFERENCE_NAME } from '../images/layoutIndex.js';
import { choose, type Platform } from '../images/platform.js';
import { parseReference, type Reference, withDefaultTag } from '../images/reference.js';
import { type Digest, hexOf, shortId } from '../state/ids.js';
import type { Lease } from '../state/lease.js';
import type { Store } from '../state/store.js';
import type { Bundle } from './bundle.js';

interface Taken {
  readonly id: Digest;
  /** As the bundle names it; often none. */
  readonly names: readonly Reference[];
}

interface Context {
  readonly store: Store;
  readonly lease: Lease;
  readonly bundle: Bundle;
  readonly platform: Platform;
}

/** Docker and BuildKit put the whole name here. */
const CONTAINERD_NAME = 'io.containerd.image.name';
const MAX_IMAGES = 1000;

const blobName = (digest: Digest): string => `blobs/sha256/${hexOf(digest)}`;

/** Every image of the bundle; the lease keeps them until they are tagged. Throws UserError. */
export async function takeImages(context: Context): Promise<Taken[]> {
  const { bundle } = context;
  const repoTags = bundle.has('manifest.json') ? readDockerManifest(bundle) : [];
  if (bundle.has('oci-layout') && bundle.has('index.json')) {
    const names = new Map(repoTags.map(({ config, tags }) => [config, tags]));
    return takeLayout(context, names);
  }
  if (!bundle.has('manifest.json')) {
    throw new UserError('the archive has neither manifest.json nor oci-layout: it holds no image');
  }
  const taken: Taken[] = [];
  for (const image of repoTags) taken.push(await takeDocker(context, image));
  return taken;
}

interface DockerImage {
  readonly config: string;
  readonly layers: readonly string[];
  readonly tags: readonly string[];
}

const isTexts = (value: unknown): value is string[] =>
  Array.isArray(value) && value.every((each) => typeof each === 'string');

/** `manifest.json` (docker image-spec v1.2, "Combined Image JSON + Filesystem Changeset Format"). */
function readDockerManifest(bundle: Bundle): DockerImage[] {
  const list = parseJson(bundle.read('manifest.json'), 'manifest.json');
  if (!Array.isArray(list) || list.length > MAX_IMAGES) {
    throw new UserError('manifest.json of the archive is not a list of images');
  }
  return list.map((each: unknown) => {
    const { Config, Layers, RepoTags } = (each ?? {}) as Record<string, unknown>;
    const tags = RepoTags ?? [];
    if (typeof Config !== 'string' || !isTexts(Layers) || !isTexts(tags)) {
      throw new UserError('manifest.json of the archive has no Config or Layers');
    }
    return { config: Config, layers: Layers, tags };
  });
}

/** The compression tells the type: a docker-archive does not say. */
export function layerType(magic: Buffer): string {
  if (magic[0] === 0x1f && magic[1] === 0x8b) return MEDIA.layerGzip;
  return magic.readUInt32LE(0) === 0xfd2fb528 ? MEDIA.layerZstd : MEDIA.layer;
}

async function takeDocker({ store, lease, bundle }: Context, image: DockerImage): Promise<Taken> {
  const layers = image.layers.map((name) => async (): Promise<Descriptor> => {
    const mediaType = layerType(bundle.magic(name));
    return { mediaType, ...pick(await bundle.take(name)) };
  });
  // Before the long part: a wrong name costs no import.
  const names = image.tags.map(parseName).filter((name) => name !== undefined);
  const id = await addImage(store, lease, { config: bundle.read(image.config), layers });
  return { id, names };
}

const pick = ({ digest, size }: { digest: Digest; size: number }) => ({ digest, size });

/** A whole name with a tag; a bare word, as skopeo's `oci:DIR:1` leaves it, is none. */
function parseName(text: string): Reference | undefined {
  if (!/[/:@]/.test(text)) return undefined;
  return withDefaultTag(parseReference(text));
}

/** Descriptors that are one image for several platforms have the same name. */
function groups(descriptors: readonly Descriptor[]): Map<string, Descriptor[]> {
  const found = new Map<string, Descriptor[]>();
  for (const descriptor of descriptors) {
    const annotations: Readonly<Record<string, string | undefined>> = descriptor.annotations ?? {};
    const name = annotations[CONTAINERD_NAME] ?? annotations[REFERENCE_NAME];
    const key = name ?? (descriptor.platform ? '' : descriptor.digest);
    found.set(key, [...(found.get(key) ?? []), descriptor]);
  }
  return found;
}

async function takeLayout(
  context: Context,
  repoTags: ReadonlyMap<string, readonly string[]>,
): Promise<Taken[]> {
  const { bundle } = context;
  const index = checkIndex(parseJson(bundle.read('index.json'), 'index.json'));
  if (!index || index.length > MAX_IMAGES) {
    throw new UserError('index.json of the layout is not a list of manifests');
  }
  const byId = new Map<Digest, Reference[]>();
  for (const [key, descriptors] of groups(index)) {
    const { id, config } = await takeManifest(context, choose(descriptors, context.platform));
    const names = byId.get(id) ?? [];
    const inArchive = repoTags.get(blobName(config)) ?? repoTags.get(`${hexOf(config)}.json`) ?? [];
    const named = [...inArchive, key].map(parseKey).filter((name) => name !== undefined);
    byId.set(id, [...names, ...named]);
  }
  return [...byId].map(([id, names]) => ({ id, names: unique(names) }));
}

const parseKey = (key: string): Reference | undefined =>
  key === '' || key.startsWith('sha256:') ? undefined : parseName(key);

function unique(names: readonly Reference[]): Reference[] {
  return [...new Map(names.map((name) => [JSON.stringify(name), name])).values()];
}

/** The bytes of a document of the layout, checked against its descriptor. */
function readDocument(bundle: Bundle, { digest }: Descriptor, what: string): Buffer {
  const data = bundle.read(blobName(digest));
  const found = sha256(data);
  if (found !== digest) {
    throw new UserError(`${what} has the digest ${shortId(found)} instead of ${shortId(digest)}`);
  }
  return data;
}

async function takeManifest(
  context: Context,
  descriptor: Descriptor,
  depth = 0,
): Promise<{ id: Digest; config: Digest }> {
  const { store, lease, bundle, platform } = context;
  const data = readDocument(bundle, descriptor, 'the manifest');
  const value = parseJson(data, 'the manifest');
  const inner = checkIndex(value);
  if (inner) {
    if (depth > 3) throw new UserError('the indexes of the layout are nested too deep');
    return takeManifest(context, choose(inner, platform), depth + 1);
  }
  const manifest = checkManifest(value);
  const layers = manifest.layers.map((layer) => async (): Promise<Descriptor> => {
    const { digest, size } = await bundle.take(blobName(layer.digest));
    if (digest !== layer.digest || size !== layer.size) {
      throw new UserError(
        `layer ${shortId(layer.digest)} has the digest ${shortId(digest)} and ${size} bytes instead of ${layer.size}`,
      );
    }
    return layer;
  });
  const config = readDocument(bundle, manifest.config, 'the image config');
  const id = await addImage(store, lease, { config, layers, manifest: data });
  return { id, config: manifest.config.digest };
}
