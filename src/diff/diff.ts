/**
 * Computes what an upper directory changes against its lowers. It walks the upper alone, O(changes), and asks
 * the lowers only about names that the upper has.
 */
import { errnoText, UserError } from '../base/errno.js';
import { display } from '../base/bytes.js';
import { DT_DIR, isDir, isReg } from '../base/mode.js';
import { noName, noXattr, vanished } from '../layer/absence.js';
import { readEntries } from '../layer/directory.js';
import { type DirMarks, dirMarks, isDeviceWhiteout, isXWhiteout } from '../layer/whiteout.js';
import { TRUSTED, USER } from '../layer/xattrs.js';
import { ROOT } from '../protocol/flags.js';
import {
  AT_FDCWD,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_PATH,
  RESOLVE_LAYER,
  STATX_TYPE,
} from '../sys/constants.js';
import { Sys } from '../sys/sys.js';
import { FdCache } from '../overlay/data/fdCache.js';
import { Found } from '../overlay/hit.js';
import { nodeOfHit, resolve } from '../overlay/lookup/lookup.js';
import { openOverlay } from '../overlay/open.js';
import type { Overlay } from '../overlay/overlay.js';
import { dirListingOf } from '../overlay/lookup/readdir.js';
import type { OverlaySpec } from '../overlay/spec.js';

/** As `docker diff` has it: added, changed, deleted. `path` is bytes as latin1 and starts with "/". */
export interface Change {
  readonly kind: 'A' | 'C' | 'D';
  readonly path: string;
  /** Bytes of a regular file that is there now; rounded above 2^53. */
  readonly size?: number;
}

const FDS = 256;

/**
 * Compares the upper directory with its lowers (absolute paths, topmost first). With no lowers
 * known, the marks a driver left decide: what has an `origin` was copied up, so it is a change, and
 * every whiteout is a deletion; what lies below a directory that was moved is then not told. Throws a
 * UserError.
 */
export function diffUpper(
  upper: string,
  lowers: readonly string[],
  dataLayers: readonly string[] = [],
  sys = new Sys(),
): Change[] {
  const root = sys.open(AT_FDCWD, upper, O_PATH | O_DIRECTORY, 0, 0);
  if (root < 0) throw new UserError(`cannot open ${display(upper)}: ${errnoText(root)}`);
  const layers = { lowers, dataLayers };
  let below: Overlay | undefined;
  let differ: Differ | undefined;
  try {
    if (lowers.length > 0) below = openReadOnly(sys, layers);
    differ = new Differ(sys, below, () => openReadOnly(sys, { ...layers, upper }));
    return differ.compare(root);
  } finally {
    differ?.close();
    below?.close();
    sys.native.close(root);
  }
}

function openReadOnly(
  sys: Sys,
  layers: Pick<OverlaySpec, 'upper' | 'lowers' | 'dataLayers'>,
): Overlay {
  const spec: OverlaySpec = {
    ...layers,
    readOnly: true,
    durability: 'fsync=0',
    data: 'cached',
    writeback: false,
    redirectDir: 'follow',
    metacopy: false,
    index: 'off',
    debug: false,
  };
  return openOverlay(sys, spec, new FdCache(sys.native, FDS));
}

/** A wrong list is worse than none. */
const unreadable = (verb: string, path: string, code: number): UserError =>
  new UserError(`cannot ${verb} ${display(path === '' ? '/' : path)}: ${errnoText(code)}`);

interface Entry {
  readonly name: string;
  readonly type: number;
}

class Differ {
  readonly #sys: Sys;
  readonly #below: Overlay | undefined;
  /** The upper's root announces xwhiteouts: they count in all its directories. */
  #xwhiteouts = false;

  readonly #openUnion: () => Overlay;
  /** What a mount shows; opened for the first directory that was moved. */
  #union: Overlay | undefined;

  constructor(sys: Sys, below: Overlay | undefined, openUnion: () => Overlay) {
    this.#sys = sys;
    this.#below = below;
    this.#openUnion = openUnion;
  }

  close(): void {
    this.#union?.close();
  }

  compare(root: number): Change[] {
    this.#xwhiteouts = this.#marks(root, '').xwhiteouts;
    return this.#directory(root, this.#below ? ROOT : 0, '');
  }

