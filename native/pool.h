// The I/O pool: a few threads for work that may take long. A job works on descriptors and knows
// nothing of nodes. README.md, "The I/O pool", has the rules.
#pragma once

#include <pthread.h>

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "times.h"

namespace stratafs {

struct Job {
  // The first five report to the engine; a free tells nobody; the others answer their request by
  // themselves.
  enum class Kind : uint8_t {
    kCopy,      // The data of a copy-up.
    kFlush,     // The kernel writes its pages of a node.
    kCensus,    // See census().
    kTruncate,  // `out`, to `size`.
    kRoom,      // Waits for blocks that are on their way (space.h).
    kFree,      // Closes `in`, the last descriptor of a removed file.
    kSync,
    kRange,
    kAllocate,  // fallocate(2) of `out`.
    kStatfs,    // Of `in`.
    kRead,
    kWrite,
  };
  static bool reports(Kind kind) { return kind <= Kind::kRoom; }
  // Ends early when nobody waits for it.
  static bool ends(Kind kind) { return kind == Kind::kCopy || kind == Kind::kCensus; }

  Kind kind = Kind::kCopy;
  int32_t slot = -1;  // -1: a free for no mount yet.
  int device = -1;    // The slot's; it outlives the job.
  uint64_t unique = 0;
  uint32_t opcode = 0;
  int64_t begun = 0;  // When the request was read (CLOCK_MONOTONIC, ns).
  int in = -1;        // Descriptors are the job's own, but a copy's are its asker's.
  int out = -1;
  int64_t inAt = 0;
  int64_t outAt = 0;
  int64_t size = 0;
  uint64_t node = 0;     // kFlush: whose pages.
  int32_t mode = 0;      // kAllocate: FALLOC_FL_*.
  dev_t fileSystem = 0;  // kFree, and what it gives back, in sectors.
  uint64_t sectors = 0;
  bool sync = false;               // kCopy: fsync `out` at the end.
  bool keepSize = false;           // kCopy: `out` has its size already.
  bool dataOnly = false;           // kSync: fdatasync.
  bool cached = false;             // kWrite: FUSE_WRITE_CACHE.
  std::shared_ptr<HeldTime> held;  // The time that `out` must keep.
  std::unique_ptr<uint8_t[]> data;
  std::string marks;  // kCensus: how the names of the overlay's own xattrs begin.
  int32_t number = 0;
  std::atomic<bool> cancelled{false};

  Job() = default;
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;
  ~Job() { closeFiles(); }
  void closeFiles();
};

// What became of a request that the pool answered.
struct Finished {
  int32_t slot = -1;
  uint32_t opcode = 0;
  int64_t ns = 0;
  uint64_t bytesRead = 0;
  uint64_t bytesWritten = 0;
  int32_t sendError = 0;
};

// Used by its session's thread; `wakeFd` is written to when that has something to do.
class Pool {
 public:
  explicit Pool(int wakeFd) : wakeFd_(wakeFd) {}
  // Gives up the copies and waits for the rest.
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  // Takes the job; false, and leaves it, when there are too many or no thread can be made.
  bool submit(std::unique_ptr<Job>& job);
  void cancel(int32_t number);
  // The next job that reports and has ended: its number and result; false when there is none.
  bool takeDone(int32_t& number, int32_t& result);
  // Jobs of a slot that have not ended.
  uint32_t busy(int32_t slot);
  // No further job comes from `slot`: its copies end early. True when it is busy still; wakeFd
  // tells when it no longer is.
  bool close(int32_t slot);
  // Closes a slot and waits until it is not busy.
  void drain(int32_t slot);
  // What was answered since the last call.
  std::vector<Finished> takeFinished();
  // On a thread of the pool, after ENOSPC or EDQUOT: true when there may be more room by now.
  bool makeRoom();

 private:
  static void* run(void* self);
  void work();
  bool startThread();
  // The next job that may run now, or null. All below with mutex_ held.
  std::unique_ptr<Job> take();
  std::unique_ptr<Job> takeFree();
  int32_t perform(Job& job, std::unique_ptr<uint8_t[]>& buffer, Finished& finished);
  void settle(const Job& job, const Finished& finished, int32_t result);
  void wake() const;

  static constexpr uint32_t kThreads = 7;

  const int wakeFd_;
  std::mutex mutex_;
  std::condition_variable ready_;
  std::condition_variable settled_;
  std::deque<std::unique_ptr<Job>> slow_;   // Copies, flushes, syncs, changes of a file's extent.
  std::deque<std::unique_ptr<Job>> quick_;  // Reads, writes, ranges, statfs.
  std::deque<std::unique_ptr<Job>> frees_;
  std::vector<Job*> early_;  // Those that can end early, queued or running.
  struct Done {
    int32_t number;
    int32_t result;
  };
  std::deque<Done> done_;
  std::vector<Finished> finished_;
  std::vector<uint32_t> busy_;  // By slot.
  std::vector<bool> closing_;   // By slot.
  std::array<pthread_t, kThreads> threads_ = {};
  uint32_t started_ = 0;
  uint32_t idle_ = 0;
  uint32_t slowRunning_ = 0;
  uint32_t copiesRunning_ = 0;
  uint32_t flushesRunning_ = 0;
  uint32_t extentsRunning_ = 0;
  uint32_t freesRunning_ = 0;
  bool ending_ = false;
};

}  // namespace stratafs
