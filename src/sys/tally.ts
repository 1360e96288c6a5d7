/** The indexes of `Native.counters`, the same as in native/tally.h (a test compares them). */

/** Bytes read and written by the session itself; below and between: requests by opcode. */
export const BYTES_READ = 0;
export const BYTES_WRITTEN = 63;
/** Nanoseconds from the reading of a request to its reply, summed up by opcode. */
export const ELAPSED = 64;
/** A histogram of BUCKETS for each opcode. */
export const HISTOGRAMS = 128;
/** Bucket 0 is under 1 µs, bucket n from 2^(n-1) to 2^n µs, the last all above. */
export const BUCKETS = 24;
export const SIZE = HISTOGRAMS + 64 * BUCKETS;
