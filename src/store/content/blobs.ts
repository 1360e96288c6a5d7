/** Blobs by digest, in content/: an OCI image layout (image-spec 1.1, image-layout.md). */
import { createHash } from 'node:crypto';
import { closeSync, fstatSync, openSync, readSync, statSync } from 'node:fs';
import { UserError } from '../../base/errno.js';
import { publishFile, unlessMissing } from '../state/files.js';
import { bytes } from '../../sys/paths.js';
import { type Digest, digestOf, hexOf, shortId } from '../state/ids.js';
import type { Store } from '../state/store.js';

/** Configs and manifests larger than this are refused (containerd's and Docker's bound is 4 MiB and 8 MiB). */
export const MAX_JSON = 8 << 20;

export const blobPath = (store: Store, digest: Digest): string =>
  `${store.root}/content/blobs/sha256/${hexOf(digest)}`;

/** The size of a blob, or undefined when it is not there. */
export const blobSize = (store: Store, digest: Digest): number | undefined =>
  unlessMissing(() => statSync(bytes(blobPath(store, digest))).size);

export const sha256 = (data: Uint8Array): Digest =>
  digestOf(createHash('sha256').update(data).digest('hex'));

/** At most `limit` bytes of a file; undefined when it is larger. */
export function readBounded(path: string, limit: number): Buffer | undefined {
  const fd = openSync(bytes(path), 'r');
  try {
    const { size } = fstatSync(fd);
    if (size > limit) return undefined;
    const data = Buffer.alloc(size);
    let done = 0;
    for (let n = 1; n > 0 && done < size; done += n)
      n = readSync(fd, data, done, size - done, done);
    return data.subarray(0, done);
  } finally {
    closeSync(fd);
  }
}

/** A small blob, its digest checked. Throws UserError when it is missing, damaged or too large. */
export function readBlob(store: Store, digest: Digest): Buffer {
  const data = unlessMissing(() => readBounded(blobPath(store, digest), MAX_JSON) ?? null);
  if (data === undefined)
    throw new UserError(`blob ${shortId(digest)} is missing: run stratafs fsck`);
  if (data === null)
    throw new UserError(`blob ${shortId(digest)} is too large for a JSON document`);
  if (sha256(data) !== digest) {
    throw new UserError(`blob ${shortId(digest)} is damaged: run stratafs fsck`);
  }
  return data;
}

export const readBlobJson = (store: Store, digest: Digest): unknown =>
  parseJson(readBlob(store, digest), `blob ${shortId(digest)}`);

/** Parses JSON that others wrote; throws UserError with one sentence. */
export function parseJson(data: Buffer, what: string): unknown {
  try {
    return JSON.parse(data.toString('utf8')) as unknown;
  } catch {
    throw new UserError(`${what} is not JSON`);
  }
}

/** Stores a small blob, durably; returns its digest. Call lease.keep first. */
export function writeBlob(store: Store, data: Uint8Array): Digest {
  const digest = sha256(data);
  if (blobSize(store, digest) !== data.length) {
    publishFile(blobPath(store, digest), data, store, 0o644);
  }
  return digest;
}
