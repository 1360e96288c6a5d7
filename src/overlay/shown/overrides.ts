/**
 * `xattr_permissions`: an xattr holds owner, mode and type of an object (layer/override.ts). On disk the
 * object has only the permissions that this process needs. The upper is always read so, a lower when its root
 * has such an xattr. The shown values decide what a client may do, so a mode on disk never gives more than
 * the mount's user needs.
 */
import { display } from '../../base/bytes.js';
import { E, errnoText, UserError } from '../../base/errno.js';
import {
  isDir,
  isLnk,
  isReg,
  S_IFMT,
  S_IFREG,
  S_ISGID,
  S_ISUID,
  S_IXGRP,
} from '../../base/mode.js';
import {
  decodeName,
  encodeName,
  formatOverride,
  formOf,
  FORMS,
  needsFile,
  type Override,
  type OverrideForm,
  overrideKey,
  parseOverride,
} from '../../layer/override.js';
import type { Layer } from '../../layer/layer.js';
import { noXattr } from '../../layer/absence.js';
import { CAPABILITY } from '../../layer/xattrs.js';
import { AT_SYMLINK_NOFOLLOW } from '../../sys/constants.js';
import { log } from '../../sys/log.js';
import type { Stat } from '../../sys/stat.js';
import { type Sys, XATTR } from '../../sys/sys.js';
import { NO_ID } from './ids.js';

/** On disk: this process's own. The kernel asks the mode that is shown, also before it runs a file. */
const DIR_MODE = 0o700;
const FILE_MODE = 0o600;

export class Overrides {
  readonly #sys: Sys;
  readonly #forms = new Map<number, OverrideForm>();
  readonly #upper: Layer | undefined;

  /** `level`: the option's value, 1 or 2. Marks the upper's root when it is new to this. Throws a UserError. */
  constructor(sys: Sys, level: number, layers: readonly Layer[], upper: Layer | undefined) {
    this.#sys = sys;
    this.#upper = upper;
    for (const layer of layers) {
      const form = formOf(sys, layer.root, FORMS[level]);
      if (typeof form === 'number') {
        throw new UserError(`cannot read the xattrs of ${display(layer.path)}: ${errnoText(form)}`);
      }
      if (form !== undefined) this.#forms.set(layer.id, form);
    }
    if (upper) this.#begin(level, layers, upper);
  }

  #begin(level: number, layers: readonly Layer[], upper: Layer): void {
    const known = formOf(this.#sys, upper.root, FORMS[2]);
    if (known !== undefined) {
      const other = known === 'privileged' ? 1 : 2;
      if (other === level) return;
      throw new UserError(
        `upperdir ${display(upper.path)} was written with xattr_permissions=${other}: give that`,
      );
    }
    this.#forms.set(upper.id, level === 1 ? 'privileged' : 'containers');
    this.#mark(layers.filter((layer) => layer !== upper));
  }

  /** The root shows what the topmost lower so marked says, else what it is on disk, which changes nothing. */
  #mark(lowers: readonly Layer[]): void {
    const { attrs } = this.#sys.stats;
    const upper = this.#upper;
    if (!upper) return;
    const marked = lowers.find(({ id }) => this.#forms.has(id)) ?? upper;
    let code = this.#sys.statFd(marked.root, attrs);
    if (code >= 0) code = this.show(marked.id, marked.root, '.', attrs);
    if (code >= 0) code = this.keep(upper.root, '.', this.shown(attrs));
    if (code >= 0) return;
    const key = overrideKey(this.#form());
    const instead = key.startsWith('security.')
      ? 'use xattr_permissions=2'
      : 'use another upperdir';
    throw new UserError(
      `xattr_permissions cannot write ${key} to upperdir ${display(upper.path)}: ${errnoText(code)}; ${instead}`,
    );
  }

  /** Layer `twin` has objects of `layer`. */
  share(layer: number, twin: number): void {
    const form = this.#forms.get(layer);
    if (form !== undefined) this.#forms.set(twin, form);
  }

  /** The upper's. */
  #form(): OverrideForm {
    return this.#forms.get(this.#upper?.id ?? 0) ?? 'containers';
  }

