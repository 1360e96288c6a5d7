/**
 * The `origin` xattr: the file handle of the lower object that an upper object was copied up from. With it
 * st_ino stays the same over copy-up and remount, under either driver (struct ovl_fb,
 * fs/overlayfs/overlayfs.h).
 */
import { O_PATH } from '../sys/constants.js';
import type { Stat } from '../sys/stat.js';
import { SMALL, type Sys, XATTR } from '../sys/sys.js';
import { noHandle, noHandleRight, staleHandle } from './absence.js';
import type { Layer } from './layer.js';

const MAGIC = 0xfb;
/** version, magic, len, flags, type, uuid[16]. */
const HEADER = 21;
const UUID_AT = 5;
/** OVL_FH_FLAG_BIG_ENDIAN; its absence says little-endian, what this engine runs on. */
const FLAG_BIG_ENDIAN = 1;
/** OVL_FH_FLAG_PATH_UPPER: the handle of an object of the upper. */
export const FLAG_UPPER = 4;
/** MAX_HANDLE_SZ (name_to_handle_at(2)): bytes of a handle at most. */
export const HANDLE_MAX = 128;

/**
 * Writes the origin value of `dirfd`/`name` of a lower layer to the XATTR buffer; returns its
 * length, -errno, or 0 when the file system gives no handles: the copy then has no origin, as in
 * ovl_set_origin_fh.
 */
export function encodeOrigin(
  sys: Sys,
  layer: Layer,
  dirfd: number,
  name: string,
  flags = 0,
): number {
  const { u8, u32 } = sys;
  u32[SMALL >> 2] = HANDLE_MAX;
  const found = sys.native.nameToHandleAt(dirfd, name, SMALL, 0);
  if (found < 0) return noHandle(found) ? 0 : found;
  const bytes = u32[SMALL >> 2];
  const length = HEADER + bytes;
  u8[XATTR] = 0;
  u8[XATTR + 1] = MAGIC;
  u8[XATTR + 2] = length;
  u8[XATTR + 3] = flags;
  u8[XATTR + 4] = u32[(SMALL >> 2) + 1];
  sys.put(layer.uuid, XATTR + UUID_AT);
  u8.copyWithin(XATTR + HEADER, SMALL + 8, SMALL + 8 + bytes);
  return length;
}

/** The same as a string; "" when there is none. */
export function originOf(
  sys: Sys,
  layer: Layer,
  dirfd: number,
  name: string,
  flags = 0,
): string | number {
  const length = encodeOrigin(sys, layer, dirfd, name, flags);
  return length <= 0 ? length || '' : sys.text(XATTR, length);
}

/** The name of an origin's entry in the index (ovl_get_index_name_fh). */
export const indexName = (origin: string): string => Buffer.from(origin, 'latin1').toString('hex');

/** The origin an entry of the index is named after; undefined for any other name. */
export function originOfIndexName(name: string): string | undefined {
  if (name.length < 2 * HEADER || !/^([0-9a-f]{2})+$/.test(name)) return undefined;
  const origin = Buffer.from(name, 'hex').toString('latin1');
  const [version, magic, length] = [0, 1, 2].map((i) => origin.charCodeAt(i));
  return version === 0 && magic === MAGIC && length === origin.length ? origin : undefined;
}

/**
 * The layers that origins are looked for in: one for each st_dev. Where two file systems have the same
 * UUID, a handle could be either's, and would find one file in place of another (ovl_lower_uuid_ok).
 */
export function originLayers(layers: readonly Layer[]): readonly Layer[] {
  const byDev = new Map<number, Layer>();
  for (const layer of layers) {
    if (!layer.writable && !byDev.has(layer.dev)) byDev.set(layer.dev, layer);
  }
  const first = [...byDev.values()];
  return first.filter(({ uuid, fileSystem }) =>
    first.every((other) => other.uuid !== uuid || other.fileSystem === fileSystem),
  );
}

/**
 * Finds the object behind an origin value, and fills `stat`. Returns the id of a layer on
 * its file system, or 0 when there is none to be used: the value is empty or foreign, its layer is
 * not among `layers` (of originLayers), the file is gone, or handles cannot be opened here. -errno when
 * that cannot be told.
 */
export function findOrigin(sys: Sys, layers: readonly Layer[], value: string, stat: Stat): number {
  if (value.length <= HEADER || value.charCodeAt(1) !== MAGIC) return 0;
  if ((value.charCodeAt(3) & FLAG_BIG_ENDIAN) !== 0) return 0;
  const uuid = value.slice(UUID_AT, HEADER);
  const layer = layers.find((each) => each.uuid === uuid);
  if (!layer) return 0;
  const found = statHandle(sys, layer, value, stat);
  if (found < 0) return staleHandle(found) || noHandleRight(found) ? 0 : found;
  return layers.find((each) => each.dev === stat.dev)?.id ?? layer.id;
}

/** 0 when the object behind a file handle in `layer` can be reached; it then fills `stat`. -errno. */
export function statHandle(sys: Sys, layer: Layer, value: string, stat: Stat): number {
  const { native, u32 } = sys;
  u32[SMALL >> 2] = value.length - HEADER;
  u32[(SMALL >> 2) + 1] = value.charCodeAt(4);
  sys.put(value.slice(HEADER), SMALL + 8);
  const fd = native.openByHandleAt(layer.anchor, SMALL, O_PATH);
  if (fd < 0) return fd;
  const found = sys.statFd(fd, stat);
  native.close(fd);
  return found;
}
