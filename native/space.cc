#include "space.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>

namespace stratafs::space {

namespace {

// All of it is touched twice for each large file that is removed.
struct State {
  std::mutex mutex;
  std::condition_variable ended;
  std::map<dev_t, uint64_t> sectors;
  uint64_t over = 0;
};

State& state() {
  static State only;
  return only;
}

std::atomic<uint32_t> count = 0;

}  // namespace

void begin(dev_t device, uint64_t sectors) {
  State& all = state();
  const std::lock_guard lock(all.mutex);
  all.sectors[device] += sectors;
  count++;
}

void end(dev_t device, uint64_t sectors) {
  State& all = state();
  {
    const std::lock_guard lock(all.mutex);
    const auto found = all.sectors.find(device);
    if ((found->second -= sectors) == 0) all.sectors.erase(found);
    count--;
    all.over++;
  }
  all.ended.notify_all();
}

bool pending() {
  return count > 0;
}

uint64_t pendingSectors(dev_t device) {
  if (!pending()) return 0;
  State& all = state();
  const std::lock_guard lock(all.mutex);
  const auto found = all.sectors.find(device);
  return found == all.sectors.end() ? 0 : found->second;
}

bool await(uint32_t ms) {
  State& all = state();
  std::unique_lock lock(all.mutex);
  if (count == 0) return false;
  const uint64_t until = all.over + count;
  all.ended.wait_for(lock, std::chrono::milliseconds(ms), [&] { return all.over >= until; });
  return true;
}

}  // namespace stratafs::space
