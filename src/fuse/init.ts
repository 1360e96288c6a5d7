/** INIT: what is asked of the kernel, for the cached data plane (DESIGN.md, decision 1). */
import { E } from '../base/errno.js';
import type { Overlay } from '../overlay/overlay.js';
import { Init, Init2 } from '../protocol/flags.js';
import { INIT_IN, INIT_OUT } from '../protocol/layout.js';
import { MAX_IO } from '../sys/memory.js';

const MAJOR = 7;
const MINOR_LEAST = 31;
const MINOR_MOST = 45;
const PAGE = 4096;

const WANTED =
  Init.ASYNC_READ |
  Init.BIG_WRITES |
  Init.DONT_MASK |
  Init.HAS_IOCTL_DIR |
  Init.DO_READDIRPLUS |
  Init.ASYNC_DIO |
  Init.NO_OPEN_SUPPORT |
  Init.PARALLEL_DIROPS |
  Init.POSIX_ACL |
  Init.ABORT_ERROR |
  Init.MAX_PAGES |
  Init.CACHE_SYMLINKS |
  Init.NO_OPENDIR_SUPPORT |
  Init.EXPLICIT_INVAL_DATA |
  Init.HANDLE_KILLPRIV_V2 |
  Init.SETXATTR_EXT |
  Init.INIT_EXT;

/**
 * Handles of this mount would not survive it, so the kernel must not give any out. Idmapped mounts
 * of the union: the kernel translates, as default_permissions is always on.
 */
const WANTED2 = Init2.NO_EXPORT_SUPPORT | Init2.CREATE_SUPP_GROUP | Init2.ALLOW_IDMAP;

/** Without these the plane is not coherent, or cannot work. */
const NEEDED = Init.NO_OPEN_SUPPORT | Init.NO_OPENDIR_SUPPORT | Init.DONT_MASK | Init.POSIX_ACL;

export interface Negotiated {
  readonly minor: number;
  readonly setxattrExt: boolean;
}

/** Answers INIT: reads fuse_init_in at `from`, writes fuse_init_out at `out`. -EPROTO: this kernel cannot carry the mount. */
export function negotiate(ov: Overlay, from: number, out: number): Negotiated | number {
  const { u32, u16 } = ov.sys;
  const i = from >> 2;
  const minor = Math.min(u32[i + INIT_IN.minor / 4], MINOR_MOST);
  if (u32[i] !== MAJOR || minor < MINOR_LEAST) return -E.EPROTO;
  const offered = u32[i + INIT_IN.flags / 4];
  if ((offered & NEEDED) !== NEEDED) return -E.EPROTO;
  let wanted = WANTED;
  if (ov.upper && ov.spec.writeback) wanted |= Init.WRITEBACK_CACHE;
  if (ov.spec.acl === false) wanted &= ~Init.POSIX_ACL;
  const flags = offered & wanted;
  const extended = (flags & Init.INIT_EXT) !== 0;
  const o = out >> 2;
  u32.fill(0, o, o + INIT_OUT.size / 4);
  u32[o] = MAJOR;
  u32[o + 1] = minor;
  u32[o + INIT_OUT.max_readahead / 4] = u32[i + INIT_IN.max_readahead / 4];
  u32[o + INIT_OUT.flags / 4] = flags;
  u32[o + INIT_OUT.flags2 / 4] = extended ? u32[i + INIT_IN.flags2 / 4] & WANTED2 : 0;
  u16[(out + INIT_OUT.max_background) >> 1] = 64;
  u16[(out + INIT_OUT.congestion_threshold) >> 1] = 48;
  u32[o + INIT_OUT.max_write / 4] = MAX_IO;
  u32[o + INIT_OUT.time_gran / 4] = 1;
  u16[(out + INIT_OUT.max_pages) >> 1] = MAX_IO / PAGE;
  return { minor, setxattrExt: (flags & Init.SETXATTR_EXT) !== 0 };
}
