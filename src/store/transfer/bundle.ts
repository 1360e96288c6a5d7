/**
 * Files that hold whole images: an OCI layout (a directory, or a tar of one) or a docker-archive. Names
 * inside are only ever looked up in a table or made of a checked digest; none becomes a path.
 */
import { closeSync, openSync, readSync } from 'node:fs';
import { decompress } from '../../archive/compress.js';
import { readTar } from '../../archive/reader.js';
import { UserError } from '../../base/errno.js';
import { bytes } from '../../sys/paths.js';
import { blobPath, MAX_JSON, readBounded } from '../content/blobs.js';
import {
  type Ingested,
  publishBlob,
  readFileStream,
  type Spooled,
  spool,
} from '../content/ingest.js';
import { unlessMissing } from '../state/files.js';
import type { Lease } from '../state/lease.js';
import type { Store } from '../state/store.js';

export interface Bundle {
  has(name: string): boolean;
  /** A small member's bytes. Throws UserError when it is missing or too large. */
  read(name: string): Buffer;
  /** Makes a member a blob of the store, hashed; throws UserError when it is missing. */
  take(name: string): Promise<Ingested>;
  /** The first bytes of a member, to tell its compression. */
  magic(name: string): Buffer;
}

const missing = (name: string): UserError =>
  new UserError(`the archive has no ${JSON.stringify(name.slice(0, 200))}`);

/** A file's bytes, bounded. */
function readSmall(path: string, name: string): Buffer {
  const data = unlessMissing(() => readBounded(path, MAX_JSON) ?? null);
  if (data === undefined) throw missing(name);
  if (data === null)
    throw new UserError(`${JSON.stringify(name)} is too large for a JSON document`);
  return data;
}

const MAGIC = 4;

function readStart(path: string): Buffer {
  const start = Buffer.alloc(MAGIC);
  const fd = openSync(bytes(path), 'r');
  try {
    readSync(fd, start, 0, MAGIC, 0);
  } finally {
    closeSync(fd);
  }
  return start;
}

class TarBundle implements Bundle {
  readonly #store: Store;
  readonly #lease: Lease;
  readonly #files = new Map<string, Spooled>();
  /** Blobs that have been taken already: two layers of an image can be the same. */
  readonly #taken = new Map<string, Ingested>();
  readonly #links = new Map<string, string>();

  constructor(store: Store, lease: Lease) {
    this.#store = store;
    this.#lease = lease;
  }

  async fill(source: AsyncIterable<Uint8Array>): Promise<void> {
    for await (const { entry, content } of readTar((await decompress(source)).bytes)) {
      const name = plain(entry.name);
      if (entry.type === 'file') {
        if (entry.extents) throw new UserError(`${JSON.stringify(name)} in the archive is sparse`);
        this.#files.set(name, await spool(this.#lease, content, name, { size: entry.size }));
      } else if (entry.type === 'link') this.#links.set(name, plain(entry.target));
      // Old versions of Docker save a layer that occurs twice as a symlink.
      else if (entry.type === 'symlink') this.#links.set(name, relative(name, entry.target));
    }
  }

  #find(name: string): Spooled | undefined {
    const key = plain(name);
    return this.#files.get(key) ?? this.#files.get(this.#links.get(key) ?? '');
  }

  has(name: string): boolean {
    return this.#find(name) !== undefined;
  }

  read(name: string): Buffer {
    const found = this.#find(name);
    if (!found) throw missing(name);
    const taken = this.#taken.has(found.path);
    return readSmall(taken ? blobPath(this.#store, found.digest) : found.path, name);
  }

  async take(name: string): Promise<Ingested> {
    const found = this.#find(name);
    if (!found) throw missing(name);
    const before = this.#taken.get(found.path);
    if (before) return before;
    await publishBlob(this.#store, this.#lease, found.path, found.digest);
    this.#taken.set(found.path, found);
    return found;
  }

  magic(name: string): Buffer {
    const found = this.#find(name);
    if (!found) throw missing(name);
    return readStart(
      this.#taken.has(found.path) ? blobPath(this.#store, found.digest) : found.path,
    );
  }
}

const plain = (name: string): string => name.replace(/^(\.?\/)+/, '');

/** The member that a symlink in the archive leads to. */
function relative(from: string, target: string): string {
  const parts = from.split('/').slice(0, -1);
  for (const part of target.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '.' && part !== '') parts.push(part);
  }
  return parts.join('/');
}

class DirectoryBundle implements Bundle {
  readonly #store: Store;
  readonly #lease: Lease;
  readonly #root: string;

  constructor(store: Store, lease: Lease, root: string) {
    this.#store = store;
    this.#lease = lease;
    this.#root = root;
  }

  #path(name: string): string {
    // Only names of the layout itself get here; a docker-archive's are free.
    if (!/^(oci-layout|index\.json|blobs\/sha256\/[0-9a-f]{64})$/.test(name)) throw missing(name);
    return `${this.#root}/${name}`;
  }

  has(name: string): boolean {
    return /^(oci-layout|index\.json)$/.test(name);
  }

  read(name: string): Buffer {
    return readSmall(this.#path(name), name);
  }

  async take(name: string): Promise<Ingested> {
    const source = readFileStream(this.#path(name));
    const spooled = await spool(this.#lease, source, name);
    await publishBlob(this.#store, this.#lease, spooled.path, spooled.digest);
    return spooled;
  }

  magic(name: string): Buffer {
    return readStart(this.#path(name));
  }
}

/** Reads a tar, compressed or not, into the lease. */
export async function tarBundle(
  store: Store,
  lease: Lease,
  source: AsyncIterable<Uint8Array>,
): Promise<Bundle> {
  const bundle = new TarBundle(store, lease);
  await bundle.fill(source);
  return bundle;
}

export const directoryBundle = (store: Store, lease: Lease, root: string): Bundle =>
  new DirectoryBundle(store, lease, root);

const MEMBER =
  /^([0-9a-f]{64}(\.json|\.tar|\/.*)?|blobs(\/.*)?|oci-layout|index\.json|manifest\.json|repositories)$/;

/** Whether a tar holds images: its first member tells, as such an archive has no others than these. */
export async function holdsImages(source: AsyncIterable<Uint8Array>): Promise<boolean> {
  for await (const { entry } of readTar((await decompress(source)).bytes))
    return MEMBER.test(plain(entry.name));
  return false;
}
