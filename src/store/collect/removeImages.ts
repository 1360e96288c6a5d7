/** `rmi`: taking names away, and with the last one the image (Docker's rules, daemon/images/image_delete.go). */
import { UserError } from '../../base/errno.js';
import { sweep, type Swept } from './gc.js';
import { chainIds } from '../layers/chain.js';
import { type Digest, digestOf, hexOf, shortId } from '../state/ids.js';
import type { Store } from '../state/store.js';
import { mustFindImage, namesOf, readImage } from '../images/find.js';
import { familiar, parseReference, type Reference, withDefaultTag } from '../images/reference.js';
import { removeAllReferences, removeReference } from '../images/tags.js';
import { HOLDERS, usersOf } from '../images/users.js';
import { writeIndex } from '../images/layoutIndex.js';

interface Removed {
  /** Familiar references. */
  readonly untagged: readonly string[];
  /** The image's ID, and the chain ids of its layers that are gone. */
  readonly deleted: readonly Digest[];
}

interface Options {
  readonly force?: boolean;
}

/** The reference that `text` is, or undefined when it is the ID or the beginning of the ID of `id`. */
function referenceIn(text: string, id: Digest): Reference | undefined {
  const hex = text.startsWith('sha256:') ? text.slice('sha256:'.length) : text;
  if (/^[0-9a-f]+$/.test(hex) && hexOf(id).startsWith(hex)) return undefined;
  return withDefaultTag(parseReference(text));
}

function refuseInUse(store: Store, id: Digest, what: string): void {
  const user = usersOf(store, `images/${hexOf(id)}`, HOLDERS).at(0);
  if (user === undefined) return;
  const [kind, key] = user.split('/');
  const name = kind === 'containers' ? shortId(key) : key;
  throw new UserError(
    `conflict: unable to ${what} (must force) - ${kind.slice(0, -1)} ${name} is using its referenced image ${shortId(id)}`,
  );
}

/** Removes the name or image that `text` names. Throws UserError, and nothing is removed. */
export async function removeImage(
  store: Store,
  text: string,
  { force }: Options = {},
): Promise<Removed> {
  const { removed, id } = await store.locked(() => {
    const id = mustFindImage(store, text);
    const { layers } = readImage(store, id);
    const reference = referenceIn(text, id);
    const { untagged, gone } = reference
      ? removeName(store, reference, id, force ?? false)
      : removeWhole(store, id, force ?? false);
    return { removed: { untagged: untagged.map(shown), gone, layers }, id };
  });
  if (!removed.gone) return { untagged: removed.untagged, deleted: [] };
  const swept = await sweep(store);
  return { untagged: removed.untagged, deleted: [id, ...deletedChains(removed.layers, swept)] };
}

const shown = (reference: string): string => familiar(parseReference(reference));

function deletedChains(layers: readonly Digest[], { removed }: Swept): Digest[] {
  const gone = new Set<string>(removed.filter((use) => use.startsWith('layers/')));
  const chain = chainIds(layers);
  return chain.filter((_, i) => gone.has(`layers/${hexOf(layers[i])}`)).reverse();
}

interface Step {
  readonly untagged: readonly string[];
  /** The image itself went, not only a name. */
  readonly gone: boolean;
}

function removeName(store: Store, reference: Reference, id: Digest, force: boolean): Step {
  const names = namesOf(store, id);
  const last = names.tags.length <= (reference.tag === undefined ? 0 : 1);
  if (last && !force)
    refuseInUse(store, id, `remove repository reference "${familiar(reference)}"`);
  const { references } = removeReference(store, reference, id);
  const left = namesOf(store, id);
  if (left.tags.length > 0 || left.digests.length > 0) return { untagged: references, gone: false };
  // Forced while a container uses it: Docker takes the name and leaves the image.
  if (usersOf(store, `images/${hexOf(id)}`, HOLDERS).length > 0) {
    return { untagged: references, gone: false };
  }
  drop(store, id);
  return { untagged: references, gone: true };
}

function removeWhole(store: Store, id: Digest, force: boolean): Step {
  const names = namesOf(store, id);
  const repositories = new Set([
    ...names.tags.map((name) => name.slice(0, name.lastIndexOf(':'))),
    ...names.digests.map((name) => name.slice(0, name.indexOf('@'))),
  ]);
  if (repositories.size > 1 && !force) {
    throw new UserError(
      `conflict: unable to delete ${shortId(id)} (must be forced) - image is referenced in multiple repositories`,
    );
  }
  if (!force) refuseInUse(store, id, `delete ${shortId(id)}`);
  const { references } = removeAllReferences(store, id);
  drop(store, id);
  return { untagged: references, gone: true };
}

function drop(store: Store, id: Digest): void {
  store.remove('images', hexOf(id));
  writeIndex(store);
}

interface Pruned extends Removed {
  /** Bytes on the disk. */
  readonly reclaimed: number;
}

/**
 * Removes images without a tag, or with `all` those that no container uses. `select` narrows it down.
 */
export async function pruneImages(
  store: Store,
  all: boolean,
  select: (id: Digest) => boolean,
): Promise<Pruned> {
  const gone: Digest[] = [];
  const untagged: string[] = [];
  await store.locked(() => {
    for (const key of store.list('images')) {
      const id = digestOf(key);
      const { tags } = namesOf(store, id);
      if (tags.length > 0 && !all) continue;
      if (!select(id) || usersOf(store, `images/${key}`, HOLDERS).length > 0) continue;
      untagged.push(...removeAllReferences(store, id).references.map(shown));
      drop(store, id);
      gone.push(id);
    }
  });
  const { bytes } = await sweep(store);
  return { untagged, deleted: gone, reclaimed: bytes };
}
