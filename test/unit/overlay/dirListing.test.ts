import { describe, expect, it } from 'vitest';
import { COOKIE_DOTDOT, cookieOf } from '../../../src/base/hash.js';
import { DirListing, DirListings, FROM_UPPER } from '../../../src/overlay/listing/dirListing.js';
import { Random } from '../../differential/random.js';
import { Entries } from '../../../src/overlay/listing/entries.js';
import { Listing } from '../../../src/overlay/listing/shared.js';
import { namesOf } from './namesOf.js';

const REG = 8;
const DIR = 4;

function listingWith(names: readonly string[]): DirListing {
  const merged = new DirListing();
  for (const name of names) merged.put(name, REG, FROM_UPPER, 1, 0);
  return merged;
}

/** The names a reader gets who resumes after `cookie`, at most `count`. */
function read(
  merged: DirListing,
  cookie: number,
  count = Infinity,
): { name: string; at: number }[] {
  const order = namesOf(merged);
  const got: { name: string; at: number }[] = [];
  for (let i = merged.after(cookie); i < order.length && got.length < count; i++) {
    if (merged.slot(order[i]) !== undefined) got.push({ name: order[i], at: merged.cookie(i) });
  }
  return got;
}

const names = (count: number, prefix = 'f'): string[] =>
  Array.from({ length: count }, (_, i) => `${prefix}${i}\xff`);

describe('order', () => {
  it('has every name once, by rising cookie, whatever the order of insertion', () => {
    const forwards = listingWith(names(5000));
    const backwards = listingWith(names(5000).toReversed());
    expect(namesOf(forwards)).toEqual(namesOf(backwards));
    expect(new Set(namesOf(forwards))).toEqual(new Set(names(5000)));
    namesOf(forwards).forEach((_, i) => {
      if (i > 0) expect(forwards.cookie(i)).toBeGreaterThan(forwards.cookie(i - 1));
    });
  });

  it('gives each name its hash as the cookie', () => {
    const merged = listingWith(names(100));
    namesOf(merged).forEach((name, i) => {
      expect(merged.cookie(i)).toBe(cookieOf(name));
    });
  });
});

describe('after', () => {
  it('is the first position beyond a cookie: before, between, at and beyond the ends', () => {
    const merged = listingWith(names(50));
    const count = namesOf(merged).length;
    expect(merged.after(0)).toBe(0);
    expect(merged.after(COOKIE_DOTDOT)).toBe(0);
    for (let i = 0; i < count; i++) {
      expect(merged.after(merged.cookie(i))).toBe(i + 1);
      expect(merged.after(merged.cookie(i) - 1)).toBe(i);
      expect(merged.after(merged.cookie(i) + 1)).toBe(i + 1);
    }
    expect(merged.after(Number.MAX_SAFE_INTEGER)).toBe(count);
    expect(merged.after(2 ** 63)).toBe(count);
  });

  it('is 0 in an empty directory', () => {
    expect(new DirListing().after(0)).toBe(0);
    expect(new DirListing().after(1e15)).toBe(0);
  });
});

describe('a listing read in parts while names come and go', () => {
  it.each([1, 2, 3, 4, 5])(
    'shows each name that was there all the time exactly once (seed %i)',
    (seed) => {
      const random = new Random(seed);
      const stay = names(300, 'stay');
      const merged = listingWith([...stay, ...names(300, 'go')]);
      const seen: string[] = [];
      let cookie = 0;
      for (let round = 0; ; round++) {
        const part = read(merged, cookie, 1 + random.below(20));
        if (part.length === 0) break;
        for (const { name, at } of part) {
          seen.push(name);
          cookie = at;
        }
        merged.remove(`go${random.below(300)}\xff`);
        if (random.chance(60)) merged.put(`new${round}`, DIR, FROM_UPPER, 1, 0);
        if (random.chance(20)) merged.put(`go${random.below(300)}\xff`, REG, 1, 1, 0);
      }
      expect(seen.filter((name) => name.startsWith('stay')).toSorted()).toEqual(stay.toSorted());
      expect(new Set(seen).size).toBe(seen.length);
    },
  );

  it('goes on at the same place when the merged was built anew in between', () => {
    const all = names(200);
    const first = listingWith(all);
    const part = read(first, 0, 77);
    const second = listingWith(all.toReversed());
    const rest = read(second, part.at(-1)?.at ?? 0);
    expect([...part, ...rest].map(({ name }) => name).toSorted()).toEqual(all.toSorted());
    expect(part.length + rest.length).toBe(200);
  });
});

