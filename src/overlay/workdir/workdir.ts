/**
 * The workdir. Objects are made ready here before one rename publishes them, and objects without names wait
 * here while they are in use. All of them lie in `WORKDIR/work`, which is emptied at mount, as kernel
 * overlayfs does (ovl_workdir_cleanup).
 */
import { display } from '../../base/bytes.js';
import { E, errnoName, errnoText, UserError } from '../../base/errno.js';
import {
  noName,
  noXattr,
  refusesDevices,
  takesNoTrusted,
  takesNoXattr,
} from '../../layer/absence.js';
import { readEntries } from '../../layer/directory.js';
import { makeWhiteout, makeXWhiteout } from '../../layer/whiteout.js';
import { ACCESS_ACL, DEFAULT_ACL, TRUSTED, USER } from '../../layer/xattrs.js';
import {
  AT_FDCWD,
  AT_REMOVEDIR,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_PATH,
  RENAME_EXCHANGE,
  RENAME_WHITEOUT,
  RESOLVE_LAYER,
} from '../../sys/constants.js';
import { log } from '../../sys/log.js';
import type { Sys } from '../../sys/sys.js';

const WHITEOUT = '#whiteout';
const STATX_MNT_ID = 0x1000;

export class Workdir {
  /** O_PATH descriptor of `WORKDIR/work`. */
  readonly dir: number;
  /** O_PATH descriptor of `WORKDIR`, and its path for messages. */
  readonly base: number;
  readonly path: string;
  /** `trusted.*` xattrs can be written here. */
  readonly trusted: boolean;
  /** Whiteouts are files with an xattr: device nodes cannot be made here. */
  readonly xwhiteouts: boolean;
  readonly #sys: Sys;
  /** The session's; -1 before there is one. */
  slot = -1;
  #temps = 0;

  /** Takes the descriptors over. Throws a UserError, and then does not. */
  constructor(sys: Sys, path: string, base: number, dir: number) {
    this.#sys = sys;
    this.path = path;
    this.base = base;
    this.dir = dir;
    const { native } = sys;
    // A wrong answer to either would have the mount ignore the marks that are there, or write others.
    const marked = native.setxattr(dir, '.', `${TRUSTED}opaque`, 0, 0, 0);
    if (marked < 0 && !takesNoTrusted(marked)) throw unusable(path, marked);
    this.trusted = marked >= 0;
    if (this.trusted) native.removexattr(dir, '.', `${TRUSTED}opaque`);
    const made = makeWhiteout(sys, dir, WHITEOUT);
    if (made < 0 && !refusesDevices(made)) throw unusable(path, made);
    if (made >= 0) native.unlinkat(dir, WHITEOUT, 0);
    this.xwhiteouts = made < 0;
  }

  /** 0 when whiteouts can be made, else -errno: then nothing that a lower has could be removed. */
  checkWhiteouts(): number {
    if (!this.xwhiteouts) return 0;
    const made = this.#make(this.dir, WHITEOUT);
    return made < 0 ? made : this.#sys.native.unlinkat(this.dir, WHITEOUT, 0);
  }

