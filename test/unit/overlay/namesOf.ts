import type { DirIndex } from '../../../src/overlay/listing/dirListing.js';

/** The names of an index in the order of their cookies, removed ones too. */
export const namesOf = (index: DirIndex): string[] =>
  Array.from({ length: index.positions }, (_, i) => index.nameAt(i));