describe('a name over a listing of the lowers', () => {
  it('is listed once, also where a name was removed just before', () => {
    const listing = new Listing(() => undefined);
    for (const name of ['a', 'b', 'c']) listing.entries.put(name, REG, 1, 1, 0);
    const merged = new DirListing(listing);
    merged.put('x', REG, FROM_UPPER, 1, 0);
    expect(namesOf(merged)).toHaveLength(4);
    merged.remove('x');
    merged.copiedUp('b', 5, 0);
    expect(
      read(merged, 0)
        .map(({ name }) => name)
        .toSorted(),
    ).toEqual(['a', 'b', 'c']);
  });
});

describe('entries', () => {
  it('give back the room of names that come and go, and keep the others', () => {
    const entries = new Entries();
    entries.merge(entries.put('stay', DIR, 3, 5, 6), 4);
    for (let i = 0; i < 100_000; i++) {
      const name = `${'n'.repeat(i % 200)}${i}`;
      entries.put(name, REG, 1, i, 0);
      expect(entries.remove(name) && entries.slot(name) === undefined).toBe(true);
    }
    const slot = entries.slot('stay') ?? -1;
    const kept = [entries.type(slot), entries.source(slot), entries.last(slot)];
    expect([...kept, entries.inoLo(slot), entries.inoHi(slot)]).toEqual([DIR, 3, 4, 5, 6]);
    expect([entries.size, [...entries.names()]]).toEqual([1, ['stay']]);
    expect(entries.slots).toBe(2);
    expect(entries.bytes).toBeLessThan(4096);
  });

  it.each([100, 2047, 2048, 2049, 9000])(
    'are as they were put, %i of them, whatever comes and goes',
    (count) => {
      const random = new Random(count);
      const entries = new Entries();
      const expected = new Map<string, number[]>();
      const put = (name: string, i: number): void => {
        const all = [random.below(15), i % 500, i % 400, i, i * 2];
        entries.merge(entries.put(name, all[0], all[1], all[3], all[4]), all[2]);
        expected.set(name, all);
      };
      names(count).forEach(put);
      for (let i = 0; i < 3 * count; i++) {
        const name = `f${random.below(count)}\xff`;
        if (random.chance(50)) expect(entries.remove(name)).toBe(expected.delete(name));
        else put(random.chance(50) ? name : `${'x'.repeat(i % 90)}${i}`, i);
      }
      expect(entries.size).toBe(expected.size);
      expect([...entries.names()].toSorted()).toEqual([...expected.keys()].toSorted());
      for (const [name, all] of expected) {
        const slot = entries.slot(name) ?? -1;
        const [type, source, last] = [entries.type(slot), entries.source(slot), entries.last(slot)];
        expect([type, source, last, entries.inoLo(slot), entries.inoHi(slot)], name).toEqual(all);
        expect(entries.name(slot)).toBe(name);
      }
      const { slots } = entries.order();
      expect(new Set(Array.from(slots, (slot) => entries.name(slot)))).toEqual(
        new Set(expected.keys()),
      );
    },
  );

  it('keep their names when the room of others is needed for a name in a new slot', () => {
    const entries = new Entries();
    const all = names(3000, 'y'.repeat(100));
    for (const name of all) entries.put(name, REG, 1, 1, 0);
    for (const name of all.slice(10)) entries.remove(name);
    const short = names(6000, 's');
    for (const name of short) entries.put(name, REG, 1, 1, 0);
    const wanted = [...all.slice(0, 10), ...short];
    expect([...entries.names()].toSorted()).toEqual(wanted.toSorted());
    expect(wanted.filter((name) => entries.slot(name) === undefined)).toEqual([]);
  });

  it('take 55 bytes each at most in a large listing, its order included', () => {
    const entries = new Entries();
    for (let i = 0; i < 200_000; i++) {
      entries.put(`f${String(i).padStart(7, '0')}`, REG, 1, i, 0);
    }
    entries.trim();
    expect(entries.order().slots).toHaveLength(200_000);
    expect(entries.bytes / 200_000).toBeLessThan(55);
    expect(entries.slot('f0123456')).toBe(123_456);
  });

  it('keep type, source, last source and inode number', () => {
    const merged = new DirListing();
    merged.put('d', DIR, 2, 7, 9);
    const slot = merged.slot('d') ?? -1;
    expect([merged.type(slot), merged.source(slot), merged.last(slot)]).toEqual([DIR, 2, 2]);
    expect([merged.inoLo(slot), merged.inoHi(slot), merged.inoKnown(slot)]).toEqual([7, 9, true]);
    merged.put('d', DIR, 2, 7, 9);
    merged.putLast('d', 5);
    expect([merged.source(slot), merged.last(slot)]).toEqual([2, 5]);
    merged.put('d', REG, FROM_UPPER, -1, 0);
    expect([merged.type(slot), merged.source(slot), merged.last(slot)]).toEqual([REG, 0, 0]);
    expect(merged.inoKnown(slot)).toBe(false);
  });

  it('take inode numbers up to 2^32 - 1 in each half for known', () => {
    const merged = new DirListing();
    merged.put('a', REG, 0, 0xffffffff, 0xffffffff);
    const slot = merged.slot('a') ?? -1;
    expect([merged.inoKnown(slot), merged.inoLo(slot)]).toEqual([true, 0xffffffff]);
  });

  it('count what is there: put twice is one, removed is none', () => {
    const merged = listingWith(['a', 'b']);
    merged.put('a', DIR, 0, 1, 0);
    expect(merged.size).toBe(2);
    merged.remove('a');
    merged.remove('a');
    expect([merged.size, merged.slot('a')]).toEqual([1, undefined]);
    expect([...merged.names()]).toEqual(['b']);
  });
});

