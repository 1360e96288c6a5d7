/** The images, as `image ls` shows them. */
import { UserError } from '../../base/errno.js';
import { readBlobJson } from '../content/blobs.js';
import { type Digest, digestOf } from '../state/ids.js';
import type { Store } from '../state/store.js';
import type { ImageConfig } from '../content/documents.js';
import { mustFindImage, readImage } from './find.js';
import type { ImageRecord, RepositoryRecord } from './records.js';

export interface ListedImage {
  readonly id: Digest;
  readonly record: ImageRecord;
  readonly config: ImageConfig;
  /** Full names. */
  readonly tags: readonly string[];
  readonly digests: readonly string[];
}

/** Every image with its names, the newest first. */
export function listImages(store: Store): ListedImage[] {
  const tags = new Map<Digest, string[]>();
  const digests = new Map<Digest, string[]>();
  const add = (map: Map<Digest, string[]>, id: Digest, name: string): void => {
    map.set(id, [...(map.get(id) ?? []), name]);
  };
  for (const key of store.list('repositories')) {
    const record = store.read('repositories', key) as RepositoryRecord | undefined;
    if (!record) continue;
    for (const [tag, id] of Object.entries(record.tags)) add(tags, id, `${record.name}:${tag}`);
    for (const [digest, id] of Object.entries(record.digests)) {
      add(digests, id, `${record.name}@${digest}`);
    }
  }
  const images = store.list('images').map((key): ListedImage => {
    const id = digestOf(key);
    return {
      id,
      record: readImage(store, id),
      config: readBlobJson(store, id) as ImageConfig,
      tags: (tags.get(id) ?? []).sort(),
      digests: (digests.get(id) ?? []).sort(),
    };
  });
  return images.sort((a, b) => createdAt(b) - createdAt(a));
}

/** Milliseconds since 1970; 0 where the config does not say. */
export const createdAt = ({ config }: Pick<ListedImage, 'config'>): number =>
  Date.parse(config.created ?? '') || 0;

/** When the image that `text` names was made, for `before=` and `since=`. */
export function createdOf(store: Store, text: string): number {
  const id = mustFindImage(store, text);
  const config = readBlobJson(store, id) as ImageConfig;
  return createdAt({ config });
}

/** Go's path.Match for `reference=`: `*` and `?` within a component, classes. */
export function globPattern(glob: string): RegExp {
  let source = '';
  for (let at = 0; at < glob.length; at++) {
    const c = glob[at];
    if (c === '*') source += '[^/]*';
    else if (c === '?') source += '[^/]';
    else if (c === '[') {
      const end = glob.indexOf(']', at + 2);
      if (end < 0) throw new UserError(`invalid pattern '${glob}': ] is missing`);
      source += glob.slice(at, end + 1).replaceAll('\\', '\\\\');
      at = end;
    } else source += c.replace(/[\\^$.|+(){}\]]/g, '\\$&');
  }
  return new RegExp(`^${source}$`);
}
