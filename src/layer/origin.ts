/**
 * The `origin` xattr: the file handle of the lower object an upper one was copied up from. It keeps
 * st_ino constant over copy-up and remount, under either driver (struct ovl_fb, fs/overlayfs/overlayfs.h).
 */
import { isDir } from '../base/mode.js';
import { STATX } from '../protocol/layout.js';
import { AT_EMPTY_PATH, O_PATH, STATX_BASIC_STATS } from '../sys/constants.js';
import { SMALL, STAT_C, type Sys, XATTR } from '../sys/sys.js';
import type { Layer } from './layer.js';

const MAGIC = 0xfb;
/** version, magic, len, flags, type, uuid[16]. */
const HEADER = 21;
const UUID_AT = 5;
/** OVL_FH_FLAG_BIG_ENDIAN; its absence says little-endian, what this engine runs on. */
const FLAG_BIG_ENDIAN = 1;
const HANDLE_MAX = 128;

/**
 * Writes the origin value of `dirfd`/`name` of a lower layer to the XATTR buffer; returns its
 * length, or 0 when the file system gives no handles: the copy then has no origin, as in
 * ovl_set_origin_fh.
 */
export function encodeOrigin(sys: Sys, layer: Layer, dirfd: number, name: string): number {
  const { u8, u32 } = sys;
  u32[SMALL >> 2] = HANDLE_MAX;
  if (sys.native.nameToHandleAt(dirfd, name, SMALL, 0) < 0) return 0;
  const bytes = u32[SMALL >> 2];
  const length = HEADER + bytes;
  u8[XATTR] = 0;
  u8[XATTR + 1] = MAGIC;
  u8[XATTR + 2] = length;
  u8[XATTR + 3] = 0;
  u8[XATTR + 4] = u32[(SMALL >> 2) + 1];
  sys.put(layer.uuid, XATTR + UUID_AT);
  u8.copyWithin(XATTR + HEADER, SMALL + 8, SMALL + 8 + bytes);
  return length;
}

/**
 * The inode number behind an origin value: it lands at STAT_C. Returns the id of a layer on the same
 * file system, or 0 when there is none to be used: the value is empty or foreign, its layer is not among `layers`, the file is gone, or it has
 * several links (a broken hard link must not share the number, ovl_getattr).
 */
export function statOrigin(sys: Sys, layers: Iterable<Layer>, value: string): number {
  if (value.length <= HEADER || value.charCodeAt(1) !== MAGIC) return 0;
  if ((value.charCodeAt(3) & FLAG_BIG_ENDIAN) !== 0) return 0;
  const uuid = value.slice(UUID_AT, HEADER);
  for (const layer of layers) {
    if (!layer.writable && layer.uuid === uuid) return statHandle(sys, layer, value) ? layer.id : 0;
  }
  return 0;
}

function statHandle(sys: Sys, layer: Layer, value: string): boolean {
  const { native, u32 } = sys;
  u32[SMALL >> 2] = value.length - HEADER;
  u32[(SMALL >> 2) + 1] = value.charCodeAt(4);
  sys.put(value.slice(HEADER), SMALL + 8);
  const fd = native.openByHandleAt(layer.anchor, SMALL, O_PATH);
  // ESTALE: the lower file is gone. EPERM: no CAP_DAC_READ_SEARCH. Both mean: no origin known.
  if (fd < 0) return false;
  const found = native.statx(fd, '', AT_EMPTY_PATH, STATX_BASIC_STATS, STAT_C);
  native.close(fd);
  if (found < 0) return false;
  return isDir(sys.statMode(STAT_C)) || u32[(STAT_C + STATX.nlink) >> 2] === 1;
}
