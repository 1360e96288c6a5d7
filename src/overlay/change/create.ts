/**
 * Creates objects. All kinds take the same steps. First the parent is copied up. Then the object is made:
 * - in place, where the name is free: the upper's file system applies set-group-ID and default ACLs;
 * - in the workdir, where a whiteout stands at the name; one rename then replaces the whiteout.
 * (ovl_create_upper, ovl_create_over_whiteout)
 */
import { display } from '../../base/bytes.js';
import { E, errnoName } from '../../base/errno.js';
import { isDir, S_ISGID } from '../../base/mode.js';
import { AT_REMOVEDIR } from '../../sys/constants.js';
import { log } from '../../sys/log.js';
import type { Stat } from '../../sys/stat.js';
import { copyUp } from '../copyUp/copyUp.js';
import { F_ORPHAN, F_UNGUARDED, F_UNLINKED, F_UPPER } from '../inodes/record.js';
import { xinoHi } from '../lookup/identity.js';
import {
  adopt,
  type Creation,
  hasIds,
  makeObject,
  makeOrphan,
  maskedMode,
  own,
  statNew,
  upperParent,
} from './newObject.js';
import { orphanName, type Overlay } from '../overlay.js';
import { leave } from '../workdir/workdir.js';
import { refusedIn } from '../guard.js';
import { createOverWhiteout, setOpaque } from './whiteouts.js';

/** Creates an object and its node, and fills `stat`. Returns the node or -errno. */
export function create(ov: Overlay, creation: Creation, stat: Stat): number {
  const { parent, name } = creation;
  if (!hasIds(creation.caller)) return -E.EOVERFLOW;
  const dir = upperParent(ov, parent);
  if (dir < 0) return dir;
  const mode = maskedMode(ov, parent, creation);
  if (mode < 0) return mode;
  // Deciding: it is made, with all that belongs to it, or taken away again.
  let code = makeObject(ov, creation, dir, name, mode);
  if (code >= 0) code = finishInPlace(ov, creation, dir, mode, stat);
  else if (code === -E.EEXIST) code = createOverWhiteout(ov, creation, dir, mode, stat);
  return code < 0 ? code : adopt(ov, parent, name, stat);
}

/**
 * Owner and set-id bits of an object made at its final name; fills `stat`. A failure takes it away
 * again.
 */
function finishInPlace(
  ov: Overlay,
  creation: Creation,
  dir: number,
  mode: number,
  stat: Stat,
): number {
  const { parent, name } = creation;
  const inherits = (ov.table.mode(parent) & S_ISGID) !== 0;
  let code = own(ov, creation, { dir, name }, mode, inherits ? -1 : creation.caller.gid);
  const opaque = isDir(mode) && ov.lowers.count(ov.table.lower(parent)) > 0;
  // An optimization, allowed to fail: lookups then need not look below (ovl_create_upper).
  if (code >= 0 && opaque) setOpaque(ov, dir, name);
  if (code >= 0) code = statNew(ov, dir, name, stat);
  if (code >= 0) return 0;
  const undone = ov.sys.native.unlinkat(dir, name, isDir(mode) ? AT_REMOVEDIR : 0);
  if (undone < 0) {
    log(`cannot take ${display(name)} away, which was not made whole: ${errnoName(undone)}`);
    ov.dirListings.drop(parent);
  }
  return code;
}

/** O_TMPFILE: an orphan from birth, which LINK may give a name. Fills `stat`. Returns the node or -errno. */
export function createTmpfile(ov: Overlay, creation: Creation, stat: Stat): number {
  const { parent, mode } = creation;
  if (!hasIds(creation.caller)) return -E.EOVERFLOW;
  const guarded = refusedIn(ov, parent);
  if (guarded < 0) return guarded;
  const up = copyUp(ov, parent);
  if (up < 0) return up;
  const node = ov.table.create(parent, '', mode);
  const name = orphanName(node);
  // Deciding: the object in the workdir has no other name, and goes if it cannot be examined.
  let code = makeOrphan(ov, { ...creation, name });
  if (code >= 0) {
    code = statNew(ov, ov.workDir(), name, stat);
    if (code < 0) leave(ov.sys.native.unlinkat(ov.workDir(), name, 0), name);
  }
  if (code < 0) {
    ov.table.release(node, ov.dropped);
    return code;
  }
  ov.changed = true;
  const { inoLo, inoHi } = stat;
  const layer = ov.upper?.id ?? 0;
  ov.table.setMode(node, stat.mode);
  ov.table.set(node, F_UPPER | F_UNGUARDED | F_ORPHAN | F_UNLINKED);
  ov.table.setKey(node, layer, inoLo, inoHi);
  ov.table.setIno(node, inoLo, xinoHi(ov, layer, inoHi));
  return node;
}
