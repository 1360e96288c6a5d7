/**
 * Tells the kernel to forget what it has cached. ENOENT: the kernel does not know the node, so it has cached
 * nothing.
 */
import { NOTIFY_INVAL_INODE } from '../protocol/flags.js';
import { NOTIFY_INVAL_INODE_OUT, OUT_HEADER } from '../protocol/layout.js';
import { SMALL, type Sys } from '../sys/sys.js';

/**
 * A node's attributes and ACLs. Other notifications may wait for a request that waits for us; this one
 * takes no lock that a request holds (fuse_reverse_inval_inode with a negative offset).
 */
export function invalidateAttributes(sys: Sys, slot: number, node: number): void {
  invalidate(sys, slot, node, 0xffff_ffff);
}

/**
 * The listing of a directory, which the kernel keeps in pages of its own (fuse_add_dirent_to_cache) until
 * the directory changes. They are locked for a copy of memory only, and never written.
 */
export function invalidateListing(sys: Sys, slot: number, node: number): void {
  invalidate(sys, slot, node, 0);
}

/** `off`: both halves of the offset from which on data is forgotten. */
function invalidate(sys: Sys, slot: number, node: number, off: number): void {
  const { u32, native } = sys;
  const o = SMALL >> 2;
  const length = OUT_HEADER.size + NOTIFY_INVAL_INODE_OUT.size;
  u32.fill(0, o, o + length / 4);
  u32[o] = length;
  u32[o + OUT_HEADER.error / 4] = NOTIFY_INVAL_INODE;
  const body = o + OUT_HEADER.size / 4;
  u32[body] = node;
  u32[body + NOTIFY_INVAL_INODE_OUT.off / 4] = off;
  u32[body + NOTIFY_INVAL_INODE_OUT.off / 4 + 1] = off;
  native.send(slot, SMALL, length);
}
