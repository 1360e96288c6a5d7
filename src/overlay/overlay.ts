/**
 * Reaches the objects of a mounted overlay (state.ts): opens directories and files by node, and closes what
 * they held when a node ends. The functions of the rooms work on this class. README.md has the contract of
 * atomicity.
 */
import { display } from '../base/bytes.js';
import { E } from '../base/errno.js';
import { isChr, isDir } from '../base/mode.js';
import { ROOT } from '../protocol/flags.js';
import { closeLayer } from '../layer/layer.js';
import { showNested } from '../layer/whiteout.js';
import {
  O_DIRECTORY,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_PATH,
  RESOLVE_LAYER,
  STATX_BASIC_STATS,
} from '../sys/constants.js';
import { log } from '../sys/log.js';
import { SPOILS, spoil, type Stat } from '../sys/stat.js';
import { FdKind } from './data/fdCache.js';
import { F_INDEXED, F_METACOPY, F_ORPHAN, F_UNLINKED, F_UPPER } from './inodes/record.js';
import { MountState } from './state.js';

/** The unit of st_blocks. */
const SECTOR = 512;

/** Bytes of a path that openat2(2) takes (PATH_MAX is 4096, with the NUL). */
const PATH_ROOM = 4000;

export class Overlay extends MountState {
  // --- descriptors -------------------------------------------------------------------------
  /** O_PATH descriptor of a node's directory in the upper, or -errno. */
  upperDir(node: number): number {
    if (node === ROOT) return this.upper?.root ?? -E.EROFS;
    const cached = this.fds.get(this.owner, FdKind.UpperDir, node);
    if (cached !== undefined) return cached;
    return this.#openUpperDir(node);
  }

