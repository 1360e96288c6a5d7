/** Names with equal hashes, which real names have once in half a million directories: forced here. */
import { describe, expect, it, vi } from 'vitest';
import { DirIndex } from '../../../src/overlay/listing/dirListing.js';
import { namesOf } from './namesOf.js';

vi.mock(import('../../../src/base/hash.js'), async (original) => ({
  ...(await original()),
  // All names of one length share a cookie, and those of the next length follow at once.
  cookieOf: (name: string) => 100 + name.length,
}));

const NAMES = ['a', 'b', 'c', 'd', 'aa', 'bb', 'cc', 'aaa', '\xff\xff\xff'];

function indexWith(names: readonly string[]): DirIndex {
  const index = new DirIndex();
  for (const name of names) index.put(name, 8, 0, 1, 0);
  return index;
}

describe('equal hashes', () => {
  it('still give a total order, the same one for every order of insertion', () => {
    const index = indexWith(NAMES);
    const other = indexWith(NAMES.toReversed());
    expect(namesOf(index)).toEqual(namesOf(other));
    expect(namesOf(index)).toHaveLength(NAMES.length);
    namesOf(index).forEach((_, i) => {
      expect(index.cookie(i)).toBe(other.cookie(i));
      if (i > 0) expect(index.cookie(i)).toBeGreaterThan(index.cookie(i - 1));
    });
  });

  it('let a reader resume after each of them', () => {
    const index = indexWith(NAMES);
    const seen: string[] = [];
    let cookie = 0;
    for (;;) {
      const i = index.after(cookie);
      if (i >= namesOf(index).length) break;
      seen.push(namesOf(index)[i]);
      cookie = index.cookie(i);
    }
    expect(seen.toSorted()).toEqual(NAMES.toSorted());
  });

  it('keep their cookies while names are removed under a reader', () => {
    const index = indexWith(NAMES);
    const before = new Map(namesOf(index).map((name, i) => [name, index.cookie(i)]));
    index.remove('a');
    index.remove('bb');
    namesOf(index).forEach((name, i) => {
      expect(index.cookie(i)).toBe(before.get(name));
    });
  });
});
