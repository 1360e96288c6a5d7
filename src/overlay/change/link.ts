/** Makes hard links. The file is copied up; the new name is one more link of the upper file (ovl_link). */
import { E } from '../../base/errno.js';
import { dtype } from '../../base/mode.js';
import type { Stat } from '../../sys/stat.js';
import { afterChange, beforeChange } from '../answer.js';
import { carryImpure, copyUp, copyUpMeta } from '../copyUp/copyUp.js';
import { FROM_UPPER } from '../listing/dirListing.js';
import { F_METACOPY, F_ORPHAN, F_UNLINKED } from '../inodes/record.js';
import type { Overlay } from '../overlay.js';
import { APPEND, IMMUTABLE, refused, refusedIn } from '../guard.js';
import { setRedirect } from './redirect.js';
import { countByUpper } from '../lookup/hardLinks.js';
import { isUpperWhiteout } from '../lookup/isWhiteout.js';

/** Links `node` to (parent, name), and fills `stat` with its new attributes. Returns 0 or -errno. */
export function link(ov: Overlay, node: number, parent: number, name: string, stat: Stat): number {
  const { table } = ov;
  // Without the index a removed name of a lower was the file's last, whatever the lower counts
  // (vfs_link: no links to a file that has none).
  if (table.has(node, F_UNLINKED) && !table.has(node, F_ORPHAN)) return -E.ENOENT;
  let code = refusedIn(ov, parent);
  if (code >= 0) code = refused(ov, node, APPEND | IMMUTABLE);
  if (code >= 0) code = copyUpMeta(ov, node);
  if (code >= 0) code = copyUp(ov, parent);
  if (code >= 0 && table.has(node, F_METACOPY)) {
    code = setRedirect(ov, node, false);
    if (code === -E.EXDEV) code = copyUp(ov, node);
  }
  if (code < 0) return code;
  const dir = ov.upperDir(parent);
  if (dir < 0) return dir;
  const from = ov.realDir(node);
  if (from < 0) return from;
  const orphan = table.has(node, F_ORPHAN);
  if (!orphan) {
    const at = { parent: table.parent(node), dir: from, name: ov.realName(node) };
    code = carryImpure(ov, node, at, parent);
  }
  if (code >= 0) code = countByUpper(ov, node);
  if (code >= 0) code = beforeChange(ov, node);
  if (code < 0) return code;
  const give = orphan ? nameOrphan : linkUpper;
  code = give(ov, node, parent, dir, name);
  if (code < 0) return code;
  if (orphan) {
    table.clear(node, F_ORPHAN);
    table.rename(node, parent, name, ov.dropped);
  } else {
    table.addAlias(node, parent, name);
  }
  ov.dirListings
    .get(parent)
    ?.put(name, dtype(table.mode(node)), FROM_UPPER, table.inoLo(node), table.inoHi(node));
  afterChange(ov, node, stat);
  return 0;
}

/** An orphan's name in the workdir becomes one in the tree, over a whiteout too. Deciding: the rename. */
function nameOrphan(ov: Overlay, node: number, parent: number, dir: number, name: string): number {
  const { native } = ov.sys;
  const work = ov.workDir();
  const from = ov.realName(node);
  const code = ov.sys.renameNew(work, from, dir, name);
  if (code !== -E.EEXIST) return code;
  const whiteout = whiteoutAt(ov, parent, dir, name);
  return whiteout < 0 ? whiteout : native.renameat2(work, from, dir, name, 0);
}

/** 0 when a whiteout stands at the name; -EEXIST when something else does; -errno. */
function whiteoutAt(ov: Overlay, parent: number, dir: number, name: string): number {
  const { probe } = ov.sys.stats;
  const found = ov.sys.statName(dir, name, probe);
  if (found < 0) return found;
  const there = isUpperWhiteout(ov, parent, dir, name, probe);
  if (there < 0) return there;
  return there > 0 ? 0 : -E.EEXIST;
}

/** The link itself, which decides; over a whiteout it is made in the workdir, and its move there decides. */
function linkUpper(ov: Overlay, node: number, parent: number, dir: number, name: string): number {
  const { native } = ov.sys;
  const from = ov.realDir(node);
  if (from < 0) return from;
  const code = native.linkat(from, ov.realName(node), dir, name, 0);
  if (code !== -E.EEXIST) return code;
  const whiteout = whiteoutAt(ov, parent, dir, name);
  if (whiteout < 0) return whiteout;
  const temp = ov.work?.tempName() ?? '';
  const made = native.linkat(from, ov.realName(node), ov.workDir(), temp, 0);
  if (made < 0) return made;
  const moved = native.renameat2(ov.workDir(), temp, dir, name, 0);
  if (moved < 0) native.unlinkat(ov.workDir(), temp, 0);
  return moved;
}
