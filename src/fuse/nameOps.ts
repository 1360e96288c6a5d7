/** Requests about names: lookup, create, remove, rename, link. */
import { E } from '../base/errno.js';
import { isChr, S_IFDIR, S_IFLNK, S_IFMT } from '../base/mode.js';
import { create } from '../overlay/change/create.js';
import { createWhiteout } from '../overlay/change/whiteouts.js';
import type { Creation, Make } from '../overlay/change/newObject.js';
import { Found } from '../overlay/hit.js';
import { lose, renew } from '../overlay/lookup/live.js';
import { link } from '../overlay/change/link.js';
import { nodeOfHit, resolve } from '../overlay/lookup/lookup.js';
import { rmdir, unlink } from '../overlay/change/remove.js';
import { rename } from '../overlay/change/rename.js';
import { LINK_IN, MKDIR_IN, MKNOD_IN, RENAME2_IN, RENAME_IN } from '../protocol/layout.js';
import type { Stat } from '../sys/stat.js';
import { devMajor, devMinor, encodeEntry, encodeNegative } from './encode.js';
import { nameAt, REPLY, type Served, word } from './served.js';

export function onLookup(s: Served, parent: number): number {
  const { ov } = s;
  const name = nameAt(s, 0);
  // Never asked for without EXPORT_SUPPORT; ".." of a layer's root would lead out of it.
  if (name === '.' || name === '..') return -E.EINVAL;
  const known = ov.live ? 0 : ov.table.byName(parent, name);
  if (known !== 0) {
    const { reply } = ov.sys.stats;
    const code = ov.stat(known, reply);
    return code < 0 ? code : entry(s, known, reply);
  }
  const code = resolve(ov, parent, name);
  if (code < 0) return code;
  if (ov.hit.found === Found.None || ov.hit.found === Found.UpperWhiteout) {
    if (ov.live) lose(ov, parent, name);
    return encodeNegative(ov, REPLY);
  }
  const node = ov.live ? renew(ov, parent, name) : nodeOfHit(ov, parent, name);
  const complete = ov.complete(node, ov.hit.stat);
  if (complete >= 0) return entry(s, node, ov.hit.stat);
  ov.table.release(node, ov.dropped);
  return complete;
}

/** The reply that gives the kernel one more lookup of `node`; -errno gives none. */
function entry(s: Served, node: number, stat: Stat): number {
  const size = encodeEntry(s.ov, node, stat, REPLY);
  if (size < 0) s.ov.table.release(node, s.ov.dropped);
  else s.ov.table.remember(node);
  return size;
}

/** Creates and answers with the entry. */
function made(s: Served, creation: Creation): number {
  const { reply } = s.ov.sys.stats;
  const node = create(s.ov, creation, reply);
  return node < 0 ? node : entry(s, node, reply);
}

export function onMknod(s: Served, parent: number): number {
  const { native } = s.ov.sys;
  const mode = word(s, MKNOD_IN.mode) & 0xffff;
  const rdev = word(s, MKNOD_IN.rdev);
  if (isChr(mode) && rdev === 0) return whiteout(s, parent, mode);
  const device = { major: devMajor(rdev), minor: devMinor(rdev) };
  const make: Make = (dir, name, masked) =>
    native.mknodat(dir, name, masked, device.major, device.minor);
  const caller = s.caller.creator(word(s, MKNOD_IN.umask));
  return made(s, { parent, name: nameAt(s, MKNOD_IN.size), mode, caller, make, ...device });
}

/** A 0:0 device: an overlay that has its upper here covers a name (ovl_mknod refuses it). */
function whiteout(s: Served, parent: number, mode: number): number {
  const caller = s.caller.creator(word(s, MKNOD_IN.umask));
  const { reply } = s.ov.sys.stats;
  const name = nameAt(s, MKNOD_IN.size);
  const node = createWhiteout(s.ov, { parent, name, mode, caller }, reply);
  return node < 0 ? node : entry(s, node, reply);
}

export function onMkdir(s: Served, parent: number): number {
  const mode = (word(s, MKDIR_IN.mode) & ~S_IFMT & 0xffff) | S_IFDIR;
  const make: Make = (dir, name, masked) => s.ov.sys.native.mkdirat(dir, name, masked & 0o7777);
  const caller = s.caller.creator(word(s, MKDIR_IN.umask));
  return made(s, { parent, name: nameAt(s, MKDIR_IN.size), mode, caller, make });
}

export function onSymlink(s: Served, parent: number): number {
  const name = nameAt(s, 0);
  const target = nameAt(s, name.length + 1);
  const make: Make = (dir, at) => s.ov.sys.native.symlinkat(target, dir, at);
  const caller = s.caller.creator(0);
  return made(s, { parent, name, mode: S_IFLNK | 0o777, caller, make });
}

export const onUnlink = (s: Served, parent: number): number => unlink(s.ov, parent, nameAt(s, 0));

export const onRmdir = (s: Served, parent: number): number => rmdir(s.ov, parent, nameAt(s, 0));

export const onRename = (s: Served, parent: number): number =>
  renameNames(s, parent, word(s, RENAME_IN.newdir), RENAME_IN.size, 0);

export const onRename2 = (s: Served, parent: number): number =>
  renameNames(s, parent, word(s, RENAME2_IN.newdir), RENAME2_IN.size, word(s, RENAME2_IN.flags));

function renameNames(
  s: Served,
  parent: number,
  newParent: number,
  at: number,
  flags: number,
): number {
  if (!s.ov.table.exists(newParent)) return -E.ESTALE;
  const name = nameAt(s, at);
  const newName = nameAt(s, at + name.length + 1);
  return rename(s.ov, { parent, name }, { parent: newParent, name: newName }, flags, s.caller);
}

export function onLink(s: Served, parent: number): number {
  const old = word(s, LINK_IN.oldnodeid);
  if (!s.ov.table.exists(old)) return -E.ESTALE;
  const node = s.ov.table.current(old);
  const { reply } = s.ov.sys.stats;
  const code = link(s.ov, node, parent, nameAt(s, LINK_IN.size), reply);
  return code < 0 ? code : entry(s, node, reply);
}
