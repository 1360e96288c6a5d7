// The regions of a thread's shared memory, with the numbers of src/sys/memory.ts (a unit test
// compares them through `layout()`).
#pragma once

#include <cstddef>
#include <cstdint>

namespace stratafs {

inline constexpr size_t kMaxIo = size_t{1} << 20;
inline constexpr size_t kIn = 0;
inline constexpr size_t kInSize = kMaxIo + 0x10000;
inline constexpr size_t kOut = kIn + kInSize;
inline constexpr size_t kOutSize = kMaxIo + 0x10000;
inline constexpr size_t kScratch = kOut + kOutSize;
inline constexpr size_t kScratchSize = size_t{1} << 19;
inline constexpr size_t kMemorySize = kScratch + kScratchSize;

// What `next` returns besides a slot; see src/sys/native.ts.
inline constexpr int32_t kNextWake = -1;
inline constexpr int32_t kNextEnded = -1000;

}  // namespace stratafs
