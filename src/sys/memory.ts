/**
 * The three regions of a thread's shared memory (`Native.memory`), as byte offsets. The addon is
 * compiled with the same numbers (native/memory.h); a unit test compares them.
 */

/** Largest WRITE payload and READ reply, in bytes (256 pages, FUSE_MAX_MAX_PAGES of 5.x to 6.12). */
export const MAX_IO = 1 << 20;
/** Request: header, operation struct, payload. Page-aligned payloads are not needed. */
export const IN = 0;
export const IN_SIZE = MAX_IO + 0x10000;
/** Reply: header, then the body. */
export const OUT = IN + IN_SIZE;
export const OUT_SIZE = MAX_IO + 0x10000;
/** Results of system calls. */
export const SCRATCH = OUT + OUT_SIZE;
export const SCRATCH_SIZE = 1 << 19;
export const MEMORY_SIZE = SCRATCH + SCRATCH_SIZE;
