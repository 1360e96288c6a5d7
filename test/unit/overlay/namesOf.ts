import type { DirListing } from '../../../src/overlay/listing/dirListing.js';

/** The names of a directory listing in the order of their cookies, removed ones too. */
export const namesOf = (merged: DirListing): string[] =>
  Array.from({ length: merged.positions }, (_, i) => merged.nameAt(i));
