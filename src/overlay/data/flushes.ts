/**
 * Writes out pages of the kernel's writeback cache before a reply that depends on the file behind them. The
 * engine thread must not wait for that, because the WRITEs arrive at this thread. So the request stops with
 * PARKED, a thread of the pool asks the kernel to write, and the request is then served again.
 */
import { E, errnoName, PARKED } from '../../base/errno.js';
import { log } from '../../sys/log.js';
import type { Resume } from './bulk.js';

/** Offsets are exact up to 2^53; whatever lies beyond is asked for with the rest. */
const NO_END = Number.MAX_SAFE_INTEGER;
const WORD = 0x1_0000_0000;

/** See Native.poolFlush. */
type Flush = (node: number, offset: number, size: number) => number;

interface Range {
  readonly node: number;
  readonly from: number;
  readonly to: number;
}

interface Flushing extends Range {
  resume: Resume | undefined;
}

export class Flushes {
  readonly #byJob = new Map<number, Flushing>();
  /** What the request that has just stopped with PARKED waits for. */
  #awaited: Flushing | undefined;
  /** The request that is served anew has had this written. */
  #fresh: Range | undefined;
  /** Present where the kernel may hold dirty pages. */
  flush: Flush | undefined;

  /** 0 when the kernel holds no dirty byte of the range, as far as the caller can know; else PARKED, -errno. */
  clean(node: number, from: number, to = NO_END): number {
    if (!this.flush) return 0;
    const fresh = this.#fresh;
    if (fresh?.node === node && fresh.from <= from && fresh.to >= to) return 0;
    const job = this.flush(node, from, to >= NO_END ? 0 : to - from);
    // The connection has ended: nobody hears the answer.
    if (job === -E.ENOTCONN) return 0;
    if (job < 0) return job;
    this.#awaited = { node, from, to, resume: undefined };
    this.#byJob.set(job, this.#awaited);
    return PARKED;
  }

  /** Lets other requests have their turn: PARKED, or 0 where that cannot be. */
  pause(): number {
    if (!this.flush) return 0;
    // No node has this number: the kernel answers at once.
    const job = this.flush(0, 0, 0);
    if (job < 0) return 0;
    this.#awaited = { node: 0, from: 0, to: 0, resume: undefined };
    this.#byJob.set(job, this.#awaited);
    return PARKED;
  }

  /** What the kernel could not write must not be read from its pages: it drops them, once they are not in use. */
  drop(node: number, from: number, to: number): void {
    // Nobody waits for it; without a free place in the pool the pages stay until they are needed.
    this.flush?.(node, from, to - from);
  }

  /** As BulkCopies.park; undefined when the request does not wait for pages. */
  park(resume: Resume): (() => void) | undefined {
    const awaited = this.#awaited;
    if (!awaited) return undefined;
    this.#awaited = undefined;
    awaited.resume = resume;
    return () => {
      awaited.resume = undefined;
    };
  }

  /** Job `number` has ended; false when it is none of this mount. */
  done(number: number, result: number): boolean {
    const flushing = this.#byJob.get(number);
    if (!flushing) return false;
    this.#byJob.delete(number);
    // The kernel tells the writer (fsync, close) of pages that it could not write.
    if (result < 0 && result !== -E.ENOTCONN) {
      log(`the kernel does not write a file's pages back: ${errnoName(result)}`);
    }
    this.#fresh = flushing;
    flushing.resume?.();
    this.#fresh = undefined;
    return true;
  }
}

/** The two words of a u64. */
export const words = (value: number): [lo: number, hi: number] => [
  value >>> 0,
  Math.floor(value / WORD),
];
