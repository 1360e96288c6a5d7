/** From what a person writes to the image it names. */
import { createHash } from 'node:crypto';
import { UserError } from '../../base/errno.js';
import { readBlobJson } from '../content/blobs.js';
import { treesOf } from '../layers/stack.js';
import { type Digest, digestOf, findByPrefix, hexOf, isDigest } from '../state/ids.js';
import type { Store } from '../state/store.js';
import type { ImageConfig } from '../content/documents.js';
import type { ImageRecord, RepositoryRecord } from './records.js';
import { parseReference, type Reference, repositoryName, withDefaultTag } from './reference.js';

/** The key of a repository's record: its name can be longer than a file name. */
export const repositoryKey = (name: string): string =>
  createHash('sha256').update(name, 'utf8').digest('hex');

export const readRepository = (store: Store, name: string): RepositoryRecord | undefined =>
  store.read('repositories', repositoryKey(name)) as RepositoryRecord | undefined;

export function readImage(store: Store, id: Digest): ImageRecord {
  const record = store.read('images', hexOf(id)) as ImageRecord | undefined;
  if (!record) throw new UserError(`No such image: ${id}`);
  return record;
}

function lookUp(store: Store, reference: Reference): Digest | undefined {
  const { tag, digest } = withDefaultTag(reference);
  const repository = readRepository(store, repositoryName(reference));
  if (!repository) return undefined;
  // With both, the digest decides, as with Docker.
  return digest === undefined ? repository.tags[tag ?? ''] : repository.digests[digest];
}

/** The image `text` names (a reference, an ID, the beginning of one), or undefined. Throws UserError for nonsense. */
export function findImage(store: Store, text: string): Digest | undefined {
  if (isDigest(text)) return store.has('images', hexOf(text)) ? text : undefined;
  const isHex = /^(sha256:)?[0-9a-f]+$/.test(text);
  if (!/^sha256:|^[0-9a-f]{64}$/.test(text)) {
    const named = lookUp(store, parseReference(text));
    if (named !== undefined) return named;
  }
  const key = isHex ? findByPrefix(store.list('images'), text, 'image') : undefined;
  return key === undefined ? undefined : digestOf(key);
}

/** As findImage; throws Docker's sentence when there is none. */
export function mustFindImage(store: Store, text: string): Digest {
  const id = findImage(store, text);
  if (id === undefined) throw new UserError(`No such image: ${text}`);
  return id;
}

interface ResolvedImage {
  readonly id: Digest;
  readonly record: ImageRecord;
  readonly config: ImageConfig;
  /** The layers' directories, top first and each once, as a mount takes them; latin1. */
  readonly layers: readonly string[];
}

/** Everything a container needs of an image. Hold a lease on `images/HEX` or publish a `uses` soon. */
export function resolveImage(store: Store, text: string): ResolvedImage {
  const id = mustFindImage(store, text);
  const record = readImage(store, id);
  const config = readBlobJson(store, id) as ImageConfig;
  const layers = treesOf(store, record.layers);
  return { id, record, config, layers };
}

/** Every name an image has: `host/path:tag`, sorted. */
export function namesOf(store: Store, id: Digest): { tags: string[]; digests: string[] } {
  const found = { tags: [] as string[], digests: [] as string[] };
  for (const key of store.list('repositories')) {
    const record = store.read('repositories', key) as RepositoryRecord | undefined;
    if (!record) continue;
    for (const [tag, image] of Object.entries(record.tags)) {
      if (image === id) found.tags.push(`${record.name}:${tag}`);
    }
    for (const [digest, image] of Object.entries(record.digests)) {
      if (image === id) found.digests.push(`${record.name}@${digest}`);
    }
  }
  return found;
}
