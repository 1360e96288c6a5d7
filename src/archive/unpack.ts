/** Unpacks an archive into a layer directory: complete, checked and on the disk, or not at all. */
import { setImmediate as turn } from 'node:timers/promises';
import { errnoText, UserError } from '../base/errno.js';
import { display } from '../base/bytes.js';
import { readEntries } from '../layer/directory.js';
import { TRUSTED, USER } from '../layer/xattrs.js';
import { AT_FDCWD, O_DIRECTORY, O_RDONLY } from '../sys/constants.js';
import { Sys } from '../sys/sys.js';
import { decompress } from './compress.js';
import {
  BlobMeter,
  checkDigest,
  checkDigestForm,
  LaneMeter,
  measured,
  wrongSize,
} from './digest.js';
import { Extractor } from './extract.js';
import { damaged } from './limits.js';
import { TarParser } from './parser.js';
import { removeAt } from './remove.js';
import type { Source, Unpacked, UnpackOptions } from './types.js';

/** Work between two turns of the event loop: others wait for it. */
const TURN_MS = 8;
const SLICE = 64 * 1024;

/**
 * Unpacks `source` into `options.root`. After an error the directory is empty, as it was (with whiteouts
 * `apply` it is as far as it got: it is the caller's to throw away). Throws a UserError for what is wrong
 * with the archive or the disk; an error of the source or an abort is passed on.
 */
export async function unpackLayer(source: Source, options: UnpackOptions): Promise<Unpacked> {
  checkDigestForm(options.expect?.digest);
  checkDigestForm(options.expect?.diffId);
  const sys = new Sys();
  const root = openRoot(sys, options);
  try {
    const unpacked = await unpackInto(sys, root, source, options);
    if (options.sync !== false) await sync(sys, root, options.root);
    return unpacked;
  } catch (error) {
    if (options.whiteouts !== 'apply') await empty(sys, root, options);
    throw error;
  } finally {
    sys.native.close(root);
  }
}

function openRoot(sys: Sys, options: UnpackOptions): number {
  const path = display(options.root);
  const root = sys.open(AT_FDCWD, options.root, O_RDONLY | O_DIRECTORY, 0, 0);
  if (root < 0) throw new UserError(`cannot open the directory ${path}: ${errnoText(root)}`);
  if (options.whiteouts === 'apply') return root;
  const names: string[] = [];
  const read = readEntries(sys, root, (name) => {
    names.push(name);
    return false;
  });
  if (read >= 0 && names.length === 0) return root;
  sys.native.close(root);
  if (read < 0) throw new UserError(`cannot read the directory ${path}: ${errnoText(read)}`);
  throw new UserError(`the directory ${path} is not empty; a layer is unpacked into an empty one`);
}

async function unpackInto(
  sys: Sys,
  root: number,
  source: Source,
  options: UnpackOptions,
): Promise<Unpacked> {
  const { expect, signal } = options;
  const blob = new BlobMeter();
  const tar = new LaneMeter();
  const extractor = new Extractor(sys, root, options);
  const parser = new TarParser(extractor, options.limits);
  try {
    const incoming = measured(source, blob, expect?.size, signal);
    const { compression, bytes } = await decompress(incoming);
    blob.settle(compression !== 'none');
    await feed(parser, bytes, tar, signal);
    parser.finish();
    if (expect?.size !== undefined && blob.size !== expect.size) {
      throw wrongSize(String(blob.size), expect.size);
    }
    const diffId = await tar.digest();
    const digest = blob.digest() ?? diffId;
    checkDigest('digest', digest, expect?.digest);
    checkDigest('diff ID', diffId, expect?.diffId);
    const proven = expect?.digest !== undefined || expect?.diffId !== undefined;
    if (!parser.ended && !proven) throw damaged('it has no end mark, so it may have been cut off');
    extractor.finish();
    return {
      diffId,
      size: parser.size,
      digest,
      compressedSize: blob.size,
      compression,
      entries: parser.entries,
      dataSize: extractor.dataSize,
      warnings: extractor.warnings.list(),
    };
  } catch (error) {
    extractor.abandon();
    await tar.abandon();
    throw error;
  }
}

async function feed(
  parser: TarParser,
  source: AsyncIterable<Buffer>,
  meter: LaneMeter,
  signal: AbortSignal | undefined,
): Promise<void> {
  let since = performance.now();
  for await (const bytes of source) {
    const room = meter.add(bytes);
    if (room) await room;
    for (let at = 0; at < bytes.length; at += SLICE) {
      parser.write(bytes.subarray(at, at + SLICE));
      if (performance.now() - since < TURN_MS) continue;
      await turn();
      signal?.throwIfAborted();
      since = performance.now();
    }
  }
}

async function sync(sys: Sys, root: number, path: string): Promise<void> {
  const code = await sys.native.syncTree(root);
  if (code < 0) throw new UserError(`cannot sync ${display(path)}: ${errnoText(code)}`);
}

/** Removes what has been made, a part at a time. The caller removes the rest with the directory. */
async function empty(sys: Sys, root: number, options: UnpackOptions): Promise<void> {
  const names: string[] = [];
  readEntries(sys, root, (name) => names.push(name));
  for (const name of names) {
    removeAt(sys, root, name);
    await turn();
  }
  const key = `${options.userxattr === true ? USER : TRUSTED}opaque`;
  sys.native.removexattr(root, '', key);
}
