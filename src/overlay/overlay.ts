/**
 * One mounted overlay: its layers, its inode table and how an object of it is reached by
 * descriptors. Everything else in this folder is functions over this state. See README.md here for
 * the contract of atomicity.
 */
import { display } from '../base/bytes.js';
import { E } from '../base/errno.js';
import { isDir } from '../base/mode.js';
import { ROOT } from '../protocol/flags.js';
import { closeLayer, type Layer } from '../layer/layer.js';
import { originLayers } from '../layer/origin.js';
import { TRUSTED, USER } from '../layer/xattrs.js';
import {
  AT_EMPTY_PATH,
  AT_SYMLINK_NOFOLLOW,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_PATH,
  O_RDONLY,
  O_RDWR,
  RESOLVE_LAYER,
  STATX_BASIC_STATS,
} from '../sys/constants.js';
import { STATX } from '../protocol/layout.js';
import { log } from '../sys/log.js';
import { STAT_C, type Sys } from '../sys/sys.js';
import type { Backings } from './backings.js';
import { BulkCopies } from './bulk.js';
import { DataLayers } from './dataLayers.js';
import { overflowIds } from '../sys/userns.js';
import { DirIndexes } from './dirIndex.js';
import { type FdCache, FdKind } from './fdCache.js';
import {
  F_CAPABLE,
  F_COVERED,
  F_INDEXED,
  F_METACOPY,
  F_ORPHAN,
  F_UNLINKED,
  F_UPPER,
  InodeTable,
} from './inodeTable.js';
import { Hit } from './hit.js';
import type { LinkIndex } from './linkIndex.js';
import { IdMap } from './ids.js';
import type { Listings, SharedListings } from './listings.js';
import { LowerTable } from './lowers.js';
import { Overrides } from './overrides.js';
import { guardOf } from './protect.js';
import type { OverlaySpec } from './spec.js';
import type { Workdir } from './workdir.js';
import { openXino, type Xino } from './xino.js';

/** The unit of st_blocks. */
const SECTOR = 512;

/** The session's side of a node's data descriptor: `next` answers READ and WRITE with it. fd -1: none. */
export type SetBacking = (node: number, fd: number, writable: boolean) => void;

export interface OverlayParts {
  readonly sys: Sys;
  readonly spec: OverlaySpec;
  /** What is merged, topmost first, the upper included. */
  readonly layers: readonly Layer[];
  /** Data-only layers, topmost first. */
  readonly dataLayers: readonly Layer[];
  readonly upper: Layer | undefined;
  readonly work: Workdir | undefined;
  readonly fds: FdCache;
  /** What the mounts of this thread share. */
  readonly listings: Listings;
  /** Absent: hard links of a lower part at copy-up. */
  readonly links: LinkIndex | undefined;
  /** Of a read-only mount with an index: it, as one more lower, and the upper that lies on top. */
  readonly frozen?: { readonly index: Layer; readonly upper: Layer };
}

export class Overlay {
  readonly sys: Sys;
  readonly spec: OverlaySpec;
  readonly upper: Layer | undefined;
  readonly work: Workdir | undefined;
  readonly links: LinkIndex | undefined;
  readonly table: InodeTable;
  readonly lowers: LowerTable;
  /** Absent where the mount has no data-only layers. */
  readonly data: DataLayers | undefined;
  /** What is merged, topmost first, the upper included. */
  readonly layers: readonly Layer[];
  /** Where the origins of copied-up objects are looked for. */
  readonly origins: readonly Layer[];
  readonly indexes = new DirIndexes();
  /** What is known of directories of the lowers, also by other mounts. */
  readonly listings: SharedListings;
  /** Data that is being copied up. */
  readonly bulk: BulkCopies;
  readonly hit = new Hit();
  /** Layers lie on more than one file system: inode numbers carry the file system's number. */
  readonly xino: Xino | undefined;
  /** Read-only with an index: the upper's layer id, and the place of the index. */
  readonly frozen: { readonly upper: number; readonly place: number } | undefined;
  /** Another mount changes the upper meanwhile: what is found by name is examined anew (live.ts). */
  readonly live: boolean;
  setBacking: SetBacking = () => undefined;
  /** The data plane; may still become the cached one at INIT. */
  passthrough = false;
  /** The passthrough plane's; absent in the cached one. */
  backings: Backings | undefined;
  /** Nodes retired so far (passthrough.ts). */
  retired = 0;
  copyUps = 0;
  /** Bytes of data that copy-ups moved, and that READ and WRITE did here (not in the session). */
  copiedBytes = 0;
  bytesRead = 0;
  bytesWritten = 0;
  /** Whom the engine's own files belong to. */
  readonly uid = process.geteuid?.() ?? 0;
  readonly gid = process.getegid?.() ?? 0;
  /** Undefined when every ID is shown as it is on disk. */
  readonly ids: IdMap | undefined;
  /** Undefined when owner and mode are the disk's. */
  readonly overrides: Overrides | undefined;
  /** Undefined where every ID has a meaning. */
  readonly overflow = overflowIds();
  /** Our marks are `user.overlay.*`. Anybody can write those, so redirects and metadata-only copies are then neither made nor followed, as in overlayfs. */
  readonly userxattr: boolean;
  /** The layers whose root announces xwhiteouts: they count in all its directories. */
  readonly xwhiteouts = new Set<number>();
  readonly #layers = new Map<number, Layer>();
  readonly #keyLayers = new Map<number, number>();
  readonly #fds: FdCache;
  readonly #owner: number;
  readonly #firstLower: number;