  #make(dirfd: number, name: string): number {
    if (!this.xwhiteouts) return makeWhiteout(this.#sys, dirfd, name);
    return makeXWhiteout(this.#sys, dirfd, name, this.trusted ? TRUSTED : USER);
  }

  /** A name no other object in the workdir has. */
  tempName(): string {
    return `#${(++this.#temps).toString(16)}`;
  }

  /** Puts a whiteout at a free name: a link to one shared object, as ovl_whiteout does. */
  whiteout(dirfd: number, name: string): number {
    const { native } = this.#sys;
    const linked = native.linkat(this.dir, WHITEOUT, dirfd, name, 0);
    // No hard links here (link(2), EPERM): each whiteout is an object of its own.
    if (linked === -E.EPERM || linked === -E.EOPNOTSUPP || linked === -E.ENOSYS) {
      return this.#make(dirfd, name);
    }
    if (!noName(linked) && linked !== -E.EMLINK) return linked;
    if (linked === -E.EMLINK) native.unlinkat(this.dir, WHITEOUT, 0);
    const made = this.#make(this.dir, WHITEOUT);
    if (made < 0) return made;
    const again = native.linkat(this.dir, WHITEOUT, dirfd, name, 0);
    return again === -E.EPERM ? this.#make(dirfd, name) : again;
  }

  /**
   * Takes an upper object away from its name, in one step: to `orphan` in the workdir, or off the
   * disk when that is undefined. With `whiteout` one stands at the name afterwards.
   */
  takeAway(dirfd: number, name: string, orphan: string | undefined, whiteout: boolean): number {
    const { native } = this.#sys;
    if (!whiteout) {
      return orphan === undefined
        ? native.unlinkat(dirfd, name, 0)
        : native.renameat2(dirfd, name, this.dir, orphan, 0);
    }
    // Deciding: the rename that leaves a whiteout, or the exchange with one.
    if (orphan !== undefined) return this.#moveLeavingWhiteout(dirfd, name, orphan);
    // The file has other names: a whiteout replaces this one. Deciding: the rename.
    const temp = this.tempName();
    const made = this.whiteout(this.dir, temp);
    if (made < 0) return made;
    const covered = native.renameat2(this.dir, temp, dirfd, name, 0);
    if (covered < 0) leave(native.unlinkat(this.dir, temp, 0), temp);
    return covered;
  }

  #moveLeavingWhiteout(dirfd: number, name: string, target: string): number {
    const { native } = this.#sys;
    const moved = this.xwhiteouts
      ? -E.EINVAL
      : native.renameat2(dirfd, name, this.dir, target, RENAME_WHITEOUT);
    if (moved !== -E.EINVAL) return moved;
    // RENAME_WHITEOUT would leave a device, or this file system does not have it: a whiteout made
    // here changes places with the object.
    const made = this.whiteout(this.dir, target);
    if (made < 0) return made;
    const swapped = this.swap(dirfd, name, this.dir, target);
    if (swapped < 0) native.unlinkat(this.dir, target, 0);
    return swapped;
  }

  /**
   * The object of the workdir `cover` takes the name of an upper one, which is `orphan` in the workdir then:
   * in one step, but for the name there.
   */
  swapAway(dirfd: number, name: string, cover: string, orphan: string): number {
    const { native } = this.#sys;
    const swapped = native.renameat2(this.dir, cover, dirfd, name, RENAME_EXCHANGE);
    if (swapped < 0) return swapped;
    leave(native.renameat2(this.dir, cover, this.dir, orphan, 0), cover);
    return 0;
  }

  /**
   * The object `from` and the whiteout `to` change places. A file system without RENAME_EXCHANGE answers
   * EINVAL: there a file replaces the whiteout in one step and the whiteout follows; a directory cannot,
   * so after a crash in between the name `to` may be absent.
   */
  swap(fromDir: number, from: string, toDir: number, to: string): number {
    const { native } = this.#sys;
    const swapped = native.renameat2(fromDir, from, toDir, to, RENAME_EXCHANGE);
    if (swapped !== -E.EINVAL) return swapped;
    const moved = this.replaceWhiteout(fromDir, from, toDir, to);
    if (moved < 0) return moved;
    const covered = this.whiteout(fromDir, from);
    if (covered >= 0) return 0;
    const back = native.renameat2(toDir, to, fromDir, from, 0);
    const again = back < 0 ? back : this.whiteout(toDir, to);
    if (again < 0) log(`cannot undo a rename that failed: ${errnoName(again)}`);
    return covered;
  }

  /** The object `from` takes the place of the whiteout `to`, in one step where the file system can. */
  replaceWhiteout(fromDir: number, from: string, toDir: number, to: string): number {
    const { native } = this.#sys;
    const moved = native.renameat2(fromDir, from, toDir, to, 0);
    // A directory replaces no file: ENOTDIR.
    if (moved !== -E.ENOTDIR) return moved;
    const swapped = native.renameat2(fromDir, from, toDir, to, RENAME_EXCHANGE);
    if (swapped >= 0) return this.#dropSwapped(fromDir, from);
    if (swapped !== -E.EINVAL) return swapped;
    const freed = native.unlinkat(toDir, to, 0);
    if (freed < 0) return freed;
    const done = native.renameat2(fromDir, from, toDir, to, 0);
    if (done >= 0) return done;
    const again = this.whiteout(toDir, to);
    if (again < 0) log(`cannot put back a whiteout: ${errnoName(again)}`);
    return done;
  }

