/**
 * The state of one mounted overlay: its layers, its inode table, its caches, and the features it was mounted
 * with. overlay.ts reaches its objects.
 */
import { E } from '../base/errno.js';
import type { Layer } from '../layer/layer.js';
import { originLayers } from '../layer/origin.js';
import { TRUSTED, USER } from '../layer/xattrs.js';
import type { Sys } from '../sys/sys.js';
import { Remembered } from './remembered.js';
import type { Backings } from './data/backings.js';
import { BareNodes } from './data/bare.js';
import { BulkCopies } from './data/bulk.js';
import { Room, Truncations } from './data/extent.js';
import { Flushes } from './data/flushes.js';
import { DataLayers } from './data/dataLayers.js';
import { type Overflow, overflowIds } from '../sys/userns.js';
import { DirListings } from './listing/dirListing.js';
import type { FdCache } from './data/fdCache.js';
import { InodeTable } from './inodes/table.js';
import { Numbers } from './inodes/numbers.js';
import { Hit } from './hit.js';
import type { LinkIndex } from './workdir/linkIndex.js';
import { IdMap } from './shown/ids.js';
import type { Listings, SharedListings } from './listing/shared.js';
import { LowerTable } from './inodes/places.js';
import { Overrides } from './shown/overrides.js';
import type { OverlaySpec } from './spec.js';
import type { Workdir } from './workdir/workdir.js';
import { openXino, type Xino } from './shown/xino.js';

/** The session's side of a node's data descriptor: `next` answers READ and WRITE with it. fd -1: none. */
type SetBacking = (node: number, fd: number, writable: boolean) => void;

/** The session's side of modification times that the kernel keeps (Native.keepTimes). */
interface TimePort {
  readonly hold: (node: number, fd: number) => void;
  readonly put: (fd: number) => void;
  readonly set: (node: number, seconds: number, nanoseconds: number) => void;
}

interface OverlayParts {
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
  /** Ids of lowers whose mounts show the IDs that `spec.ids` would make of those on disk. */
  readonly idmapped: ReadonlySet<number>;
  /** Absent: hard links of a lower part at copy-up. */
  readonly links: LinkIndex | undefined;
  /** Of a read-only mount with an index: it, as one more lower, and the upper that lies on top. */
  readonly frozen?: { readonly index: Layer; readonly upper: Layer };
}

/** For each lower the topmost one on its file system. */
function keyLayersOf(lowers: readonly Layer[]): Map<number, number> {
  const firstOf = new Map<number, number>();
  const keys = new Map<number, number>();
  for (const { dev, id } of lowers) {
    if (!firstOf.has(dev)) firstOf.set(dev, id);
    keys.set(id, firstOf.get(dev) ?? id);
  }
  return keys;
}

function xinoOf({ sys, spec, layers, dataLayers }: OverlayParts): Xino | undefined {
  const upper = spec.upper !== undefined;
  return openXino(sys, { layers, dataLayers, upper, warns: spec.xino === 'on' });
}

