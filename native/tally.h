// Counters of a mount: an array of doubles that JavaScript reads live. src/sys/native.ts has the
// same layout (a test compares them).
#pragma once

#include <time.h>

#include <bit>
#include <cstddef>
#include <cstdint>

namespace stratafs {

inline constexpr size_t kOpcodes = 64;
// [0, 64): requests read, by opcode; no opcode is 0 or 63, so [0] has the bytes read by the loop
// itself, and [63] those written.
inline constexpr size_t kBytesRead = 0;
inline constexpr size_t kBytesWritten = kOpcodes - 1;
// [64, 128): nanoseconds from the reading of a request to its reply, summed up by opcode.
inline constexpr size_t kElapsed = kOpcodes;
// Then a histogram for each opcode: bucket 0 is under 1 µs, bucket n from 2^(n-1) to 2^n µs, the
// last all above.
inline constexpr size_t kBuckets = 24;
inline constexpr size_t kHistograms = 2 * kOpcodes;
inline constexpr size_t kTallySize = kHistograms + kOpcodes * kBuckets;

inline int64_t monotonicNs() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

inline size_t bucketOf(int64_t ns) {
  const size_t width = std::bit_width(static_cast<uint64_t>(ns) / 1000);
  return width < kBuckets ? width : kBuckets - 1;
}

// One request of `opcode` (below kOpcodes) took `ns`.
inline void addTime(double* tally, uint32_t opcode, int64_t ns) {
  tally[kElapsed + opcode] += static_cast<double>(ns);
  tally[kHistograms + opcode * kBuckets + bucketOf(ns)]++;
}

}  // namespace stratafs
