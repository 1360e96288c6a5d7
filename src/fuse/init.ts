/** INIT: negotiates with the kernel, for either data plane (docs/design.md, "Two data planes"). */
import { E } from '../base/errno.js';
import type { Overlay } from '../overlay/overlay.js';
import { isStacked } from '../overlay/plane.js';
import { Init, Init2 } from '../protocol/flags.js';
import { INIT_IN, INIT_OUT } from '../protocol/layout.js';
import { MAX_IO } from '../sys/memory.js';
import { BODY, REPLY, type Served } from './served.js';
import { connectFlushes, connectTimes } from './writebackPort.js';

const MAJOR = 7;
const MINOR_LEAST = 31;
const MINOR_MOST = 45;
const PAGE = 4096;

/** Of both planes. */
const WANTED =
  Init.ASYNC_READ |
  Init.BIG_WRITES |
  Init.DONT_MASK |
  Init.HAS_IOCTL_DIR |
  Init.DO_READDIRPLUS |
  Init.ASYNC_DIO |
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

/** Not where another mount changes the upper: pages and listings then go with the mtime. */
const LASTING = Init.EXPLICIT_INVAL_DATA | Init.CACHE_SYMLINKS;

/**
 * Handles of this mount would not survive it, so the kernel must not give any out. Idmapped mounts
 * of the union: the kernel translates, as default_permissions is always on.
 */
const WANTED2 = Init2.NO_EXPORT_SUPPORT | Init2.CREATE_SUPP_GROUP | Init2.ALLOW_IDMAP;

/** Without these no plane is coherent, or can work. */
const NEEDED = Init.NO_OPEN_SUPPORT | Init.NO_OPENDIR_SUPPORT | Init.DONT_MASK | Init.POSIX_ACL;

interface Negotiated {
  readonly minor: number;
  readonly setxattrExt: boolean;
  readonly writeback: boolean;
}

/**
 * How deep we count as stacked (fc->max_stack_depth): backing files must be less deep, and what is
 * mounted over us deeper, of 2 at most. So 1, which leaves room for an overlayfs on top, unless a
 * layer itself is on a stacked file system.
 */
const stackDepth = (ov: Overlay): number =>
  [...ov.allLayers()].some((layer) => isStacked(ov.sys, layer)) ? 2 : 1;

/**
 * Answers INIT: reads fuse_init_in at `from`, writes fuse_init_out at `out`. -EPROTO: this kernel
 * cannot carry the mount; -EOPNOTSUPP: it has no passthrough.
 */
function negotiate(ov: Overlay, from: number, out: number): Negotiated | number {
  const { u32, u16 } = ov.sys;
  const i = from >> 2;
  const minor = Math.min(u32[i + INIT_IN.minor / 4], MINOR_MOST);
  if (u32[i] !== MAJOR || minor < MINOR_LEAST) return -E.EPROTO;
  const offered = u32[i + INIT_IN.flags / 4];
  if ((offered & NEEDED) !== NEEDED) return -E.EPROTO;
  const offers = (offered & Init.INIT_EXT) !== 0 ? u32[i + INIT_IN.flags2 / 4] : 0;
  if (ov.passthrough && (offers & Init2.PASSTHROUGH) === 0) {
    if (ov.spec.data !== 'auto') return -E.EOPNOTSUPP;
    ov.passthrough = false;
  }
  const { passthrough } = ov;
  const flags = offered & wantedFlags(ov, passthrough);
  const depth = passthrough ? stackDepth(ov) : 0;
  const o = out >> 2;
  u32.fill(0, o, o + INIT_OUT.size / 4);
  u32[o] = MAJOR;
  u32[o + 1] = minor;
  u32[o + INIT_OUT.max_readahead / 4] = u32[i + INIT_IN.max_readahead / 4];
  u32[o + INIT_OUT.flags / 4] = flags;
  u32[o + INIT_OUT.flags2 / 4] = offers & (passthrough ? WANTED2 | Init2.PASSTHROUGH : WANTED2);
  u32[o + INIT_OUT.max_stack_depth / 4] = depth;
  u16[(out + INIT_OUT.max_background) >> 1] = 64;
  u16[(out + INIT_OUT.congestion_threshold) >> 1] = 48;
  u32[o + INIT_OUT.max_write / 4] = MAX_IO;
  u32[o + INIT_OUT.time_gran / 4] = 1;
  u16[(out + INIT_OUT.max_pages) >> 1] = MAX_IO / PAGE;
  return {
    minor,
    setxattrExt: (flags & Init.SETXATTR_EXT) !== 0,
    writeback: (flags & Init.WRITEBACK_CACHE) !== 0,
  };
}

export function onInit(s: Served): number {
  const agreed = negotiate(s.ov, BODY, REPLY);
  if (typeof agreed === 'number') {
    s.failure =
      agreed === -E.EOPNOTSUPP
        ? 'this kernel has no FUSE passthrough (Linux 6.9, CONFIG_FUSE_PASSTHROUGH): leave data=passthrough out'
        : 'the FUSE protocol of this kernel is too old: Linux 5.4 or later is needed';
    return agreed;
  }
  s.minor = agreed.minor;
  s.setxattrExt = agreed.setxattrExt;
  if (agreed.writeback) connectTimes(s.ov, s.slot);
  if (s.ov.upper && !s.ov.passthrough) connectFlushes(s.ov, s.slot);
  return INIT_OUT.size;
}

/** Passthrough: opens are requests, which truncate too; the writeback cache excludes it (process_init_reply). */
function wantedFlags(ov: Overlay, passthrough: boolean): number {
  const plain = ov.live ? (WANTED & ~LASTING) | Init.AUTO_INVAL_DATA : WANTED;
  // With ACLs the kernel checks permissions whatever the mount's options (process_init_reply).
  const without = ov.spec.acl === false && ov.spec.givenMount !== true;
  const wanted = without ? plain & ~Init.POSIX_ACL : plain;
  if (passthrough) return wanted | Init.ATOMIC_O_TRUNC;
  const cached = wanted | Init.NO_OPEN_SUPPORT;
  return ov.upper && ov.spec.writeback ? cached | Init.WRITEBACK_CACHE : cached;
}
