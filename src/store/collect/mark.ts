/** What is needed, and why: from the roots along `uses`. Call these under the store's lock. */
import { shortId } from '../state/ids.js';
import { type Kind, KINDS, type Use } from '../state/layout.js';
import { readLeases } from '../state/lease.js';
import type { Manifest, Store } from '../state/store.js';
import type { RepositoryRecord } from '../images/records.js';
import { familiar, parseReference } from '../images/reference.js';

/** Kinds that exist only as long as something uses them. */
const NEEDED: readonly Kind[] = ['layers'];

export interface Marks {
  /** For each object that stays, who needs it: the users next above it. */
  readonly live: ReadonlyMap<Use, readonly string[]>;
  /** `uses` that lead to nothing: fsck's business. */
  readonly broken: readonly { readonly user: string; readonly use: Use }[];
}

/** The name of an object in a reason: `image debian:12`, `container 0123456789ab`. */
function nameOf(use: Use, tags: ReadonlyMap<string, string>): string {
  const [kind, key] = use.split('/') as [string, string];
  if (kind === 'repositories') return 'a tag';
  const name =
    kind === 'images'
      ? (tags.get(key) ?? shortId(key))
      : /^[0-9a-f]{64}$/.test(key)
        ? shortId(key)
        : key;
  return `${kind.replace(/s$/, '')} ${name}`;
}

/** One tag of each image, by the image's key. */
function someTags(store: Store): Map<string, string> {
  const tags = new Map<string, string>();
  for (const key of store.list('repositories')) {
    const record = store.read('repositories', key) as RepositoryRecord | undefined;
    for (const [tag, id] of Object.entries(record?.tags ?? {})) {
      tags.set(id.slice('sha256:'.length), familiar(parseReference(`${record!.name}:${tag}`)));
    }
  }
  return tags;
}

/** Every object that is a root or needed by one. */
export function mark(store: Store): Marks {
  const live = new Map<Use, string[]>();
  const broken: { user: string; use: Use }[] = [];
  const tags = someTags(store);
  const queue: { use: Use; why: string }[] = [];
  for (const kind of KINDS) {
    if (NEEDED.includes(kind)) continue;
    for (const key of store.list(kind)) queue.push({ use: `${kind}/${key}`, why: '' });
  }
  for (const use of readLeases(store.root).uses) queue.push({ use, why: 'a command under way' });
  for (let next = queue.shift(); next; next = queue.shift()) {
    const { use, why } = next;
    const known = live.get(use);
    if (known) {
      if (why !== '' && !known.includes(why)) known.push(why);
      continue;
    }
    live.set(use, why === '' ? [] : [why]);
    if (use.startsWith('blobs/')) continue;
    const manifest = read(store, use);
    if (!manifest) {
      if (why !== 'a command under way') broken.push({ user: why, use });
      continue;
    }
    for (const each of manifest.uses ?? []) queue.push({ use: each, why: nameOf(use, tags) });
  }
  return { live, broken };
}

function read(store: Store, use: Use): Manifest | undefined {
  const at = use.indexOf('/');
  return store.read(use.slice(0, at) as Kind, use.slice(at + 1));
}
