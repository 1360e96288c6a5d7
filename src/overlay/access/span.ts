/** What a READ or WRITE moves. */

/** A u64 of a request: its low and its high word. */
export type Offset = readonly [lo: number, hi: number];

/** `size` bytes in memory at `at`, and where in the file they belong (a u64, `lo` and `hi`). */
export interface Span {
  readonly at: number;
  readonly size: number;
  readonly lo: number;
  readonly hi: number;
}