  /** The object has its place: a whiteout that stays behind is cleanup. */
  #dropSwapped(dirfd: number, name: string): number {
    const code = this.#sys.native.unlinkat(dirfd, name, 0);
    if (code < 0) log(`cannot remove a whiteout that has been replaced: ${errnoName(code)}`);
    return 0;
  }

  /** Removes an object whose last user has gone. */
  removeOrphan(name: string, dir: boolean): void {
    const code = dir
      ? removeTree(this.#sys, this.dir, name)
      : this.#sys.native.unlinkApart(this.slot, this.dir, name);
    leave(code, name);
  }

  close(): void {
    this.#sys.native.unlinkat(this.dir, WHITEOUT, 0);
    this.#sys.native.close(this.dir);
    this.#sys.native.close(this.base);
  }
}

/**
 * Says that `name` could not be removed from the workdir (`code` < 0): the change is done, and
 * the next mount removes it.
 */
export function leave(code: number, name: string): void {
  if (code < 0) log(`cannot remove ${display(name)} from the workdir: ${errnoName(code)}`);
}

/**
 * Opens and empties the workdir at `path` (absolute), which must be on the mount of the upper
 * (`upperRoot`). Throws a UserError.
 */
export function openWorkdir(sys: Sys, path: string, upperRoot: number, volatile: boolean): Workdir {
  const { native } = sys;
  const base = sys.open(AT_FDCWD, path, O_PATH | O_DIRECTORY, 0, 0);
  if (base < 0) throw new UserError(`cannot open workdir ${display(path)}: ${errnoText(base)}`);
  try {
    if (mountOf(sys, base) !== mountOf(sys, upperRoot)) {
      throw new UserError(
        `workdir ${display(path)} and the upperdir are not on the same mount; put both on one`,
      );
    }
    const cleared = removeTree(sys, base, 'work');
    if (cleared < 0 && !noName(cleared)) throw unusable(path, cleared);
    const made = makePlain(sys, base, 'work');
    if (made < 0) throw unusable(path, made);
    if (volatile) markVolatile(sys, base, path);
    const dir = openBeneath(sys, base, 'work');
    if (dir < 0) throw unusable(path, dir);
    return probed(sys, path, base, dir);
  } catch (error) {
    native.close(base);
    throw error;
  }
}

/**
 * Makes a directory in the workdir that passes nothing on to what is made in it: no group, and no ACL,
 * which a default ACL of the workdir would give to copies of files that have none (ovl_workdir_create).
 * Returns 0 or -errno.
 */
export function makePlain({ native }: Sys, base: number, name: string): number {
  const made = native.mkdirat(base, name, 0o700);
  if (made < 0) return made;
  for (const key of [DEFAULT_ACL, ACCESS_ACL]) {
    const code = native.removexattr(base, name, key);
    if (code < 0 && !noXattr(code)) return code;
  }
  return native.fchmodat(base, name, 0o700);
}

/** The workdir behind two descriptors, of which it closes `dir` when it throws. */
function probed(sys: Sys, path: string, base: number, dir: number): Workdir {
  try {
    const workdir = new Workdir(sys, path, base, dir);
    const whiteouts = workdir.checkWhiteouts();
    const removes = whiteouts >= 0;
    if (!removes && !takesNoXattr(whiteouts) && !refusesDevices(whiteouts)) {
      throw unusable(path, whiteouts);
    }
    const marks = workdir.trusted ? 0 : tryXattr(sys, dir);
    if (removes && marks >= 0) return workdir;
    if (marks < 0 && !takesNoXattr(marks)) throw unusable(path, marks);
    throw new UserError(
      `the file system of workdir ${display(path)} takes ${removes ? 'no overlay xattrs, so no directory could replace a removed one' : 'neither device nodes nor overlay xattrs, so nothing could be removed'}: use another for upperdir and workdir`,
    );
  } catch (error) {
    sys.native.close(dir);
    throw error;
  }
}

/** 0 when `user.*` xattrs can be written to directories here, else -errno. */
function tryXattr({ native }: Sys, dir: number): number {
  const name = `${USER}opaque`;
  const code = native.setxattr(dir, '.', name, 0, 0, 0);
  if (code >= 0) native.removexattr(dir, '.', name);
  return code;
}

