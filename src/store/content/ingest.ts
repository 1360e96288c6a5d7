/** Taking blobs in: whole, checked and synced, or not at all. */
import { createHash } from 'node:crypto';
import { open, rename } from 'node:fs/promises';
import { UserError } from '../../base/errno.js';
import { bytes } from '../../sys/paths.js';
import { syncDirectory } from '../state/files.js';
import { type Digest, digestOf, hexOf, newId, shortId } from '../state/ids.js';
import type { Lease } from '../state/lease.js';
import type { Store } from '../state/store.js';
import { blobPath, blobSize } from './blobs.js';

async function syncFile(path: string): Promise<void> {
  const file = await open(bytes(path), 'r');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

interface Expected {
  readonly digest?: Digest;
  readonly size?: number;
  /** Refuse what is longer. */
  readonly limit?: number;
}

export interface Ingested {
  readonly digest: Digest;
  readonly size: number;
}

/** A file in the lease's directory, hashed while it was written; not yet a blob. */
export interface Spooled extends Ingested {
  readonly path: string;
}

function mismatch(expected: Expected, found: Ingested): string | undefined {
  if (expected.size !== undefined && expected.size !== found.size) {
    return `has ${found.size} bytes instead of ${expected.size}`;
  }
  if (expected.digest !== undefined && expected.digest !== found.digest) {
    return `has the digest ${shortId(found.digest)} instead of ${shortId(expected.digest)}`;
  }
  return undefined;
}

/** Writes a stream to a file of the lease; `publishBlob` syncs it. Throws UserError. */
export async function spool(
  lease: Lease,
  source: AsyncIterable<Uint8Array>,
  what: string,
  expected: Expected = {},
): Promise<Spooled> {
  const path = `${lease.directory}/${newId().slice(0, 16)}`;
  const limit = expected.limit ?? expected.size ?? Number.MAX_SAFE_INTEGER;
  const hash = createHash('sha256');
  let size = 0;
  const file = await open(bytes(path), 'wx', 0o644);
  try {
    for await (const chunk of source) {
      size += chunk.length;
      if (size > limit) throw new UserError(`${what} is longer than ${limit} bytes`);
      hash.update(chunk);
      for (let done = 0; done < chunk.length; ) {
        done += (await file.write(chunk, done, chunk.length - done)).bytesWritten;
      }
    }
  } finally {
    await file.close();
  }
  const found = { digest: digestOf(hash.digest('hex')), size };
  const wrong = mismatch(expected, found);
  if (wrong !== undefined) throw new UserError(`${what} ${wrong}`);
  return { ...found, path };
}

/** Makes a file of the lease the blob `digest`, which its bytes must have been hashed to; synced first. */
export async function publishBlob(
  store: Store,
  lease: Lease,
  path: string,
  digest: Digest,
): Promise<void> {
  await store.locked(() => {
    lease.keep(`blobs/${hexOf(digest)}`);
  });
  const target = blobPath(store, digest);
  if (store.sync) await syncFile(path);
  // Also over one that is there: the bytes are the same, unless that one is damaged.
  await rename(bytes(path), bytes(target));
  if (store.sync) syncDirectory(target.slice(0, target.lastIndexOf('/')));
}

/** A file's bytes as a stream. */
export async function* readFileStream(path: string): AsyncGenerator<Buffer, void> {
  const file = await open(bytes(path), 'r');
  try {
    for (;;) {
      const buffer = Buffer.allocUnsafe(1 << 18);
      const { bytesRead } = await file.read(buffer, 0, buffer.length);
      if (bytesRead === 0) return;
      yield buffer.subarray(0, bytesRead);
    }
  } finally {
    await file.close();
  }
}

/** A blob's bytes as a stream; UserError when it is missing. */
export function readBlobStream(store: Store, digest: Digest): AsyncGenerator<Buffer, void> {
  if (blobSize(store, digest) === undefined) {
    throw new UserError(`blob ${shortId(digest)} is missing: run stratafs fsck`);
  }
  return readFileStream(blobPath(store, digest));
}

/** Hashes a file. */
export async function digestFile(path: string): Promise<Ingested> {
  const hash = createHash('sha256');
  let size = 0;
  for await (const chunk of readFileStream(path)) {
    hash.update(chunk);
    size += chunk.length;
  }
  return { digest: digestOf(hash.digest('hex')), size };
}
