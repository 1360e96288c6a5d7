/** `load`, and `import` of what holds images: every image of a file, with its names. */
import { withLease } from '../collect/work.js';
import { parseReference, type Reference, withDefaultTag } from '../images/reference.js';
import { ownPlatform, type Platform } from '../images/platform.js';
import { setReference } from '../images/tags.js';
import type { Digest } from '../state/ids.js';
import type { Lease } from '../state/lease.js';
import type { Store } from '../state/store.js';
import { type Bundle, directoryBundle, tarBundle } from './bundle.js';
import { takeImages } from './take.js';

export interface Loaded {
  readonly id: Digest;
  readonly names: readonly Reference[];
  /** Images that lost a name to this one. */
  readonly replaced: readonly { readonly name: Reference; readonly id: Digest }[];
}

interface LoadOptions {
  readonly platform?: Platform;
  /** The name for an archive of one image, instead of the archive's own. */
  readonly name?: string;
}

async function loadBundle(
  store: Store,
  lease: Lease,
  bundle: Bundle,
  { platform = ownPlatform(), name }: LoadOptions,
): Promise<Loaded[]> {
  const taken = await takeImages({ store, lease, bundle, platform });
  const own = name === undefined ? undefined : withDefaultTag(parseReference(name));
  return store.locked(() =>
    taken.map(({ id, names }) => {
      const wanted = own && taken.length === 1 ? [own] : names;
      const replaced = wanted.flatMap((each) => {
        const before = setReference(store, each, id);
        return before === undefined ? [] : [{ name: each, id: before }];
      });
      return { id, names: wanted, replaced };
    }),
  );
}

/** Loads a tar (compressed or not) of images. Throws UserError; then nothing of it has a name. */
export async function loadTar(
  store: Store,
  source: AsyncIterable<Uint8Array>,
  options: LoadOptions = {},
): Promise<Loaded[]> {
  return withLease(store, async (lease) =>
    loadBundle(store, lease, await tarBundle(store, lease, source), options),
  );
}

/** Loads an OCI layout that is a directory. */
export async function loadDirectory(
  store: Store,
  path: string,
  options: LoadOptions = {},
): Promise<Loaded[]> {
  return withLease(store, (lease) =>
    loadBundle(store, lease, directoryBundle(store, lease, path), options),
  );
}
