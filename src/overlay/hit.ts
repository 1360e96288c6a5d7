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

export class Hit {
  found: Found = Found.None;
  /** st_mode of the topmost object, whose statx is at STAT_A. */
  mode = 0;
  /** Layer of the topmost object. */
  layer = 0;
  /** Index in the parent's stack of the topmost lower object. */
  index = 0;
  /** Directory: the parent's places that hold a directory of this name, topmost first. */
  readonly parents: number[] = [];
  /** For each of `parents`: it may hold xwhiteouts. */
  readonly xwhiteouts: boolean[] = [];
  /** Inode number the object is shown with. */
  inoLo = 0;
  inoHi = 0;
  /** The real object's own, and whether it identifies the node (see lookup.ts). */
  keyLo = 0;
  keyHi = 0;
  keyed = false;

  reset(): void {
    this.found = Found.None;
    this.mode = 0;
    this.layer = 0;
    this.index = 0;
    this.parents.length = 0;
    this.xwhiteouts.length = 0;
    this.keyed = false;
  }
}
