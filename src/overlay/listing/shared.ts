/**
 * What the lowers of a directory hold together. It is read once for all mounts of an engine thread that have
 * the same lowers.
 *
 * Lowers do not change while a mount uses them, as overlayfs demands. But a mount made later must show the
 * lowers as they are then. So a listing is found by the inode numbers and change times of its directories, as
 * each mount's own lookup found them: a directory that has changed since leads to another listing.
 */
import { LRUCache } from 'lru-cache';
import type { Layer } from '../../layer/layer.js';
import { Entries } from './entries.js';

/** Entries kept over all listings of an engine thread, about 50 bytes each. */
const MAX_ENTRIES = 500_000;

export class Listing {
  readonly entries = new Entries();
  readonly #unused: () => void;
  #users = 0;

  constructor(unused: () => void) {
    this.#unused = unused;
  }

  /** A kept listing rests on it. */
  hold(): void {
    this.#users++;
  }
  release(): void {
    if (--this.#users === 0) this.#unused();
  }
}

/** The mounts with one set of lowers, and what these mean to them. */
interface Group {
  readonly number: number;
  mounts: number;
}

/** One mount's access to the listings of its group. */
export interface SharedListings {
  get(key: string): Listing | undefined;
  /** A listing to fill; others find it once it is kept. */
  make(key: string): Listing;
  keep(key: string, listing: Listing): void;
  /** The mount has ended. */
  leave(): void;
}

export class Listings {
  readonly #groups = new Map<string, Group>();
  readonly #cache = new LRUCache<string, Listing>({
    maxSize: MAX_ENTRIES,
    sizeCalculation: (listing) => listing.entries.size + 1,
    maxEntrySize: MAX_ENTRIES,
  });
  #counter = 0;

  get size(): number {
    return this.#cache.size;
  }

  /** `meaning`: what of the mount's options changes what its lowers show. */
  join(lowers: readonly Layer[], meaning: string): SharedListings {
    const roots = lowers.map(({ dev, inoLo, inoHi }) => `${dev}:${inoHi}:${inoLo}`);
    const name = `${meaning} ${roots.join(' ')}`;
    const group = this.#groups.get(name) ?? { number: ++this.#counter, mounts: 0 };
    this.#groups.set(name, group);
    group.mounts++;
    const full = (key: string): string => `${group.number} ${key}`;
    return {
      get: (key) => this.#cache.get(full(key)),
      make: (key) => {
        const listing = new Listing(() => {
          this.#unused(group, full(key), listing);
        });
        return listing;
      },
      keep: (key, listing) => {
        listing.entries.trim();
        this.#cache.set(full(key), listing);
      },
      leave: () => {
        if (--group.mounts > 0) return;
        this.#groups.delete(name);
        this.#forget(`${group.number} `);
      },
    };
  }

  /** What the kernel has forgotten is kept only where another mount may ask for it. */
  #unused(group: Group, key: string, listing: Listing): void {
    if (group.mounts < 2 && this.#cache.peek(key) === listing) this.#cache.delete(key);
  }

  #forget(prefix: string): void {
    for (const key of [...this.#cache.keys()]) if (key.startsWith(prefix)) this.#cache.delete(key);
  }
}