  /** Opens an upper directory below the nearest one above it that is open. */
  #openUpperDir(node: number): number {
    const { table } = this;
    const names: string[] = [];
    let base: number | undefined;
    for (let current = node; base === undefined; current = table.parent(current)) {
      const at = current === node ? undefined : this.#openAbove(current);
      if (at !== undefined) base = at;
      else if (table.isIndexDir(current)) base = this.links?.dir ?? -E.EIO;
      else if (!table.has(current, F_UPPER)) base = -E.EIO;
      else if (table.has(current, F_ORPHAN)) {
        names.push(orphanName(current));
        base = this.workDir();
      } else names.push(table.name(current));
    }
    // The index itself is always open.
    if (base < 0 || names.length === 0) return base;
    return this.#keepDir(FdKind.UpperDir, node, base, names);
  }

  #openAbove(node: number): number | undefined {
    if (node === ROOT) return this.upper?.root ?? -E.EROFS;
    return this.fds.get(this.owner, FdKind.UpperDir, node);
  }

  /** O_PATH descriptor of a lower directory, or -errno. */
  lowerDir(place: number): number {
    const { lowers } = this;
    const parent = lowers.parentOf(place);
    if (parent === 0) return this.layer(lowers.layerOf(place)).root;
    const cached = this.fds.get(this.owner, FdKind.LowerDir, place);
    if (cached !== undefined) return cached;
    if (!this.live) return this.#openLowerDir(place);
    // Each directory on the way may be another one now.
    const above = this.lowerDir(parent);
    if (above < 0) return above;
    const fd = this.#keepDir(FdKind.LowerDir, place, above, [lowers.nameOf(place)]);
    return fd < 0 ? fd : this.#sameDir(place, fd);
  }

  /** As #openUpperDir. */
  #openLowerDir(place: number): number {
    const { lowers } = this;
    const names: string[] = [];
    let base: number | undefined;
    for (let current = place; base === undefined; current = lowers.parentOf(current)) {
      if (lowers.parentOf(current) === 0) base = this.layer(lowers.layerOf(current)).root;
      else if (current !== place) base = this.fds.get(this.owner, FdKind.LowerDir, current);
      if (base === undefined) names.push(lowers.nameOf(current));
    }
    return this.#keepDir(FdKind.LowerDir, place, base, names);
  }

  /** `fd` when it is the directory that was found at `place`; else -ESTALE. */
  #sameDir(place: number, fd: number): number {
    const { probe } = this.sys.stats;
    const code = this.sys.statFd(fd, probe);
    const ino = this.lowers.inoOf(place);
    if (code >= 0 && (ino === 0 || probe.inoLo === ino)) return fd;
    this.fds.drop(this.owner, FdKind.LowerDir, place);
    return code < 0 ? code : -E.ESTALE;
  }

  /** The object with these attributes is still the one that was found for `node`: 0, or -ESTALE. */
  #same(node: number, { inoLo, inoHi }: Stat): number {
    if (this.table.has(node, F_INDEXED)) return 0;
    return this.table.hasKeyIno(node, inoLo, inoHi) ? 0 : -E.ESTALE;
  }

  /**
   * Opens and keeps the directory `names` (the last first) below `base`. The directories between are
   * walked in paths that openat2(2) takes, so it needs two descriptors at most, however deep it lies.
   */
  #keepDir(kind: FdKind, id: number, base: number, names: readonly string[]): number {
    const flags = O_PATH | O_DIRECTORY | O_NOFOLLOW;
    let dir = base;
    let path = names[names.length - 1];
    for (let i = names.length - 2; i >= 0; i--) {
      if (path.length + names[i].length < PATH_ROOM) {
        path += `/${names[i]}`;
        continue;
      }
      const next = this.sys.open(dir, path, flags, 0, RESOLVE_LAYER);
      if (dir !== base) this.sys.native.close(dir);
      if (next < 0) return next;
      dir = next;
      path = names[i];
    }
    const fd = this.sys.open(dir, path, flags, 0, RESOLVE_LAYER);
    if (dir !== base) this.sys.native.close(dir);
    if (fd >= 0) this.fds.put(this.owner, kind, id, fd);
    return fd;
  }

  /**
   * Descriptors of directories and files that a function asks for stay open until its request
   * ends; or until `giveBack`.
   */
  borrowing(): number {
    return this.fds.mark();
  }

  /** What was asked for since `borrowing` may be closed. */
  giveBack(mark: number): void {
    this.fds.release(mark);
  }

  /**
   * The real object of a node that is not a directory: its directory's descriptor is returned (or
   * -errno), its name is `realName(node)`.
   */
  realDir(node: number): number {
    const { table } = this;
    if (table.has(node, F_ORPHAN)) return this.workDir();
    if (table.has(node, F_UPPER)) return this.upperDir(table.parent(node));
    const lower = table.lower(node);
    return this.lowerDir(table.has(node, F_METACOPY) ? this.lowers.place(lower, 0) : lower);
  }

  /** The place of the file that holds the data of a metadata-only copy. */
  dataPlace(node: number): number {
    const stack = this.table.lower(node);
    return this.lowers.place(stack, this.lowers.count(stack) - 1);
  }

  /** The id of the layer that a node's real object lies in. */
  objectLayer(node: number): number {
    const { lowers, table } = this;
    if (table.has(node, F_UPPER)) return this.upper?.id ?? 0;
    const lower = table.lower(node);
    const stacked = isDir(table.mode(node)) || table.has(node, F_METACOPY);
    return lowers.layerOf(stacked ? lowers.place(lower, 0) : lower);
  }

  /**
   * Makes `stat`, of `dir`/`name`, which is no whiteout of ours, what the object is shown as.
   * Returns 0 or -errno.
   */
  show(layer: number, dir: number, name: string, stat: Stat): number {
    if (isChr(stat.mode)) {
      const code = showNested(this.sys, dir, name, stat);
      if (code < 0) return code;
    }
    this.#unmap(layer, stat);
    return this.overrides ? this.overrides.show(layer, dir, name, stat) : 0;
  }

  /**
   * podman 4 gives a container in a user namespace its lowers through ID-mapped mounts and the mapping,
   * too: such a lower shows the owners that clients are to see. Here they are those of a disk again.
   */
  #unmap(layer: number, stat: Stat): void {
    if (!this.ids || !this.idmapped.has(layer)) return;
    stat.uid = this.ids.diskUid(stat.uid);
    stat.gid = this.ids.diskGid(stat.gid);
  }

  realName(node: number): string {
    return this.table.has(node, F_ORPHAN) ? orphanName(node) : this.table.name(node);
  }

  /** The real directory of a directory node: the upper one, else the topmost lower one. */
  realDirOf(node: number): number {
    const { table, lowers } = this;
    if (table.has(node, F_UPPER)) return this.upperDir(node);
    return this.lowerDir(lowers.place(table.lower(node), 0));
  }

  /** Fills `stat` with the attributes of the node's real object, as they are shown; 0 or -errno. */
  stat(node: number, stat: Stat, mask: number = STATX_BASIC_STATS): number {
    const { sys } = this;
    if (SPOILS) spoil(sys.stats.probe);
    if (isDir(this.table.mode(node))) {
      const dir = this.realDirOf(node);
      const found = dir < 0 ? dir : sys.statFd(dir, stat, mask);
      return found < 0 ? found : this.#showDir(node, dir, stat);
    }
    const dir = this.realDir(node);
    if (dir < 0) return dir;
    const name = this.realName(node);
    let code = sys.statName(dir, name, stat, mask);
    if (code >= 0 && (this.overrides || this.idmapped.size > 0 || isChr(stat.mode))) {
      code = this.show(this.objectLayer(node), dir, name, stat);
    }
    if (this.live && code >= 0) code = this.#same(node, stat);
    return code < 0 ? code : this.complete(node, stat);
  }

  #showDir(node: number, dir: number, stat: Stat): number {
    if (!this.overrides && this.idmapped.size === 0) return 0;
    return this.show(this.objectLayer(node), dir, '.', stat);
  }

  /** Makes `stat`, of a node's real object, that of the node: 0 or -errno. */
  complete(node: number, stat: Stat): number {
    if (SPOILS) spoil(this.sys.stats.probe);
    return this.table.has(node, F_METACOPY) ? this.#addBlocks(node, stat) : 0;
  }

  /**
   * A metadata-only copy takes no blocks itself: those of its data are shown, or, while nobody has
   * looked for these in the data-only layers, a guess from the size (ovl_getattr).
   */
  #addBlocks(node: number, stat: Stat): number {
    const { probe } = this.sys.stats;
    this.bulk.shadow(node, stat);
    if (this.data?.pending(this.dataPlace(node)) === true) {
      const { blksize, size } = stat;
      stat.blocks = Math.ceil(size / blksize) * (blksize / SECTOR);
      return 0;
    }
    const fd = this.#openDataOf(node, O_PATH | O_NOFOLLOW);
    if (fd < 0) return fd;
    const code = this.sys.statFd(fd, probe);
    this.sys.native.close(fd);
    if (code < 0) return code;
    stat.blocks = probe.blocks;
    return 0;
  }

  /** Opens the file that holds a metadata-only copy's data. */
  #openDataOf(node: number, flags: number): number {
    const place = this.dataPlace(node);
    if (this.data?.pending(place) === true) {
      const found = this.data.find(place);
      if (found < 0) {
        const path = display(this.lowers.nameOf(place));
        log(`no data-only layer has the data of ${display(this.realName(node))}: /${path}`);
        return found;
      }
    }
    const dir = this.lowerDir(this.lowers.parentOf(place));
    if (dir < 0) return dir;
    return this.sys.open(dir, this.lowers.nameOf(place), flags, 0, RESOLVE_LAYER);
  }

  /** The kept descriptor of a regular file's data (access/files.ts); undefined: none is open. */
  keptFile(node: number): number | undefined {
    return this.fds.get(this.owner, FdKind.File, node);
  }

  /** The same, without counting as a use of it. */
  hasFile(node: number): boolean {
    return this.fds.has(this.owner, FdKind.File, node);
  }

  /** Opens a regular file's data and keeps the descriptor; -errno. */
  keepFile(node: number, access: number): number {
    const fd = this.openFile(node, access);
    if (fd >= 0) this.fds.put(this.owner, FdKind.File, node, fd);
    return fd;
  }

  /** Opens the file that holds a node's data; the descriptor is the caller's. */
  openFile(node: number, access: number): number {
    if (!this.table.has(node, F_METACOPY)) return this.openObject(node, access);
    return this.#openDataOf(node, access | O_NOFOLLOW | O_NONBLOCK);
  }

  /** Opens a regular file's real object, which in a metadata-only copy has no data. */
  openObject(node: number, access: number): number {
    const dir = this.realDir(node);
    if (dir < 0) return dir;
    const flags = access | O_NOFOLLOW | O_NONBLOCK;
    const fd = this.sys.open(dir, this.realName(node), flags, 0, RESOLVE_LAYER);
    return this.live && fd >= 0 ? this.#sameFile(node, fd) : fd;
  }

  /** `fd` when it is the object of `node` that was found; else it is closed, and -ESTALE. */
  #sameFile(node: number, fd: number): number {
    const { probe } = this.sys.stats;
    const code = this.sys.statFd(fd, probe);
    const same = code < 0 ? code : this.#same(node, probe);
    if (same >= 0) return fd;
    this.sys.native.close(fd);
    return same;
  }

  /** O_PATH descriptor of the file that holds a node's data; the caller's. -errno. */
  openPath(node: number): number {
    const flags = O_PATH | O_NOFOLLOW;
    if (this.table.has(node, F_METACOPY)) return this.#openDataOf(node, flags);
    const dir = this.realDir(node);
    return dir < 0 ? dir : this.sys.open(dir, this.realName(node), flags, 0, RESOLVE_LAYER);
  }

  /** The node's data is in another file than before. */
  dataMoved(node: number): void {
    this.dropFile(node);
    this.backings?.moved(node);
  }

  dropFile(node: number): void {
    this.fds.drop(this.owner, FdKind.File, node);
  }

  // --- life --------------------------------------------------------------------------------
  /** Called for each node that ends: everything kept for it goes, an orphan leaves the disk. */
  readonly dropped = (node: number): void => {
    const { table } = this;
    this.fds.drop(this.owner, FdKind.File, node);
    this.openedAhead.delete(node);
    this.bare.drop(node);
    this.backings?.drop(node);
    this.bulk.dropped(node);
    const dir = isDir(table.mode(node));
    if (dir) {
      this.fds.drop(this.owner, FdKind.UpperDir, node);
      this.dirListings.drop(node);
    }
    this.dropLower(node);
    if (table.has(node, F_ORPHAN)) this.work?.removeOrphan(orphanName(node), dir);
  };

  readonly #placeEnded = (place: number): void => {
    this.fds.drop(this.owner, FdKind.LowerDir, place);
  };

  /** The node has no lower any more: forgets its places. */
  dropLower(node: number): void {
    const { table } = this;
    const lower = table.lower(node);
    if (lower === 0) return;
    const stacked = isDir(table.mode(node)) || table.has(node, F_METACOPY);
    if (stacked) this.lowers.releaseStack(lower, this.#placeEnded);
    else this.lowers.releasePlace(lower, this.#placeEnded);
    table.setLower(node, 0);
    table.clear(node, F_METACOPY);
  }

  /** Replaces what a node has as its lower by a stack (whose references are taken over). */
  replaceLower(node: number, stack: number): void {
    this.dropLower(node);
    this.table.setLower(node, stack);
  }

  /** No name leads to the node any more. */
  isGone(node: number): boolean {
    return this.table.has(node, F_UNLINKED | F_ORPHAN);
  }

  close(): void {
    this.fds.unregister(this.owner);
    this.dirListings.clear();
    this.listings.leave();
    this.links?.close();
    this.work?.close();
    this.table.arena.close();
    for (const layer of this.allLayers()) closeLayer(this.sys, layer);
  }
}

/** The name in the workdir of the object of a node that has lost its names. */
export const orphanName = (node: number): string => `#o${node.toString(16)}`;
