/**
 * What gives blocks of files back takes as long as there are pieces of them, so the I/O pool does it.
 * A truncation's request stops with PARKED until it is done. A removed file's blocks are nobody's
 * business, but for who needs the room: a request that has none waits for those which are on their way.
 */
import { PARKED } from '../../base/errno.js';
import type { Native } from '../../sys/native.js';
import type { Resume } from './bulk.js';

/** Below it a file is some dozens of pieces at most: a few milliseconds, if the disk is very slow. */
export const EXTENT_LEAST = 256 << 10;
/** How often a request may wait for room before it has none. */
const MOST_ROUNDS = 3;
/** Between two waits for room of which nothing is known. */
const VAIN_MS = 1000;

/** See Native.poolTruncate. */
type Truncate = (node: number, fd: number, lo: number, hi: number, keepTime: boolean) => number;

interface Truncation {
  readonly node: number;
  result: number;
  resume: Resume | undefined;
}

export class Truncations {
  readonly #byJob = new Map<number, Truncation>();
  /** What the request that has just stopped with PARKED waits for. */
  #awaited: Truncation | undefined;
  /** What the request that is served anew has waited for. */
  #fresh: Truncation | undefined;
  /** Absent where requests are not the kernel's. */
  port: Truncate | undefined;

  /** PARKED; undefined: it must be done here. The descriptor stays the caller's. */
  start(node: number, fd: number, lo: number, hi: number, keepTime: boolean): number | undefined {
    const job = this.port?.(node, fd, lo, hi, keepTime) ?? -1;
    if (job < 0) return undefined;
    this.#awaited = { node, result: 0, resume: undefined };
    this.#byJob.set(job, this.#awaited);
    return PARKED;
  }

  /** The result for the request that is served anew for it: 0 or -errno. Undefined for every other one. */
  take(node: number): number | undefined {
    const fresh = this.#fresh;
    if (fresh?.node !== node) return undefined;
    this.#fresh = undefined;
    return fresh.result;
  }

  /** True when the request waits for a truncation. It does so to the end: whoever writes next comes after it. */
  park(resume: Resume): boolean {
    const awaited = this.#awaited;
    this.#awaited = undefined;
    if (awaited) awaited.resume = resume;
    return awaited !== undefined;
  }

  /** Job `number` has ended; false when it is none of this mount. */
  done(number: number, result: number): boolean {
    const truncation = this.#byJob.get(number);
    if (!truncation) return false;
    this.#byJob.delete(number);
    truncation.result = result;
    this.#fresh = truncation;
    truncation.resume?.();
    this.#fresh = undefined;
    return true;
  }
}

/** Requests that found no room, and wait once more for what is on its way. */
export class Room {
  readonly #waiting = new Set<Resume>();
  #job = 0;
  #awaited = false;
  /** How often the request at hand has waited. */
  #rounds = 0;
  #vainAt = -Infinity;
  #vainOf = 0;
  /** Files that have lost their last name: their blocks go with a FORGET, which may be on its way. */
  orphaned = 0;
  /** See Native.poolRoom; absent where requests are not the kernel's. */
  port: (() => number) | undefined;

  /** The request has found no room: true when it is to wait and to be served anew. */
  wait(native: Pick<Native, 'freesPending'>): boolean {
    if (!this.port || this.#rounds >= MOST_ROUNDS) return false;
    if (native.freesPending() === 0) {
      const now = performance.now();
      if (this.#vainOf === this.orphaned && now - this.#vainAt < VAIN_MS) return false;
      this.#vainAt = now;
      this.#vainOf = this.orphaned;
    }
    if (this.#job === 0) {
      const job = this.port();
      if (job < 0) return false;
      this.#job = job;
    }
    this.#awaited = true;
    return true;
  }

  /** As BulkCopies.park; undefined when the request does not wait for room. */
  park(resume: Resume): (() => void) | undefined {
    if (!this.#awaited) return undefined;
    this.#awaited = false;
    const rounds = this.#rounds + 1;
    const again = (): void => {
      this.#rounds = rounds;
      resume();
      this.#rounds = 0;
    };
    this.#waiting.add(again);
    return () => {
      this.#waiting.delete(again);
    };
  }

  /** Job `number` has ended; false when it is none of this mount. */
  done(number: number): boolean {
    if (number !== this.#job) return false;
    this.#job = 0;
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const resume of waiting) resume();
    return true;
  }
}
