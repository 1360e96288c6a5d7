// Modification times that the kernel keeps (FUSE_WRITEBACK_CACHE). The kernel shows its own time
// of a file. That time begins as the one it was told when it first saw the file, and comes back
// with SETATTR, before or after the pages (fuse_write_inode). It never comes back when a write
// falls into the clock tick of the file's present time. So no change of a file's data may change
// the time on disk.
#pragma once

#include <time.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>

namespace stratafs {

// Gives `fd` the modification time. After a failure (EPERM: another's file; EIO) it has that of the
// write: nothing is wrong with the data.
void putTime(int fd, const timespec& mtime);

// The time of one file that other threads write to.
class HeldTime {
 public:
  // `fd`, which becomes this one's, has the time.
  HeldTime(int fd, const timespec& mtime) : fd_(fd), mtime_(mtime) {}
  ~HeldTime();
  HeldTime(const HeldTime&) = delete;
  HeldTime& operator=(const HeldTime&) = delete;

  // After a change, on the thread that made it.
  void put();
  // From now on this one; on the loop's thread, as only there it changes.
  void set(const timespec& mtime);
  const timespec& onLoop() const { return mtime_; }

 private:
  const int fd_;
  std::mutex mutex_;
  timespec mtime_;
};

// Those of a slot's files, by node id. Used on the loop's thread.
class Times {
 public:
  // The time that `fd`, the file of `node`, must have after a change which begins now.
  timespec of(uint64_t node, int fd) const;
  // For a change on another thread, which drops it when it is done. Null: no descriptor is left.
  std::shared_ptr<HeldTime> hold(uint64_t node, int fd);
  // The kernel sets the time; to be called before the file gets it.
  void set(uint64_t node, const timespec& mtime);

 private:
  std::shared_ptr<HeldTime> held(uint64_t node) const;

  std::unordered_map<uint64_t, std::weak_ptr<HeldTime>> held_;  // Few, and rarely any.
};

}  // namespace stratafs
