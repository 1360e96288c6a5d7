/** Tags: names of images that move. */
import { type Digest, hexOf } from '../state/ids.js';
import type { Store } from '../state/store.js';
import { readRepository, repositoryKey } from './find.js';
import type { RepositoryRecord } from './records.js';
import { type Reference, repositoryName } from './reference.js';
import { writeIndex } from './layoutIndex.js';

function change(
  store: Store,
  name: string,
  edit: (record: RepositoryRecord) => RepositoryRecord,
): RepositoryRecord {
  const before = readRepository(store, name) ?? { name, tags: {}, digests: {} };
  const after = edit(before);
  const key = repositoryKey(name);
  const empty = Object.keys(after.tags).length === 0 && Object.keys(after.digests).length === 0;
  if (empty) store.remove('repositories', key);
  else store.publish('repositories', key, { ...after, uses: usesOf(after) });
  writeIndex(store);
  return after;
}

const usesOf = ({ tags, digests }: RepositoryRecord): `images/${string}`[] => [
  ...new Set(
    [...Object.values(tags), ...Object.values(digests)].map((id) => `images/${hexOf(id)}` as const),
  ),
];

function without<T>(record: Readonly<Record<string, T>>, drop: (value: T, key: string) => boolean) {
  return Object.fromEntries(Object.entries(record).filter(([key, value]) => !drop(value, key)));
}

/**
 * Gives `id` the reference's tag, its digest, or both; returns the image that had the tag before.
 * Call it under the store's lock, and while a lease or a record keeps the image.
 */
export function setReference(store: Store, reference: Reference, id: Digest): Digest | undefined {
  const { tag, digest } = reference;
  let before: Digest | undefined;
  change(store, repositoryName(reference), (record) => {
    before = tag === undefined ? undefined : record.tags[tag];
    return {
      ...record,
      tags: tag === undefined ? record.tags : { ...record.tags, [tag]: id },
      digests: digest === undefined ? record.digests : { ...record.digests, [digest]: id },
    };
  });
  return before === id ? undefined : before;
}

interface Untagged {
  /** Full references: `docker.io/library/debian:12`, `…@sha256:…`. */
  readonly references: readonly string[];
}

/**
 * Takes a tag or digest away. With an image's last tag in the repository its digests there go, too, as
 * with Docker. Call it under the store's lock.
 */
export function removeReference(store: Store, reference: Reference, id: Digest): Untagged {
  const name = repositoryName(reference);
  const references: string[] = [];
  change(store, name, (record) => {
    const tags = without(record.tags, (_, tag) => tag === reference.tag);
    const last = !Object.values(tags).includes(id);
    const digests = without(record.digests, (image, digest) =>
      reference.digest === undefined ? last && image === id : digest === reference.digest,
    );
    if (reference.tag !== undefined && Object.hasOwn(record.tags, reference.tag))
      references.push(`${name}:${reference.tag}`);
    for (const digest of Object.keys(record.digests)) {
      if (!Object.hasOwn(digests, digest)) references.push(`${name}@${digest}`);
    }
    return { ...record, tags, digests };
  });
  return { references };
}

/** Takes every name of an image away. Call it under the store's lock. */
export function removeAllReferences(store: Store, id: Digest): Untagged {
  const references: string[] = [];
  for (const key of store.list('repositories')) {
    const record = store.read('repositories', key) as RepositoryRecord | undefined;
    if (!record) continue;
    const tags = without(record.tags, (image) => image === id);
    const digests = without(record.digests, (image) => image === id);
    for (const tag of Object.keys(record.tags))
      if (!Object.hasOwn(tags, tag)) references.push(`${record.name}:${tag}`);
    for (const digest of Object.keys(record.digests))
      if (!Object.hasOwn(digests, digest)) references.push(`${record.name}@${digest}`);
    if (
      Object.keys(tags).length + Object.keys(digests).length <
      Object.keys(record.tags).length + Object.keys(record.digests).length
    ) {
      change(store, record.name, () => ({ ...record, tags, digests }));
    }
  }
  return { references };
}
