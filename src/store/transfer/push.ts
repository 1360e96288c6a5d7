/** `push`: an image of the store to a registry. */
import { linkSync, mkdirSync, writeFileSync } from 'node:fs';
import { UserError } from '../../base/errno.js';
import { bytes } from '../../sys/paths.js';
import { blobPath, parseJson, readBlob } from '../content/blobs.js';
import { checkManifest } from '../images/checks.js';
import { mustFindImage, readImage } from '../images/find.js';
import { canonical, type Reference } from '../images/reference.js';
import { setReference } from '../images/tags.js';
import { readText } from '../state/files.js';
import { type Digest, hexOf, isDigest } from '../state/ids.js';
import type { Store } from '../state/store.js';
import { type RegistryOptions, registryFlags, registryName, skopeo } from './skopeo.js';

interface PushOptions extends RegistryOptions {
  readonly progress?: boolean;
}

/**
 * The image as skopeo's `dir:` has it, over links to the blobs: unlike its `oci:` it takes manifests of
 * Docker's types, too.
 */
function layOut(store: Store, directory: string, data: Buffer): void {
  mkdirSync(bytes(directory), { mode: 0o700 });
  writeFileSync(bytes(`${directory}/version`), 'Directory Transport Version: 1.1\n');
  writeFileSync(bytes(`${directory}/manifest.json`), data);
  const { config, layers } = checkManifest(parseJson(data, 'the manifest'));
  for (const digest of new Set([config, ...layers].map((each) => each.digest))) {
    linkSync(bytes(blobPath(store, digest)), bytes(`${directory}/${hexOf(digest)}`));
  }
}

/**
 * Pushes the image that has the reference; resolves with the digest of its manifest in the registry. Layers
 * that are not compressed are compressed on the way, and then the manifest is another one.
 */
export async function pushImage(
  store: Store,
  reference: Reference,
  options: PushOptions = {},
): Promise<{ readonly digest: Digest; readonly size: number }> {
  const lease = await store.lease();
  try {
    const { id, record } = await store.locked(() => {
      const found = mustFindImage(store, canonical(reference));
      lease.keep(`images/${hexOf(found)}`);
      return { id: found, record: readImage(store, found) };
    });
    const data = readBlob(store, record.manifest);
    layOut(store, `${lease.directory}/image`, data);
    await skopeo(
      [
        'copy',
        ...(options.progress === true ? [] : ['--quiet']),
        ...registryFlags(reference, options, 'dest'),
        '--digestfile',
        'digest',
        'dir:image',
        registryName(reference),
      ],
      { cwd: lease.directory, progress: options.progress ?? false },
    );
    const pushed = (readText(`${lease.directory}/digest`) ?? '').trim();
    if (!isDigest(pushed)) throw new UserError('skopeo named no digest of what it pushed');
    const { host, path } = reference;
    await store.locked(() => setReference(store, { host, path, digest: pushed }, id));
    return { digest: pushed, size: data.length };
  } finally {
    lease.release();
  }
}
