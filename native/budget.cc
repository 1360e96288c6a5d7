#include "budget.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>
#include <thread>
#include <vector>

namespace stratafs::budget {
namespace {

constexpr auto kStep = std::chrono::milliseconds(1);

std::atomic<int32_t> kept{0};
std::atomic<int32_t> calls{0};
std::mutex threadsMutex;
// The wake descriptors of the threads that keep descriptors.
std::vector<int> threads;

}  // namespace

int32_t keep(int32_t delta) {
  return kept.fetch_add(delta, std::memory_order_relaxed) + delta;
}

int32_t join(int wakeFd) {
  const std::lock_guard lock(threadsMutex);
  if (std::find(threads.begin(), threads.end(), wakeFd) == threads.end()) {
    threads.push_back(wakeFd);
  }
  return static_cast<int32_t>(threads.size());
}

void leave(int wakeFd) {
  const std::lock_guard lock(threadsMutex);
  std::erase(threads, wakeFd);
}

int32_t call(bool now, int wakeFd) {
  if (!now) return calls.load(std::memory_order_relaxed);
  const int32_t number = calls.fetch_add(1, std::memory_order_relaxed) + 1;
  const std::lock_guard lock(threadsMutex);
  const uint64_t one = 1;
  for (const int fd : threads) {
    // EAGAIN: it is awake already.
    if (fd != wakeFd && ::write(fd, &one, sizeof one) < 0) continue;
  }
  return number;
}

int32_t wait(int32_t below, uint32_t ms) {
  int32_t now = kept.load(std::memory_order_relaxed);
  for (uint32_t i = 0; i < ms && now >= below; i++) {
    std::this_thread::sleep_for(kStep);
    now = kept.load(std::memory_order_relaxed);
  }
  return now;
}

}  // namespace stratafs::budget
