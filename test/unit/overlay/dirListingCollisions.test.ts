/** Names with equal hashes: a million real names have some hundreds of them. */
import { describe, expect, it, vi } from 'vitest';
import { DirListing } from '../../../src/overlay/listing/dirListing.js';
import { Listing } from '../../../src/overlay/listing/shared.js';
import { namesOf } from './namesOf.js';

vi.mock(import('../../../src/base/hash.js'), async (original) => ({
  ...(await original()),
  // All names of one length share a cookie, and those of the next length follow at once.
  cookieOf: (name: string) => 100 + name.length,
}));

const NAMES = ['a', 'b', 'c', 'd', 'aa', 'bb', 'cc', 'aaa', '\xff\xff\xff'];

function listingWith(names: readonly string[]): DirListing {
  const merged = new DirListing();
  for (const name of names) merged.put(name, 8, 0, 1, 0);
  return merged;
}

describe('equal hashes', () => {
  it('still give a total order, the same one for every order of insertion', () => {
    const merged = listingWith(NAMES);
    const other = listingWith(NAMES.toReversed());
    expect(namesOf(merged)).toEqual(namesOf(other));
    expect(namesOf(merged)).toHaveLength(NAMES.length);
    namesOf(merged).forEach((_, i) => {
      expect(merged.cookie(i)).toBe(other.cookie(i));
      if (i > 0) expect(merged.cookie(i)).toBeGreaterThan(merged.cookie(i - 1));
    });
  });

  it('let a reader resume after each of them', () => {
    const merged = listingWith(NAMES);
    const seen: string[] = [];
    let cookie = 0;
    for (;;) {
      const i = merged.after(cookie);
      if (i >= namesOf(merged).length) break;
      seen.push(namesOf(merged)[i]);
      cookie = merged.cookie(i);
    }
    expect(seen.toSorted()).toEqual(NAMES.toSorted());
  });

  it('keep their cookies while names are removed under a reader', () => {
    const merged = listingWith(NAMES);
    const before = new Map(namesOf(merged).map((name, i) => [name, merged.cookie(i)]));
    merged.remove('a');
    merged.remove('bb');
    namesOf(merged).forEach((name, i) => {
      expect(merged.cookie(i)).toBe(before.get(name));
    });
  });

  it('keep their cookies while names are added and removed under a reader', () => {
    const merged = listingWith(['b', 'd', 'bb']);
    const before = new Map(namesOf(merged).map((name, i) => [name, merged.cookie(i)]));
    for (const name of ['a', 'c', 'e', 'aa', 'cc']) merged.put(name, 8, 0, 1, 0);
    const names = namesOf(merged);
    expect(names.toSorted()).toEqual(['a', 'aa', 'b', 'bb', 'c', 'cc', 'd', 'e']);
    names.forEach((name, i) => {
      if (before.has(name)) expect([name, merged.cookie(i)]).toEqual([name, before.get(name)]);
      if (i > 0) expect(merged.cookie(i)).toBeGreaterThan(merged.cookie(i - 1));
    });
    // Whoever had the hash goes, another name comes, the order is built anew.
    const now = new Map(names.map((name, i) => [name, merged.cookie(i)]));
    merged.remove('b');
    merged.put('f', 8, 0, 1, 0);
    namesOf(merged).forEach((name, i) => {
      if (name !== 'f') expect([name, merged.cookie(i)]).toEqual([name, now.get(name)]);
    });
  });

  it('over a listing of the lowers leave the cookies of those alone', () => {
    const base = new Listing(() => undefined);
    for (const name of ['b', 'd']) base.entries.put(name, 8, 1, 1, 0);
    const merged = new DirListing(base);
    const before = new Map(namesOf(merged).map((name, i) => [name, merged.cookie(i)]));
    for (const name of ['a', 'c', 'aa']) merged.put(name, 8, 0, 1, 0);
    const cookies = new Map(namesOf(merged).map((name, i) => [name, merged.cookie(i)]));
    expect(cookies.size).toBe(5);
    expect(new Set(cookies.values()).size).toBe(5);
    for (const [name, cookie] of before) expect(cookies.get(name)).toBe(cookie);
    merged.put('0', 8, 0, 1, 0);
    namesOf(merged).forEach((name, i) => {
      if (name !== '0') expect(merged.cookie(i)).toBe(cookies.get(name));
    });
  });
});
