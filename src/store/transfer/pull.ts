/** `pull`: an image of a registry, its known layers not fetched again. */
import { linkSync, mkdirSync, rmSync } from 'node:fs';
import { UserError } from '../../base/errno.js';
import { bytes } from '../../sys/paths.js';
import { withLease } from '../collect/work.js';
import { blobPath, blobSize, parseJson, readBlob, sha256 } from '../content/blobs.js';
import { digestFile, publishBlob } from '../content/ingest.js';
import { addImage } from '../images/add.js';
import { checkIndex, checkManifest } from '../images/checks.js';
import type { Descriptor, ImageManifest } from '../content/documents.js';
import { choose, ownPlatform, type Platform } from '../images/platform.js';
import type { Reference } from '../images/reference.js';
import { setReference } from '../images/tags.js';
import { type Digest, hexOf, shortId } from '../state/ids.js';
import type { Lease } from '../state/lease.js';
import type { Store } from '../state/store.js';
import { type RegistryOptions, registryFlags, registryName, skopeo } from './skopeo.js';

interface PullOptions extends RegistryOptions {
  readonly platform?: Platform;
  readonly progress?: boolean;
}

interface Pulled {
  readonly id: Digest;
  /** Of the manifest or index that the reference names in the registry. */
  readonly digest: Digest;
  /** Nothing was fetched. */
  readonly upToDate: boolean;
}

interface Remote {
  readonly reference: Reference;
  readonly digest: Digest;
  readonly manifest: ImageManifest;
  readonly data: Buffer;
}

async function rawManifest(reference: Reference, options: PullOptions): Promise<Buffer> {
  const flags = registryFlags(reference, options, '');
  const data = await skopeo(['inspect', '--raw', ...flags, registryName(reference)]);
  if (reference.digest !== undefined && sha256(data) !== reference.digest) {
    throw new UserError(`the registry sent another manifest than ${shortId(reference.digest)}`);
  }
  return data;
}

/** The manifest for the platform; its digest pins what is fetched, should the tag move meanwhile. */
async function resolveRemote(
  reference: Reference,
  options: PullOptions,
): Promise<{ top: Digest; remote: Remote }> {
  const top = await rawManifest(reference, options);
  let data = top;
  for (let depth = 0; ; depth++) {
    const value = parseJson(data, 'the manifest in the registry');
    const index = checkIndex(value);
    const digest = sha256(data);
    const pinned = { host: reference.host, path: reference.path, digest };
    if (!index) {
      const remote = { reference: pinned, digest, manifest: checkManifest(value), data };
      return { top: sha256(top), remote };
    }
    if (depth > 3) throw new UserError('the indexes in the registry are nested too deep');
    const chosen = choose(index, options.platform ?? ownPlatform());
    data = await rawManifest({ ...pinned, digest: chosen.digest }, options);
  }
}

/** The directory that skopeo takes for shared blobs, with the known ones of the image in it. */
async function shareKnown(
  store: Store,
  lease: Lease,
  { manifest }: Remote,
  except?: Digest,
): Promise<string> {
  const directory = `${lease.directory}/shared`;
  rmSync(bytes(directory), { recursive: true, force: true });
  mkdirSync(bytes(`${directory}/sha256`), { recursive: true, mode: 0o700 });
  await store.locked(() => {
    for (const { digest, size } of [manifest.config, ...manifest.layers]) {
      lease.keep(`blobs/${hexOf(digest)}`);
      if (digest === except || blobSize(store, digest) !== size) continue;
      try {
        linkSync(bytes(blobPath(store, digest)), bytes(`${directory}/sha256/${hexOf(digest)}`));
      } catch (error) {
        // The same layer twice in one image.
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      }
    }
  });
  return directory;
}

async function fetchBlobs(lease: Lease, remote: Remote, options: PullOptions): Promise<void> {
  // Relative names: skopeo takes a colon in a path for the end of it.
  await skopeo(
    [
      'copy',
      ...(options.progress === true ? [] : ['--quiet']),
      ...registryFlags(remote.reference, options, 'src'),
      '--dest-shared-blob-dir',
      'shared',
      '--dest-oci-accept-uncompressed-layers',
      registryName(remote.reference),
      'oci:layout:pulled',
    ],
    { cwd: lease.directory, progress: options.progress ?? false },
  );
}

/** Makes a fetched file a blob; its digest is checked, as a known one may be damaged. */
async function takeFetched(
  store: Store,
  lease: Lease,
  shared: string,
  { digest, size }: Descriptor,
  replace = false,
): Promise<void> {
  const path = `${shared}/sha256/${hexOf(digest)}`;
  const found = await digestFile(path);
  if (found.digest !== digest || found.size !== size) {
    throw new UserError(
      `blob ${shortId(digest)} has the digest ${shortId(found.digest)}: run stratafs fsck, and pull again`,
    );
  }
  if (!replace && blobSize(store, digest) === size) return;
  await publishBlob(store, lease, path, digest);
}

/**
 * Fetches one blob of an image that a registry still has, in place of the store's own, which is damaged or
 * gone; false when that image has no such blob.
 */
export async function fetchBlob(
  store: Store,
  lease: Lease,
  reference: Reference,
  digest: Digest,
): Promise<boolean> {
  const data = await rawManifest(reference, {});
  const value = parseJson(data, 'the manifest in the registry');
  const index = checkIndex(value);
  for (const each of index ?? []) {
    const { host, path } = reference;
    if (await fetchBlob(store, lease, { host, path, digest: each.digest }, digest)) return true;
  }
  if (index) return false;
  const manifest = checkManifest(value);
  const wanted = [manifest.config, ...manifest.layers].find((each) => each.digest === digest);
  if (!wanted) return false;
  const remote = { reference, digest: sha256(data), manifest, data };
  const shared = await shareKnown(store, lease, remote, digest);
  await fetchBlobs(lease, remote, {});
  await takeFetched(store, lease, shared, wanted, true);
  return true;
}

async function fetchImage(
  store: Store,
  lease: Lease,
  remote: Remote,
  options: PullOptions,
): Promise<Digest> {
  const shared = await shareKnown(store, lease, remote);
  await fetchBlobs(lease, remote, options);
  const { manifest, data } = remote;
  await takeFetched(store, lease, shared, manifest.config);
  const layers = manifest.layers.map((layer) => async () => {
    await takeFetched(store, lease, shared, layer);
    return layer;
  });
  return addImage(store, lease, {
    config: readBlob(store, manifest.config.digest),
    layers,
    manifest: data,
  });
}

/** Pulls an image and gives it the reference. Throws UserError. */
export async function pullImage(
  store: Store,
  reference: Reference,
  options: PullOptions = {},
): Promise<Pulled> {
  const { top, remote } = await resolveRemote(reference, options);
  return withLease(store, async (lease) => {
    const known = remote.manifest.config.digest;
    const upToDate = await store.locked(() => {
      lease.keep(`images/${hexOf(known)}`);
      return store.has('images', hexOf(known));
    });
    const id = upToDate ? known : await fetchImage(store, lease, remote, options);
    await store.locked(() => setReference(store, { ...reference, digest: top }, id));
    return { id, digest: top, upToDate };
  });
}