describe('the listings of a mount', () => {
  it('keep what is used and give up the rest when there are too many entries', () => {
    const listings = new DirListings();
    const merged = listingWith(names(10_000));
    for (let node = 2; node < 102; node++) {
      listings.keep(node, merged);
      listings.get(2);
    }
    expect(listings.get(2)).toBe(merged);
    expect(listings.get(3)).toBeUndefined();
    expect(listings.get(101)).toBe(merged);
    listings.drop(101);
    expect(listings.get(101)).toBeUndefined();
  });

  it('keep the last of those that are too large besides: its listing goes on', () => {
    const listings = new DirListings();
    const small = listingWith(names(10));
    const large = listingWith(names(500_001));
    listings.keep(2, small);
    listings.keep(3, large);
    expect([listings.get(2), listings.ask(3)]).toEqual([small, large]);
    expect([listings.hits, listings.misses]).toEqual([1, 0]);
    listings.keep(4, large);
    expect([listings.get(2), listings.get(3), listings.get(4)]).toEqual([small, undefined, large]);
    listings.drop(4);
    expect(listings.get(4)).toBeUndefined();
  });

  it('make room for what grows while it is kept', () => {
    const listings = new DirListings();
    const more = names(20_000);
    for (let node = 2; node < 102; node++) listings.keep(node, new DirListing());
    for (let node = 2; node < 102; node++) {
      for (const name of more) listings.get(node)?.put(name, REG, FROM_UPPER, 1, 0);
    }
    const kept = Array.from({ length: 100 }, (_, i) => listings.get(i + 2)?.size ?? 0);
    expect(Math.max(...kept)).toBe(20_000);
    expect(kept.reduce((sum, size) => sum + size, 0)).toBeLessThanOrEqual(1_000_000);
  });
});

describe('a directory of a million names', () => {
  const COUNT = 1_000_000;
  const name = (i: number): string => `file-${i}.txt`;

  it('has cookies of 31 bits, one each, which stay while names come and go and in the next mount', () => {
    const base = new Listing(() => undefined);
    for (let i = 0; i < COUNT; i++) base.entries.put(name(i), REG, 1, i, 0);
    const merged = new DirListing(base);
    const cookies = new Map<string, number>();
    for (let i = 0; i < merged.positions; i++) {
      const cookie = merged.cookie(i);
      if (i > 0 && cookie <= merged.cookie(i - 1)) expect(cookie).toBe('above the one before');
      cookies.set(merged.nameAt(i), cookie);
    }
    expect(cookies.size).toBe(COUNT);
    expect(merged.cookie(COUNT - 1)).toBeLessThan(2 ** 31);
    for (let i = 0; i < 2000; i++) {
      merged.put(`new-${i}`, REG, FROM_UPPER, i, 0);
      merged.remove(name(i * 7));
    }
    expect(changed(merged, cookies)).toEqual([]);

    const own = new DirListing();
    for (let i = COUNT - 1; i >= 0; i--) own.put(name(i), REG, FROM_UPPER, i, 0);
    expect(changed(own, cookies)).toEqual([]);
    for (let i = 0; i < 2000; i++) own.put(`new-${i}`, REG, FROM_UPPER, i, 0);
    expect(changed(own, cookies)).toEqual([]);
  });
});

function changed(listing: DirListing, cookies: ReadonlyMap<string, number>): string[] {
  const found: string[] = [];
  for (let i = 0; i < listing.positions; i++) {
    const before = cookies.get(listing.nameAt(i));
    if (before !== undefined && before !== listing.cookie(i)) found.push(listing.nameAt(i));
  }
  return found;
}
