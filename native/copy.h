// Copies a file's data in the cheapest way that works.
#pragma once

#include <atomic>
#include <cstdint>

namespace stratafs {

// Copies [0, size) of `in` to the same place of `out`: FICLONE, else the data ranges found by
// SEEK_DATA and SEEK_HOLE with copy_file_range, else pread and pwrite. `out` has nothing but holes
// there, so holes stay holes; its size may end up too small. Ends early with -ECANCELED when
// `*cancelled` (which may be null) becomes true. Returns 0 or -errno.
int32_t copyBytes(int in, int out, int64_t size, const std::atomic<bool>* cancelled);

}  // namespace stratafs