  /** `below`: the lowers' node of the same directory, 0 when they have none. */
  #directory(dir: number, below: number, path: string, xwhiteouts = false): Change[] {
    const entries: Entry[] = [];
    const read = readEntries(this.#sys, dir, (name, type) => entries.push({ name, type }));
    if (read < 0) throw unreadable('read', path, read);
    entries.sort((a, b) => (a.name < b.name ? -1 : 1));
    return entries.flatMap((entry) => this.#entry(dir, below, path, entry, xwhiteouts));
  }

  #marks(dir: number, path: string): DirMarks {
    const marks = dirMarks(this.#sys, dir, '.', false, TRUSTED);
    if (typeof marks === 'number') throw unreadable('read the marks of', path, marks);
    return marks;
  }

  #entry(dir: number, below: number, path: string, entry: Entry, xwhiteouts: boolean): Change[] {
    const mark = this.#below?.borrowing() ?? 0;
    try {
      return this.#compareEntry(dir, below, path, entry, xwhiteouts);
    } finally {
      this.#below?.giveBack(mark);
    }
  }

  #compareEntry(
    dir: number,
    below: number,
    path: string,
    entry: Entry,
    xwhiteouts: boolean,
  ): Change[] {
    const { probe } = this.#sys.stats;
    const full = `${path}/${entry.name}`;
    const code = this.#sys.statName(dir, entry.name, probe);
    if (vanished(code)) return [];
    if (code < 0) throw unreadable('examine', full, code);
    const announced = xwhiteouts || this.#xwhiteouts;
    const marked = announced ? isXWhiteout(this.#sys, dir, entry.name, probe) : 0;
    if (marked < 0) throw unreadable('read the marks of', full, marked);
    if (marked > 0 || isDeviceWhiteout(probe)) {
      const hides = this.#below ? this.#lower(below, entry.name, full) !== 0 : true;
      return hides ? [{ kind: 'D', path: full }] : [];
    }
    if (entry.type === DT_DIR) return this.#subdirectory(dir, below, full, entry.name);
    const size = isReg(probe.mode) ? { size: probe.size } : {};
    const known = this.#below
      ? this.#lower(below, entry.name, full) !== 0
      : this.#hasOrigin(dir, entry.name, full);
    return [{ kind: known ? 'C' : 'A', path: full, ...size }];
  }

  #subdirectory(dir: number, below: number, path: string, name: string): Change[] {
    const { native } = this.#sys;
    const fd = this.#sys.open(dir, name, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0, RESOLVE_LAYER);
    if (fd < 0) throw unreadable('open', path, fd);
    try {
      const { opaque, xwhiteouts, redirect } = this.#marks(fd, path);
      const lower = this.#lower(below, name, path);
      const lowerDir = this.#asDir(lower);
      if (redirect !== '' && this.#below) {
        const shown = this.#moved(this.#shownNode(path), lowerDir, path);
        return [{ kind: lower === 0 ? 'A' : 'C', path }, ...shown];
      }
      const inside = this.#directory(fd, lowerDir, path, xwhiteouts);
      const gone = opaque && lowerDir !== 0 ? this.#hiddenBy(fd, lowerDir, path) : [];
      const existed = this.#below ? lower !== 0 : !opaque && this.#hasOrigin(dir, name, path);
      if (!existed) return [{ kind: 'A', path }, ...inside];
      const changed = inside.length > 0 || gone.length > 0 || this.#differs(fd, lowerDir, path);
      const own: Change[] = changed ? [{ kind: 'C', path }] : [];
      return [...own, ...[...inside, ...gone].sort((a, b) => (a.path < b.path ? -1 : 1))];
    } finally {
      native.close(fd);
    }
  }

  /** What an opaque directory hides and has no successor for. */
  #hiddenBy(dir: number, lowerDir: number, path: string): Change[] {
    if (!this.#below) return [];
    const index = dirListingOf(this.#below, lowerDir);
    if (typeof index === 'number') throw unreadable('read the lowers of', path, index);
    const gone: Change[] = [];
    for (const name of index.names()) {
      const there = this.#sys.statName(dir, name, this.#sys.stats.probe, STATX_TYPE);
      if (noName(there)) gone.push({ kind: 'D', path: `${path}/${name}` });
      else if (there < 0) throw unreadable('examine', `${path}/${name}`, there);
    }
    return gone;
  }

  /** `lower` if it is a directory, else 0. */
  #asDir(lower: number): number {
    return lower !== 0 && isDir(this.#below?.table.mode(lower) ?? 0) ? lower : 0;
  }

  /** The node in the union of a path that is there. */
  #shownNode(path: string): number {
    const ov = (this.#union ??= this.#openUnion());
    let node = ROOT;
    for (const name of path.slice(1).split('/')) node = this.#shown(ov, node, name, path);
    return node;
  }

  #shown(ov: Overlay, parent: number, name: string, path: string): number {
    const code = resolve(ov, parent, name);
    if (code < 0) throw unreadable('look up', path, code);
    if (ov.hit.found !== Found.Lower) throw new UserError(`${display(path)} is gone: try again`);
    return nodeOfHit(ov, parent, name);
  }

  /**
   * Below a directory that has the content of another place of the lowers: what the union shows there, as
   * `node`, against what the lowers have at the same path, as `lowerDir` (0: nothing).
   */
  #moved(node: number, lowerDir: number, path: string): Change[] {
    const [ov, below] = [this.#union, this.#below];
    if (!ov || !below) return [];
    const names = new Set(this.#namesIn(ov, node, path));
    const gone = lowerDir === 0 ? [] : this.#namesIn(below, lowerDir, path);
    return [...new Set([...names, ...gone])].sort().flatMap((name): Change[] => {
      const full = `${path}/${name}`;
      if (!names.has(name)) return [{ kind: 'D', path: full }];
      const marks = [ov.borrowing(), below.borrowing()];
      try {
        return this.#movedEntry(ov, this.#shown(ov, node, name, full), lowerDir, full, name);
      } finally {
        below.giveBack(marks[1]);
        ov.giveBack(marks[0]);
      }
    });
  }

  #movedEntry(ov: Overlay, node: number, lowerDir: number, path: string, name: string): Change[] {
    const lower = this.#lower(lowerDir, name, path);
    const kind = lower === 0 ? 'A' : 'C';
    const mode = ov.table.mode(node);
    if (isDir(mode)) return [{ kind, path }, ...this.#moved(node, this.#asDir(lower), path)];
    if (!isReg(mode)) return [{ kind, path }];
    const { attrs } = this.#sys.stats;
    const code = ov.stat(node, attrs);
    if (code < 0) throw unreadable('examine', path, code);
    return [{ kind, path, size: attrs.size }];
  }

  #namesIn(ov: Overlay, node: number, path: string): string[] {
    const listing = dirListingOf(ov, node);
    if (typeof listing === 'number') throw unreadable('read', path, listing);
    return [...listing.names()];
  }

  /** The lowers' node at `name`, 0 when there is none. */
  #lower(parent: number, name: string, path: string): number {
    const ov = this.#below;
    if (!ov || parent === 0) return 0;
    const code = resolve(ov, parent, name);
    if (code < 0) throw unreadable('look up in the lowers', path, code);
    if (ov.hit.found !== Found.Lower) return 0;
    return nodeOfHit(ov, parent, name);
  }

  #hasOrigin(dir: number, name: string, path: string): boolean {
    const { native } = this.#sys;
    return [TRUSTED, USER].some((prefix) => {
      const size = native.getxattr(dir, name, `${prefix}origin`, 0, 0);
      if (size < 0 && !noXattr(size)) throw unreadable('read the marks of', path, size);
      return size >= 0;
    });
  }

  /**
   * Owner, mode or mtime of an upper directory differ from the lowers' (with none known: it was
   * copied up for its content).
   */
  #differs(dir: number, lower: number, path: string): boolean {
    const ov = this.#below;
    if (!ov || lower === 0) return ov !== undefined;
    const { attrs, probe } = this.#sys.stats;
    let code = ov.stat(lower, attrs);
    if (code >= 0) code = this.#sys.statFd(dir, probe);
    if (code < 0) throw unreadable('examine', path, code);
    const owner = attrs.uid !== probe.uid || attrs.gid !== probe.gid;
    const time = attrs.mtime !== probe.mtime || attrs.mtimeNsec !== probe.mtimeNsec;
    return owner || time || attrs.mode !== probe.mode;
  }
}
