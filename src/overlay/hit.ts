import { SPOILS, spoil, type Stat } from '../sys/stat.js';

/** What a lookup of one name in a directory found; one reused record, valid until the next lookup. */
export const Found = {
  /** Nothing: ENOENT. */
  None: 0,
  /** A whiteout in the upper: ENOENT, and a create must replace it. */
  UpperWhiteout: 1,
  /** The object is in the upper (a directory may also have lowers). */
  Upper: 2,
  /** Only in lowers. */
  Lower: 3,
} as const;
export type Found = (typeof Found)[keyof typeof Found];

/** An object in a lower: below `parent`, by `name` (a path, below a layer's root). */
export interface LowerFile {
  readonly parent: number;
  readonly name: string;
}
/** A directory in a lower, with its marks as PLACE_*. */
interface LowerDir extends LowerFile {
  readonly flags: number;
  /** What it is now (`stampOf`): another when an entry has come or gone. */
  readonly ino: number;
  readonly stamp: number;
}

export class Hit {
  /** The topmost object. */
  readonly stat: Stat;
  found: Found = Found.None;
  /** st_mode of the topmost object. */
  mode = 0;
  /** Id of the layer that the key is counted in. */
  layer = 0;
  /** Lower, not a directory: the place of the directory that holds it. */
  place = 0;
  /** Directory: what its lower stack is made of, topmost first. */
  readonly dirs: LowerDir[] = [];
  /** Metadata-only copy: the file that holds the data. */
  data: LowerFile | undefined;
  /** Inode number the object is shown with. */
  inoLo = 0;
  inoHi = 0;
  /** The real object's own, and whether it identifies the node (see lookup.ts). */
  keyLo = 0;
  keyHi = 0;
  keyed = false;
  /** Lower file with several links, which stay together (lookup/hardLinks.ts). */
  linked = false;
  /** Name of the upper file's entry in the index; "" when it has none. */
  index = '';
  /** The file is found through the index: the upper has nothing at the name itself. */
  covered = false;
  /** Upper directory: it carries the `impure` mark. */
  impure = false;
  /** Upper directory: empty files in it may be whiteouts. */
  xwhiteouts = false;

  constructor(stat: Stat) {
    this.stat = stat;
  }

  reset(): void {
    if (SPOILS) spoil(this.stat);
    this.found = Found.None;
    this.mode = 0;
    this.layer = 0;
    this.place = 0;
    this.dirs.length = 0;
    this.data = undefined;
    this.keyed = false;
    this.linked = false;
    this.index = '';
    this.covered = false;
    this.impure = false;
    this.xwhiteouts = false;
  }
}