/** The state of one mounted overlay, and what follows from how it was asked for. */
export abstract class MountState {
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
  readonly dirListings = new DirListings();
  readonly numbers: Numbers;
  /** What is known of directories of the lowers, also by other mounts. */
  readonly listings: SharedListings;
  /** Data that is being copied up. */
  readonly bulk: BulkCopies;
  /** Nodes without xattrs. */
  readonly bare = new BareNodes();
  /** Pages that the kernel holds. */
  readonly flushes = new Flushes();
  readonly truncations = new Truncations();
  readonly room = new Room();
  readonly hit: Hit;
  /** A file whose beginning the last request has read; 0: none. */
  readFromStart = 0;
  /** Files that were opened before anybody read them: none is a backing of the session yet. */
  readonly openedAhead = new Set<number>();
  /** What an object was before it was changed (answer.ts). */
  readonly before = new Remembered();
  /** The attributes that the next reply tells may be old: the kernel asks again. */
  uncertain = false;
  /** The request has made its change, so that no failure may be its answer. */
  changed = false;
  /** Layers lie on more than one file system: inode numbers carry the file system's number. */
  readonly xino: Xino | undefined;
  /** Read-only with an index: the upper's layer id, and the place of the index. */
  readonly frozen: { readonly upper: number; readonly place: number } | undefined;
  /** Another mount changes the upper meanwhile: what is found by name is examined anew (live.ts). */
  readonly live: boolean;
  /** Bytes of the longest name that a layer can have (ovl_check_namelen). */
  nameMax = Infinity;
  /** The kernel forgets the listing that it keeps of a directory: a number in it is another now. */
  forgetListing: (node: number) => void = () => undefined;
  setBacking: SetBacking = () => undefined;
  /**
   * With the writeback cache: what the kernel shows as a file's mtime is its own, and no change of
   * data may change the upper file's but the SETATTR that says so (native/times.h).
   */
  times: TimePort | undefined;
  /** The data plane; may still become the cached one at INIT. */
  passthrough = false;
  /** The passthrough plane's; absent in the cached one. */
  backings: Backings | undefined;
  /** Nodes retired so far (access/passthrough.ts). */
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
  readonly idmapped: ReadonlySet<number>;
  /** Undefined when owner and mode are the disk's. */
  readonly overrides: Overrides | undefined;
  /** Undefined where every ID has a meaning. */
  readonly overflow: Overflow | undefined = overflowIds();
  /**
   * Our marks are `user.overlay.*`. Anybody can write those, so redirects and metadata-only
   * copies are then neither made nor followed, as in overlayfs.
   */
  readonly userxattr: boolean;
  /** The layers whose root announces xwhiteouts: they count in all its directories. */
  readonly xwhiteouts = new Set<number>();
  readonly #layers = new Map<number, Layer>();
  readonly #keyLayers: Map<number, number>;
  /** Descriptors kept open, ours as those of `owner`. */
  protected readonly fds: FdCache;
  protected readonly owner: number;
  readonly #firstLower: number;

  constructor(parts: OverlayParts) {
    // First what can fail: what comes after it is given back by `close` alone.
    const xino = xinoOf(parts);
    const level = parts.spec.xattrPermissions;
    if (level) this.overrides = new Overrides(parts.sys, level, parts.layers, parts.upper);
    this.sys = parts.sys;
    this.hit = new Hit(parts.sys.stats.hit);
    this.spec = parts.spec;
    this.live = parts.spec.live === true;
    this.upper = parts.upper;
    this.work = parts.work;
    this.links = parts.links;
    this.table = new InodeTable(parts.sys.native);
    this.numbers = new Numbers(this.table);
    this.lowers = new LowerTable(this.table.arena);
    this.bulk = new BulkCopies(this.sys, () => this.workDir());
    this.ids = parts.spec.ids && new IdMap(parts.spec.ids);
    this.idmapped = parts.idmapped;
    const forced = this.work ? !this.work.trusted : this.overflow !== undefined;
    this.userxattr = parts.spec.userxattr ?? forced;
    this.fds = parts.fds;
    this.owner = parts.fds.register((node) => {
      this.setBacking(node, -1, false);
    });
    this.layers = parts.layers;
    this.origins = originLayers(parts.layers);
    const { dataLayers } = parts;
    const lowers = parts.layers.filter((layer) => layer !== parts.upper);
    this.#keyLayers = keyLayersOf(lowers);
    for (const layer of [...parts.layers, ...dataLayers]) this.#layers.set(layer.id, layer);
    if (dataLayers.length > 0) this.data = new DataLayers(parts.sys, this.lowers, dataLayers);
    // Numbers and types as shown are part of a listing, and what is a whiteout depends on the marks' prefix.
    const meaning = `${this.markPrefix} ${xino?.key(parts.layers) ?? ''} ${level ?? 0}`;
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

  /** The upper holds no marks but whiteouts and `opaque`. */
  get plain(): boolean {
    return this.spec.format === 'plain';
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

  /** The workdir's directory of temporary and orphaned objects. */
  workDir(): number {
    return this.work?.dir ?? -E.EROFS;
  }
}