  constructor(parts: OverlayParts) {
    this.sys = parts.sys;
    this.spec = parts.spec;
    this.live = parts.spec.live === true;
    this.upper = parts.upper;
    this.work = parts.work;
    this.links = parts.links;
    this.table = new InodeTable(parts.sys.native);
    this.lowers = new LowerTable(this.table.arena);
    this.bulk = new BulkCopies(this.sys, () => this.workDir());
    this.ids = parts.spec.ids && new IdMap(parts.spec.ids);
    const forced = this.work ? !this.work.trusted : this.overflow !== undefined;
    this.userxattr = parts.spec.userxattr ?? forced;
    this.#fds = parts.fds;
    this.#owner = parts.fds.register((node) => {
      this.setBacking(node, -1, false);
    });
    this.layers = parts.layers;
    this.origins = originLayers(parts.layers);
    const { dataLayers } = parts;
    for (const layer of [...parts.layers, ...dataLayers]) this.#layers.set(layer.id, layer);
    if (dataLayers.length > 0) this.data = new DataLayers(parts.sys, this.lowers, dataLayers);
    const firstOf = new Map<number, number>();
    for (const layer of parts.layers) {
      if (layer === parts.upper) continue;
      if (!firstOf.has(layer.dev)) firstOf.set(layer.dev, layer.id);
      this.#keyLayers.set(layer.id, firstOf.get(layer.dev) ?? layer.id);
    }
    const xino = openXino(parts.sys, {
      layers: parts.layers,
      dataLayers,
      upper: parts.spec.upper !== undefined,
      warns: parts.spec.xino === 'on',
    });
    const level = parts.spec.xattrPermissions;
    if (level) this.overrides = new Overrides(parts.sys, level, parts.layers, parts.upper);
    // Numbers and types as shown are part of a listing, and what is a whiteout depends on the marks' prefix.
    const meaning = `${this.markPrefix} ${xino?.key(parts.layers) ?? ''} ${level ?? 0}`;
    const lowers = parts.layers.filter((layer) => layer !== parts.upper);
    this.listings = parts.listings.join(lowers, meaning);
    this.#firstLower = lowers[0]?.id ?? 0;
    this.xino = parts.frozen ? xino?.share(parts.frozen.upper.id, parts.frozen.index.id) : xino;
    if (!parts.frozen) return;
    const { index, upper } = parts.frozen;
    this.#layers.set(index.id, index);
    this.#keyLayers.set(index.id, this.keyLayer(upper.id));
    this.overrides?.share(upper.id, index.id);
    this.frozen = { upper: upper.id, place: this.lowers.addPlace(index.id, 0, '', 0) };
  }

  /** Owners are not shown as stat(2) tells them here. */
  get translates(): boolean {
    return this.ids !== undefined || this.overflow !== undefined;
  }

  /** Copy-up, renames and the like reach the disk before they are answered. */
  get durable(): boolean {
    return this.spec.durability === 'sync';
  }

  /** Directories that have lowers can be renamed. */
  get redirects(): boolean {
    return this.spec.redirectDir === 'on' && this.work !== undefined && !this.userxattr;
  }

  /** Changes of metadata copy no data. */
  get metacopies(): boolean {
    return this.spec.metacopy && this.work !== undefined && !this.userxattr;
  }

  /** Where our marks are written: `trusted.` where we may, else `user.`. */
  get markPrefix(): string {
    return this.userxattr ? USER : TRUSTED;
  }

  layer(id: number): Layer {
    const layer = this.#layers.get(id);
    if (!layer) throw new Error(`no layer ${id}`);
    return layer;
  }

  /** Merged and data-only ones. */
  allLayers(): Iterable<Layer> {
    return this.#layers.values();
  }

  /** Position of a lower among the lowers, which mounts that share them agree on. */
  readonly positionOf = (layer: number): number => layer - this.#firstLower;

  /** The layer that keys of a lower's linked files are counted in: the topmost on its file system. */
  keyLayer(id: number): number {
    return this.#keyLayers.get(id) ?? id;
  }

  // --- descriptors -------------------------------------------------------------------------
  /** O_PATH descriptor of a node's directory in the upper, or -errno. */
  upperDir(node: number): number {
    if (node === ROOT) return this.upper?.root ?? -E.EROFS;
    const cached = this.#fds.get(this.#owner, FdKind.UpperDir, node);
    if (cached !== undefined) return cached;
    const { table } = this;
    if (table.isIndexDir(node)) return this.links?.dir ?? -E.EIO;
    if (!table.has(node, F_UPPER)) return -E.EIO;
    const orphan = table.has(node, F_ORPHAN);
    const parent = orphan ? this.workDir() : this.upperDir(table.parent(node));
    if (parent < 0) return parent;
    const name = orphan ? orphanName(node) : table.name(node);
    return this.#keepDir(FdKind.UpperDir, node, parent, name);
  }

  /** O_PATH descriptor of a lower directory, or -errno. */
  lowerDir(place: number): number {
    const { lowers } = this;
    const parent = lowers.parentOf(place);
    if (parent === 0) return this.layer(lowers.layerOf(place)).root;
    const cached = this.#fds.get(this.#owner, FdKind.LowerDir, place);
    if (cached !== undefined) return cached;
    const above = this.lowerDir(parent);
    if (above < 0) return above;
    const fd = this.#keepDir(FdKind.LowerDir, place, above, lowers.nameOf(place));
    return this.live && fd >= 0 ? this.#sameDir(place, fd) : fd;
  }

  /** `fd` when it is the directory that was found at `place`; else -ESTALE. */
  #sameDir(place: number, fd: number): number {
    const { native, u32 } = this.sys;
    const code = native.statx(fd, '', AT_EMPTY_PATH, STATX_BASIC_STATS, STAT_C);
    const ino = this.lowers.inoOf(place);
    if (code >= 0 && (ino === 0 || u32[(STAT_C + STATX.ino) >> 2] === ino)) return fd;
    this.#fds.drop(this.#owner, FdKind.LowerDir, place);
    return code < 0 ? code : -E.ESTALE;
  }

  /** The object of `node` whose statx is at `at` is still the one that was found: 0, or -ESTALE. */
  #same(node: number, at: number): number {
    if (this.table.has(node, F_INDEXED)) return 0;
    const { u32 } = this.sys;
    const w = (at + STATX.ino) >> 2;
    return this.table.hasKeyIno(node, u32[w], u32[w + 1]) ? 0 : -E.ESTALE;
  }

  #keepDir(kind: FdKind, id: number, parent: number, name: string): number {
    const flags = O_PATH | O_DIRECTORY | O_NOFOLLOW;
    const fd = this.sys.open(parent, name, flags, 0, RESOLVE_LAYER);
    if (fd >= 0) this.#fds.put(this.#owner, kind, id, fd);
    return fd;
  }

  /** The workdir's directory of temporary and orphaned objects. */
  workDir(): number {
    return this.work?.dir ?? -E.EROFS;
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

  realName(node: number): string {
    return this.table.has(node, F_ORPHAN) ? orphanName(node) : this.table.name(node);
  }

  /** The real directory of a directory node: the upper one, else the topmost lower one. */
  realDirOf(node: number): number {
    const { table, lowers } = this;
    if (table.has(node, F_UPPER)) return this.upperDir(node);
    return this.lowerDir(lowers.place(table.lower(node), 0));
  }

  /** statx of the node's real object at `at`; 0 or -errno. */
  stat(node: number, at: number, mask: number = STATX_BASIC_STATS): number {
    const { native } = this.sys;
    if (isDir(this.table.mode(node))) {
      const dir = this.realDirOf(node);
      const found = dir < 0 ? dir : native.statx(dir, '', AT_EMPTY_PATH, mask, at);
      if (found < 0 || !this.overrides) return found;
      return this.overrides.show(this.objectLayer(node), dir, '.', at);
    }
    const dir = this.realDir(node);
    if (dir < 0) return dir;
    const name = this.realName(node);
    let code = native.statx(dir, name, AT_SYMLINK_NOFOLLOW, mask, at);
    if (code >= 0 && this.overrides) {
      code = this.overrides.show(this.objectLayer(node), dir, name, at);
    }
    if (this.live && code >= 0) code = this.#same(node, at);
    return code < 0 ? code : this.complete(node, at);
  }

  /** Makes the statx at `at` of a node's real object that of the node: 0 or -errno. */
  complete(node: number, at: number): number {
    return this.table.has(node, F_METACOPY) ? this.#addBlocks(node, at) : 0;
  }

  /**
   * A metadata-only copy takes no blocks itself: those of its data are shown, or, while nobody has
   * looked for these in the data-only layers, a guess from the size (ovl_getattr).
   */
  #addBlocks(node: number, at: number): number {
    const { native, u32 } = this.sys;
    this.bulk.shadow(node, at);
    if (this.data?.pending(this.dataPlace(node)) === true) {
      const block = u32[(at + STATX.blksize) >> 2];
      u32[(at + STATX.blocks) >> 2] =
        Math.ceil(this.sys.u64(at + STATX.size_) / block) * (block / SECTOR);
      return 0;
    }
    const fd = this.#openDataOf(node, O_PATH | O_NOFOLLOW);
    if (fd < 0) return fd;
    const code = native.statx(fd, '', AT_EMPTY_PATH, STATX_BASIC_STATS, STAT_C);
    native.close(fd);
    if (code < 0) return code;
    u32[(at + STATX.blocks) >> 2] = u32[(STAT_C + STATX.blocks) >> 2];
    u32[(at + STATX.blocks + 4) >> 2] = u32[(STAT_C + STATX.blocks + 4) >> 2];
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

  /**
   * The data descriptor of a regular file, kept and made the session's backing; -errno on failure.
   * An upper file is opened for reading and writing, unless a change has more to do first. O_NONBLOCK, so that a layer that changed under
   * us (a FIFO where a file was) cannot block the engine.
   */
  file(node: number): number {
    const cached = this.#fds.get(this.#owner, FdKind.File, node);
    if (cached !== undefined) return cached;
    const incomplete = this.table.has(node, F_METACOPY | F_COVERED);
    const writable = this.table.has(node, F_UPPER) && !incomplete && this.isPlain(node);
    const fd = this.openFile(node, writable ? O_RDWR : O_RDONLY);
    if (fd < 0) return fd;
    this.#fds.put(this.#owner, FdKind.File, node, fd);
    // What is written to a file with capabilities passes through `io.write`, which keeps them.
    this.setBacking(node, fd, writable && !this.table.has(node, F_CAPABLE));
    return fd;
  }

  /** The session may write to the file by itself. */
  isPlain(node: number): boolean {
    return guardOf(this, node) === 0 && !this.hidesCapability(node);
  }

  /** True for an upper file whose capabilities the first write must take away by itself. */
  hidesCapability(node: number): boolean {
    if (!this.overrides) return false;
    const dir = this.realDir(node);
    return dir >= 0 && this.overrides.hidesCapability(dir, this.realName(node));
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
    const { native } = this.sys;
    const code = native.statx(fd, '', AT_EMPTY_PATH, STATX_BASIC_STATS, STAT_C);
    const same = code < 0 ? code : this.#same(node, STAT_C);
    if (same >= 0) return fd;
    native.close(fd);
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
    this.#fds.drop(this.#owner, FdKind.File, node);
  }

  // --- life --------------------------------------------------------------------------------
  /** Called for each node that ends: everything kept for it goes, an orphan leaves the disk. */
  readonly dropped = (node: number): void => {
    const { table } = this;
    this.#fds.drop(this.#owner, FdKind.File, node);
    this.backings?.drop(node);
    this.bulk.dropped(node);
    const dir = isDir(table.mode(node));
    if (dir) {
      this.#fds.drop(this.#owner, FdKind.UpperDir, node);
      this.indexes.drop(node);
    }
    this.dropLower(node);
    if (table.has(node, F_ORPHAN)) this.work?.removeOrphan(orphanName(node), dir);
  };

  readonly #placeEnded = (place: number): void => {
    this.#fds.drop(this.#owner, FdKind.LowerDir, place);
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
    this.#fds.unregister(this.#owner);
    this.indexes.clear();
    this.listings.leave();
    this.links?.close();
    this.work?.close();
    this.table.arena.close();
    for (const layer of this.#layers.values()) closeLayer(this.sys, layer);
  }
}

/** The name in the workdir of the object of a node that has lost its names. */
export const orphanName = (node: number): string => `#o${node.toString(16)}`;
