/** Decompresses a layer blob, whatever compresses it. */
import { pipeline, Readable, type Transform } from 'node:stream';
import * as zlib from 'node:zlib';
import { UserError } from '../base/errno.js';
import { damaged } from './limits.js';
import type { Compression, Source } from './types.js';
import { unzstd } from './zstd.js';

/** Bytes that a decompressor gives at a time. */
const PIECE = 256 * 1024;

interface Decompressed {
  readonly compression: Compression;
  readonly bytes: AsyncIterable<Buffer>;
}

/** Looks at the first bytes. Throws a UserError for what is compressed otherwise. */
export async function decompress(source: Source): Promise<Decompressed> {
  const iterator = source[Symbol.asyncIterator]();
  let head: Buffer = Buffer.alloc(0);
  let done = false;
  while (head.length < 6 && !done) {
    const next = await iterator.next();
    if (next.done === true) done = true;
    else head = head.length === 0 ? asBuffer(next.value) : Buffer.concat([head, next.value]);
  }
  const compression = compressionOf(head);
  const all = joined(head, iterator, done);
  if (compression === 'none') return { compression, bytes: all };
  return { compression, bytes: compression === 'gzip' ? gunzip(all) : zstd(all) };
}

export const asBuffer = (bytes: Uint8Array): Buffer =>
  Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** By the magic numbers; skippable frames may come first in zstd (`zstd:chunked` has them last). */
function compressionOf(head: Buffer): Compression {
  const magic = head.latin1Slice(0, Math.min(6, head.length));
  if (magic.startsWith('\x1f\x8b')) return 'gzip';
  if (magic.startsWith('\x28\xb5\x2f\xfd')) return 'zstd';
  if (/^[\x50-\x5f]\x2a\x4d\x18/.test(magic)) return 'zstd';
  if (magic === '\xfd7zXZ\0') throw unknown('xz');
  if (magic.startsWith('BZh')) throw unknown('bzip2');
  return 'none';
}

const unknown = (program: string): UserError =>
  new UserError(
    `the archive is compressed with ${program}, which is no form of a layer; use gzip or zstd`,
  );

async function* joined(
  head: Buffer,
  iterator: AsyncIterator<Uint8Array>,
  done: boolean,
): AsyncGenerator<Buffer, void> {
  let ended = done;
  try {
    if (head.length > 0) yield head;
    while (!ended) {
      const next = await iterator.next();
      ended = next.done === true;
      if (next.done !== true) yield asBuffer(next.value);
    }
  } finally {
    if (!ended) await iterator.return?.();
  }
}

const gunzip = (source: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void> =>
  through(source, zlib.createGunzip({ chunkSize: PIECE }), 'gzip');

/** node:zlib has zstd since 22.15 and 23.8; its types here are older. */
interface ZstdZlib {
  readonly createZstdDecompress?: (options: object) => Transform;
  readonly zstdDecompressSync?: (bytes: Buffer) => Buffer;
}

/** A frame that holds "a". */
const FRAME = Buffer.from('28b52ffd200109000061', 'hex');

/**
 * Whether node:zlib reads all frames of a stream and refuses one that is cut off. Node 22 does neither: it
 * drops what follows the first frame, and ends a cut stream without an error (nodejs/node#64592, #64741).
 */
function readsWhole({ zstdDecompressSync: read }: ZstdZlib): boolean {
  if (!read || read(Buffer.concat([FRAME, FRAME])).length !== 2) return false;
  try {
    read(FRAME.subarray(0, -1));
    return false;
  } catch {
    return true;
  }
}

function zstd(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void> {
  const { createZstdDecompress } = zlib as ZstdZlib;
  if (!createZstdDecompress || !readsWhole(zlib as ZstdZlib)) return unzstd(source);
  return through(source, createZstdDecompress({ chunkSize: PIECE }), 'zstd');
}

/** An error of the source stays what it is; one of the decompressor says that the archive is damaged. */
async function* through(
  source: AsyncIterable<Buffer>,
  stream: Transform,
  name: string,
): AsyncGenerator<Buffer, void> {
  let failure: Error | undefined;
  const watched = async function* (): AsyncGenerator<Buffer, void> {
    try {
      yield* source;
    } catch (error) {
      failure = error as Error;
      throw error;
    }
  };
  // The error comes out of `stream`, too.
  pipeline(Readable.from(watched(), { objectMode: false }), stream, () => undefined);
  try {
    for await (const piece of stream) yield piece as Buffer;
  } catch (error) {
    if (failure !== undefined) throw failure;
    throw damaged(`its ${name} stream cannot be read, ${(error as Error).message}`);
  }
}
