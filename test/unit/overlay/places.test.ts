/** Places of lower objects: counted, so that what is still used stays and the rest goes. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Arena } from '../../../src/overlay/inodes/arena.js';
import { LowerTable, PLACE_XWHITEOUTS } from '../../../src/overlay/inodes/places.js';
import { loadNative } from '../../../src/sys/native.js';
import { Random } from '../../differential/random.js';

let arena: Arena;
let lowers: LowerTable;
beforeEach(() => {
  arena = new Arena(loadNative());
  lowers = new LowerTable(arena);
});
afterEach(() => {
  arena.close();
});

describe('a place', () => {
  it('keeps its layer, parent, name and mark', () => {
    const root = lowers.addPlace(7, 0, '', 0);
    const place = lowers.addPlace(7, root, '\xff\n', PLACE_XWHITEOUTS);
    expect(lowers.layerOf(place)).toBe(7);
    expect(lowers.parentOf(place)).toBe(root);
    expect(lowers.nameOf(place)).toBe('\xff\n');
    expect(lowers.marked(place, PLACE_XWHITEOUTS)).toBe(true);
    expect(lowers.marked(root, PLACE_XWHITEOUTS)).toBe(false);
    expect(lowers.parentOf(root)).toBe(0);
  });

  it('stays while it is held or a place lies below it, then tells that it ends', () => {
    const before = arena.used;
    const ended: number[] = [];
    const end = (place: number): void => {
      ended.push(place);
    };
    const root = lowers.addPlace(1, 0, '', 0);
    const a = lowers.addPlace(1, root, 'a', 0);
    const b = lowers.addPlace(1, a, 'b', 0);
    lowers.hold(b);
    lowers.releasePlace(a, end);
    lowers.releasePlace(root, end);
    lowers.releasePlace(b, end);
    expect(ended).toEqual([]);
    lowers.releasePlace(b, end);
    expect(ended).toEqual([b, a, root]);
    expect(arena.used).toBe(before);
  });
});

describe('a stack', () => {
  it('keeps its places in order, for any number of layers', () => {
    const random = new Random(1);
    const before = arena.used;
    const stacks = [0, 1, 2, 3, 31, 32, 500, 2000].map((count) => {
      const places = Array.from({ length: count }, () =>
        lowers.addPlace(1 + random.below(1 << 30), 0, '', 0),
      );
      return { stack: lowers.addStack(places), places };
    });
    for (const { stack, places } of stacks) {
      expect(lowers.count(stack)).toBe(places.length);
      places.forEach((place, i) => {
        expect(lowers.place(stack, i)).toBe(place);
      });
    }
    let ended = 0;
    for (const { stack } of stacks) lowers.releaseStack(stack, () => ended++);
    expect(ended).toBe(2569);
    expect(arena.used).toBe(before);
  });
});
