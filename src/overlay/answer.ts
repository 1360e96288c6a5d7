/**
 * Reads the attributes for the reply to a change that is done. The change has happened whatever statx(2)
 * returns after it, so the reply cannot be an error. Where the attributes cannot be read, the kernel gets the
 * known ones with a validity of 0 (src/fuse/encode.ts), and asks again before it relies on them.
 */
import { display } from '../base/bytes.js';
import { errnoName } from '../base/errno.js';
import { isDir, isReg } from '../base/mode.js';
import { log } from '../sys/log.js';
import type { Stat } from '../sys/stat.js';
import type { Overlay } from './overlay.js';

/**
 * Before a change of `node` that is one call: remembers its attributes where the kernel uses those of the
 * answer without asking again. It does so with the size: of a symlink, and of a regular file where that is
 * not its own (writeback cache: fuse_do_setattr, fuse_change_attributes). Returns 0 or -errno.
 */
export function beforeChange(ov: Overlay, node: number): number {
  const mode = ov.table.mode(node);
  return isDir(mode) || (isReg(mode) && ov.times) ? 0 : remember(ov, node);
}

/** Remembers the attributes of `node`. Returns 0 or -errno. */
export function remember(ov: Overlay, node: number): number {
  const { attrs } = ov.sys.stats;
  const code = ov.stat(node, attrs);
  if (code >= 0) ov.before.keep(node, attrs);
  return Math.min(code, 0);
}

/** Fills `stat` with the attributes of `node` after a change. */
export function afterChange(ov: Overlay, node: number, stat: Stat): void {
  ov.changed = true;
  // Once more: one failure may be of the moment, as ENOMEM and EMFILE are.
  if (ov.stat(node, stat) >= 0) return;
  const code = ov.stat(node, stat);
  if (code >= 0) return;
  const { table } = ov;
  log(
    `a change of ${display(table.name(node))} is done, but it cannot be examined: ${errnoName(code)}`,
  );
  ov.before.put(node, stat);
  stat.mode = table.mode(node);
  ov.uncertain = true;
}