const unusable = (path: string, code: number): UserError =>
  new UserError(`cannot use workdir ${display(path)}: ${errnoText(code)}`);

/** `work/incompat/volatile`: a mount that may have lost data; the next one refuses it (ovl_create_volatile_dirty). */
function markVolatile(sys: Sys, base: number, path: string): void {
  for (const name of ['work/incompat', 'work/incompat/volatile']) {
    const made = sys.native.mkdirat(base, name, 0o700);
    if (made < 0) throw unusable(path, made);
  }
}

function mountOf(sys: Sys, fd: number): string {
  const { probe } = sys.stats;
  const code = sys.statFd(fd, probe, STATX_MNT_ID);
  if (code < 0) throw new UserError(`cannot examine the upperdir's mount: ${errnoText(code)}`);
  return `${probe.mountId} ${probe.dev}`;
}

/** O_PATH descriptor of a directory in another, or -errno. */
export function openBeneath(sys: Sys, dirfd: number, name: string): number {
  const flags = O_PATH | O_DIRECTORY | O_NOFOLLOW;
  return sys.open(dirfd, name, flags, 0, RESOLVE_LAYER);
}

/**
 * Removes `name` and all below it, by descriptors and single names. A directory that is not empty is first
 * moved up into `name` itself, so two descriptors suffice however deep it is. Returns 0 or the first -errno.
 */
export function removeTree(sys: Sys, dirfd: number, name: string): number {
  const code = removeSimple(sys, dirfd, name);
  if (code !== -E.ENOTEMPTY) return code;
  const top = openBeneath(sys, dirfd, name);
  if (top < 0) return top;
  try {
    const emptied = empty(sys, top, top, [0]);
    if (emptied < 0) return emptied;
  } finally {
    sys.native.close(top);
  }
  return sys.native.unlinkat(dirfd, name, AT_REMOVEDIR);
}

/** A file or an empty directory; -ENOTEMPTY for another. */
function removeSimple(sys: Sys, dirfd: number, name: string): number {
  const asFile = sys.native.unlinkApart(-1, dirfd, name);
  if (asFile !== -E.EISDIR && asFile !== -E.EPERM) return asFile;
  const asEmpty = sys.native.unlinkat(dirfd, name, AT_REMOVEDIR);
  // Some file systems say so instead (rmdir(2)).
  return asEmpty === -E.EEXIST ? -E.ENOTEMPTY : asEmpty;
}

/** Empties the directory `dir`, which is `top` or in it; `moved` counts what was moved up into `top`. */
function empty(sys: Sys, top: number, dir: number, moved: [number]): number {
  const names: string[] = [];
  const read = readEntries(sys, dir, (name) => names.push(name));
  if (read < 0) return read;
  for (const name of names) {
    let code = removeSimple(sys, dir, name);
    if (code === -E.ENOTEMPTY) {
      code = dir === top ? emptyIn(sys, top, name, moved) : moveUp(sys, dir, name, top, moved);
    }
    if (code < 0 && code !== -E.ENOENT) return code;
  }
  if (dir !== top) return 0;
  // What was moved up meanwhile.
  for (let i = 1; i <= moved[0]; i++) {
    const name = upName(i);
    const simple = removeSimple(sys, top, name);
    const code = simple === -E.ENOTEMPTY ? emptyIn(sys, top, name, moved) : simple;
    if (code < 0 && code !== -E.ENOENT) return code;
  }
  return 0;
}

const upName = (number: number): string => `#up${number.toString(16)}`;

function emptyIn(sys: Sys, top: number, name: string, moved: [number]): number {
  const dir = openBeneath(sys, top, name);
  if (dir < 0) return dir;
  const code = empty(sys, top, dir, moved);
  sys.native.close(dir);
  return code < 0 ? code : sys.native.unlinkat(top, name, AT_REMOVEDIR);
}

/** A name may be taken by what an earlier try left. */
function moveUp(sys: Sys, dir: number, name: string, top: number, moved: [number]): number {
  for (;;) {
    const code = sys.native.renameat2(dir, name, top, upName(++moved[0]), 0);
    if (![E.EEXIST, E.ENOTEMPTY, E.ENOTDIR].includes(-code)) return code;
  }
}
