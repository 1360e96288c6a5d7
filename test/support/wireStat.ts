/** The lstat of a real object, as the kernel's structs would carry it. */
import { lstatSync } from 'node:fs';
import { u32, u64, wire } from './engine.js';

const SECOND = 1_000_000_000n;
/** Nanoseconds within the second, also before 1970. */
const nsec = (time: bigint): bigint => ((time % SECOND) + SECOND) % SECOND;
const sec = (time: bigint): bigint => (time - nsec(time)) / SECOND;

/** Shown instead of the object's own. */
export interface Shown {
  readonly ino?: bigint;
  readonly nlink?: number;
}

/** fuse_attr, 88 bytes. `path` is latin1. */
export function fuseAttr(path: string, shown: Shown = {}): Buffer {
  const s = lstatSync(Buffer.from(path, 'latin1'), { bigint: true });
  // Of a mount that can change, no regular file is shown without blocks (src/fuse/encode.ts).
  const blocks = s.isFile() && s.blocks === 0n ? 1n : s.blocks;
  const [atime, mtime, ctime] = [s.atimeNs, s.mtimeNs, s.ctimeNs];
  return wire`
    ${u64(shown.ino ?? s.ino)}               ino
    ${u64(s.size)}                           size
    ${u64(blocks)}                         blocks
    ${u64(sec(atime))}                   atime
    ${u64(sec(mtime))}                   mtime
    ${u64(sec(ctime))}                   ctime
    ${u32(Number(nsec(atime)))}           atimensec
    ${u32(Number(nsec(mtime)))}           mtimensec
    ${u32(Number(nsec(ctime)))}           ctimensec
    ${u32(Number(s.mode))}                   mode
    ${u32(shown.nlink ?? Number(s.nlink))}   nlink
    ${u32(Number(s.uid))}                    uid
    ${u32(Number(s.gid))}                    gid
    ${u32(Number(s.rdev))}                   rdev
    ${u32(Number(s.blksize))}                blksize
    00 00 00 00                              flags`;
}

/** fuse_attr_out, 104 bytes: valid for ever. */
export const attrOut = (path: string, shown: Shown = {}): Buffer =>
  Buffer.concat([
    wire`
      ff ff ff 7f 00 00 00 00   attr_valid
      00 00 00 00               attr_valid_nsec
      00 00 00 00               dummy`,
    fuseAttr(path, shown),
  ]);

/** fuse_entry_out, 128 bytes: valid for ever. The generation is the engine's own affair. */
export const entryOut = (
  path: string,
  node: number,
  generation: bigint,
  shown: Shown = {},
): Buffer =>
  Buffer.concat([
    wire`
      ${u64(node)}              nodeid
      ${u64(generation)}        generation
      ff ff ff 7f 00 00 00 00   entry_valid
      ff ff ff 7f 00 00 00 00   attr_valid
      00 00 00 00               entry_valid_nsec
      00 00 00 00               attr_valid_nsec`,
    fuseAttr(path, shown),
  ]);
