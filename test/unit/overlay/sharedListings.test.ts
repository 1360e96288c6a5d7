/** Listings of lowers that mounts share, and what each mount puts over them. */
import { describe, expect, it } from 'vitest';
import type { Layer } from '../../../src/layer/layer.js';
import { DirListing, DirListings, FROM_UPPER } from '../../../src/overlay/listing/dirListing.js';
import {
  type Listing,
  Listings,
  type SharedListings,
} from '../../../src/overlay/listing/shared.js';
import { Random } from '../../differential/random.js';
import { namesOf } from './namesOf.js';

const REG = 8;
const DIR = 4;

const layer = (inoLo: number): Layer => ({ dev: 1, inoLo, inoHi: 0 }) as Layer;

function listingOf(shared: SharedListings, key: string, names: readonly string[]): Listing {
  const listing = shared.make(key);
  names.forEach((name, i) => listing.entries.put(name, REG, 1, i + 1, 0));
  shared.keep(key, listing);
  return listing;
}

const shown = (merged: DirListing): string[] =>
  namesOf(merged).filter((name) => merged.slot(name) !== undefined);

describe('a directory listing over a shared listing', () => {
  it.each([1, 2, 3, 4, 5, 6])(
    'is what a directory listing of its own is, whatever is put, copied up and removed (seed %i)',
    (seed) => {
      const random = new Random(seed);
      const names = Array.from({ length: 40 }, (_, i) => `n${i}\xff`);
      const below = names.filter(() => random.chance(60));
      const listing = listingOf(new Listings().join([layer(1)], ''), 'k', below);
      const before = [...listing.entries.names()].map((name) => [name, listing.entries.slot(name)]);
      const merged = new DirListing(listing);
      const other = new DirListing(listing);
      const alone = new DirListing();
      below.forEach((name, i) => {
        alone.put(name, REG, 1, i + 1, 0);
      });
      for (let step = 0; step < 300; step++) {
        const name = names[random.below(names.length)] ?? '';
        const ino = 1000 + step;
        const what = random.below(4);
        const type = random.chance(50) ? DIR : REG;
        for (const each of [merged, alone]) {
          if (what === 0) each.put(name, type, FROM_UPPER, ino, 1);
          else if (what === 1) each.remove(name);
          else if (what === 2) each.copiedUp(name, ino, 2);
          else each.put(name, REG, FROM_UPPER, -1, 0);
        }
        expect(merged.size).toBe(alone.size);
        for (const each of names) {
          const [a, b] = [merged.slot(each), alone.slot(each)];
          expect(a === undefined, each).toBe(b === undefined);
          if (a === undefined || b === undefined) continue;
          const all = (i: DirListing, s: number): unknown[] => [
            ...[i.type(s), i.source(s), i.last(s), i.inoLo(s), i.inoHi(s), i.inoKnown(s)],
          ];
          expect(all(merged, a)).toEqual(all(alone, b));
        }
      }
      expect(shown(merged)).toEqual(shown(alone));
      expect([...merged.names()].toSorted()).toEqual([...alone.names()].toSorted());
      shown(merged).forEach((name) => {
        const at = (each: DirListing): number => each.cookie(namesOf(each).indexOf(name));
        expect(at(merged)).toBe(at(alone));
      });
      // Nothing of it has reached the listing, or another merged over that.
      expect(shown(other).toSorted()).toEqual(below.toSorted());
      expect(
        [...listing.entries.names()].map((name) => [name, listing.entries.slot(name)]),
      ).toEqual(before);
    },
  );
});

describe('listings', () => {
  it('are shared by mounts of the same lowers in the same order with the same meaning', () => {
    const all = new Listings();
    const one = all.join([layer(1), layer(2)], 'm');
    const listing = listingOf(one, 'k', ['a']);
    expect(all.join([layer(1), layer(2)], 'm').get('k')).toBe(listing);
    expect(all.join([layer(2), layer(1)], 'm').get('k')).toBeUndefined();
    expect(all.join([layer(1)], 'm').get('k')).toBeUndefined();
    expect(all.join([layer(1), layer(2)], 'other').get('k')).toBeUndefined();
  });

  it('go with the last mount of their lowers', () => {
    const all = new Listings();
    const [one, two] = [all.join([layer(1)], ''), all.join([layer(1)], '')];
    const other = all.join([layer(2)], '');
    listingOf(one, 'k', ['a']);
    listingOf(other, 'k', ['a']);
    one.leave();
    expect(two.get('k')).toBeDefined();
    two.leave();
    expect(all.size).toBe(1);
    expect(all.join([layer(1)], '').get('k')).toBeUndefined();
  });

  it('go with the last merged of them when no other mount may ask, else stay', () => {
    const all = new Listings();
    const one = all.join([layer(1)], '');
    const use = (key: string): void => {
      const listings = new DirListings();
      listings.keep(5, new DirListing(listingOf(one, key, ['a'])));
      listings.drop(5);
    };
    use('alone');
    expect(all.size).toBe(0);
    all.join([layer(1)], '');
    use('two');
    expect(one.get('two')).toBeDefined();
  });
});