  /**
   * Puts what `dir`/`name` of `layer` is to be shown as into its `stat`. 0, also when the object
   * says nothing; -EIO (logged) for a value of an unknown form.
   */
  show(layer: number, dir: number, name: string, stat: Stat): number {
    const form = this.#forms.get(layer);
    const disk = stat.mode;
    if (form === undefined || (form !== 'privileged' && !isReg(disk) && !isDir(disk))) return 0;
    const value = this.#sys.xattr(dir, name, overrideKey(form));
    if (typeof value === 'number') return noXattr(value) ? 0 : value;
    const found = parseOverride(value, disk);
    if (!found) {
      log(`the ${overrideKey(form)} of ${display(name)} is not of a known form`);
      return -E.EIO;
    }
    stat.mode = found.mode;
    // fuse-overlayfs 1.10 writes -1 for an ID that a chown left alone.
    if (found.uid !== NO_ID) stat.uid = found.uid;
    if (found.gid !== NO_ID) stat.gid = found.gid;
    if (((found.mode ^ disk) & S_IFMT) === 0) return 0;
    stat.rdevMajor = found.major;
    stat.rdevMinor = found.minor;
    return 0;
  }

  /** 1 when an xattr holds the owner of `dir`/`name` of `layer`, 0 when not, -errno. */
  tells(layer: number, dir: number, name: string): number {
    const form = this.#forms.get(layer);
    return form === undefined ? 0 : this.#has(dir, name, overrideKey(form));
  }

  #has(dir: number, name: string, key: string): number {
    const size = this.#sys.native.getxattr(dir, name, key, 0, 0);
    if (size >= 0) return 1;
    return noXattr(size) ? 0 : size;
  }

  /** What `stat` shows, after `show`. */
  shown({ uid, gid, mode, rdevMajor, rdevMinor }: Stat): Override {
    return { uid, gid, mode, major: rdevMajor, minor: rdevMinor };
  }

  /** The mode to make an object of the upper with that is shown with `mode`. */
  diskMode(mode: number): number {
    if (needsFile(this.#form(), mode)) return S_IFREG | FILE_MODE;
    return (mode & S_IFMT) | (isDir(mode) ? DIR_MODE : FILE_MODE);
  }

  /** Writes what an object of the upper is shown as. Returns 0 or -errno. */
  keep(dir: number, name: string, as: Override): number {
    const size = this.#sys.put(formatOverride(as), XATTR);
    const key = overrideKey(this.#form());
    const code = this.#sys.native.setxattr(dir, name, key, XATTR, size, 0);
    const regular = isReg(as.mode) || isDir(as.mode);
    return code === -E.EPERM && !regular && key.startsWith('user.')
      ? this.#keepOnDisk(dir, name, as)
      : code;
  }

  /**
   * A symlink, or a special file that another driver made, takes no user.* xattrs: its owner is the
   * disk's. Where that cannot be changed it stays, and nobody is refused for it (as fuse-overlayfs).
   */
  #keepOnDisk(dir: number, name: string, as: Override): number {
    const { native } = this.#sys;
    native.fchownat(dir, name, as.uid, as.gid, AT_SYMLINK_NOFOLLOW);
    return isLnk(as.mode) ? 0 : native.fchmodat(dir, name, as.mode & 0o7777);
  }

  // --- xattrs ------------------------------------------------------------------------------
  /** The name on disk, in `layer`, of a client's xattr; -EPERM for one of ours. */
  toDisk(layer: number, key: string): string | number {
    return encodeName(this.#forms.get(layer), key);
  }

  /** The client's name of an xattr in `layer`; undefined for one that clients do not see. */
  toClient(layer: number, key: string): string | undefined {
    return decodeName(this.#forms.get(layer), key);
  }

  /**
   * Takes the capabilities of an upper file away, as chown(2) and write(2) do: on disk they may be under
   * another name, or the change does not reach the disk. Returns 0 or -errno.
   */
  dropCapability(dir: number, name: string): number {
    const key = encodeName(this.#form(), CAPABILITY);
    if (typeof key === 'number') return key;
    const code = this.#sys.native.removexattr(dir, name, key);
    return noXattr(code) ? 0 : code;
  }

  /** 1 when an upper file has capabilities that a write to it would not take away by itself, 0 when not, -errno. */
  hidesCapability(dir: number, name: string): number {
    const key = encodeName(this.#form(), CAPABILITY);
    return typeof key === 'number' || key === CAPABILITY ? 0 : this.#has(dir, name, key);
  }
}

/** The mode of a file whose owner changes (setattr_should_drop_suidgid, for one with CAP_FSETID). */
export function modeAfterChown(mode: number): number {
  if (isDir(mode)) return mode;
  const kept = mode & ~S_ISUID;
  return (kept & S_IXGRP) !== 0 ? kept & ~S_ISGID : kept;
}
