// The loop of one thread: it serves requests of any number of /dev/fuse devices, one at a time.
// Only one thread uses it, except wake(). README.md has the rules.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "placement.h"
#include "pool.h"
#include "tally.h"
#include "times.h"

namespace stratafs {

class Session {
 public:
  // False when the thread is about to end and nobody will take another request.
  using Alive = bool (*)(void* context);

  // `memory` is the thread's shared memory (memory.h) and outlives the session. `loopFd` becomes
  // readable when somebody ends the thread (uv_backend_fd of its event loop).
  Session(uint8_t* memory, int loopFd);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // 0, or -errno when the constructor could not make its descriptors.
  int32_t broken() const { return broken_; }

  // `counters` are kTallySize numbers (tally.h) that the loop counts in until detach.
  int32_t attach(int32_t fd, double* counters);
  int32_t detach(int32_t slot);
  int32_t next(int32_t slot, uint32_t length, Alive alive, void* context);
  int32_t send(int32_t slot, const uint8_t* message, uint32_t length);
  // LISTXATTR and the question for capabilities of a node with bare[nodeid] != 0 are answered here:
  // it shows no xattr. The bytes stay the caller's, until the next call or detach.
  void shareBare(int32_t slot, const uint8_t* bare, size_t count);
  void setBacking(int32_t slot, int64_t nodeid, int32_t fd, bool writable);
  // The kernel keeps the slot's modification times (times.h): WRITEs leave those of the files.
  void keepTimes(int32_t slot);
  // Around a change of the data of `fd`, the file of the node, that the engine makes.
  void holdTime(int32_t slot, int64_t nodeid, int32_t fd);
  void putHeldTime(int32_t fd) const;
  // The kernel has set a file's time, and the file has it.
  void timeSet(int32_t slot, int64_t nodeid, int64_t seconds, uint32_t nanoseconds);
  // Registers the regular file `fd` (O_PATH will do) as a passthrough backing of the slot's
  // connection: its id (above 0), or -errno. The descriptor stays the caller's.
  int32_t passthroughOpen(int32_t slot, int32_t fd);
  int32_t passthroughClose(int32_t slot, int32_t id);
  // The I/O pool; README.md. The first two answer the request in IN; 0, or -errno when they cannot.
  int32_t poolSync(int32_t slot, int32_t fd, bool dataOnly);
  // `nodeid`: that of `out`.
  int32_t poolRange(int32_t slot, int32_t in, int64_t inAt, int64_t nodeid, int32_t out,
                    int64_t outAt, uint32_t size);
  // The number of the job (above 0), or -errno. The descriptors stay the caller's, until it is
  // done.
  int32_t poolCopy(int32_t slot, int32_t in, int32_t out, int64_t size, bool sync, bool keepSize);
  // The same. The kernel writes a node's dirty pages; size 0: up to the end.
  int32_t poolFlush(int32_t slot, int64_t nodeid, int64_t offset, int64_t size);
  // The same, for census(): what it returned is the result.
  int32_t poolCensus(int32_t slot, int32_t root, const std::string& marks);
  // The same: ftruncate(2) of `fd`, the node's file, whose time stays with `keepTime`.
  int32_t poolTruncate(int32_t slot, int64_t nodeid, int32_t fd, int64_t size, bool keepTime);
  // The same: waits for room (space.h).
  int32_t poolRoom(int32_t slot);
  // They answer the request in IN; 0, or -errno when they cannot.
  int32_t poolAllocate(int32_t slot, int64_t nodeid, int32_t fd, int32_t mode, int64_t offset,
                       int64_t size);
  int32_t poolStatfs(int32_t slot, int32_t fd);
  // unlinkat(2); the pool gives the blocks of a large file back. `slot` may be -1.
  int32_t unlink(int32_t slot, int32_t dirfd, const char* name);
  void poolCancel(int32_t number);
  bool poolDone(int32_t& number, int32_t& result);
  // The request in IN is answered later, by send(): when it was read, for resumed().
  double park();
  void resumed(int32_t slot, uint32_t opcode, double begun);
  // The last error of a reply's write or of a device's read, and forgets it; 0 = none.
  int32_t takeSendError();
  int32_t takeReadError();

  int32_t wakeFd() const { return wake_; }
  // next() returns kNextWake after `ms`, if not before, once. 0 or -errno.
  int32_t wakeAfter(uint32_t ms);
  static int32_t wake(int32_t fd);

 private:
  struct Backing {
    int32_t fd = -1;
    bool writable = false;
    bool cannotTell = false;  // Whether its pages are cached (RWF_NOWAIT).
  };
  struct Slot {
    int32_t fd = -1;
    bool ended = false;
    bool draining = false;    // Ended, but jobs are under way.
    bool keepsTimes = false;  // keepTimes.
    Times times;
    double* counters = nullptr;
    std::vector<Backing> nodes;  // Indexed by node id: they are small and dense.
    const uint8_t* bare = nullptr;
    size_t bareCount = 0;
  };

  Slot* at(int32_t slot);
  Backing* backing(int32_t slot, uint64_t nodeid);

  static constexpr int32_t kNothing = INT32_MIN;
  // Each returns a slot whose request is in IN, kNextWake, an ended slot's number, or kNothing.
  int32_t await(Alive alive, void* context);
  int32_t tryRead(int32_t slot);
  int32_t spin();
  int32_t look(int timeoutMs);
  int32_t end(int32_t slot, int error);
  bool shouldSpin();
  void settle();

  // The fast path: true when the request in IN was answered here.
  bool serve(int32_t slot);
  bool serveBare(Slot& slot);
  bool serveRead(int32_t slot, Backing& node);
  bool serveWrite(int32_t slot, const Backing& node);

  // session_pool.cc
  std::unique_ptr<Job> numberedJob(Job::Kind kind, int32_t slot);
  std::unique_ptr<Job> requestJob(Job::Kind kind, int32_t slot) const;
  bool submit(std::unique_ptr<Job> job);
  bool holdFor(Job& job, uint64_t node);
  bool poolRead(int32_t slot, int fd, uint32_t size, int64_t offset);
  bool poolWrite(int32_t slot, int fd, const uint8_t* data, uint32_t size, int64_t offset,
                 bool cached);
  void handFrees();
  void foldFinished();
  int32_t drained();

  void reply(Slot& slot, uint32_t length);
  void replyError(Slot& slot, uint64_t unique, int error);

  uint8_t* const memory_;
  int32_t broken_ = 0;
  int32_t epoll_ = -1;
  int32_t wake_ = -1;
  int32_t timer_ = -1;  // Made when it is first asked for.
  std::vector<Slot> slots_;
  uint32_t attached_ = 0;
  int32_t hot_ = -1;      // The slot of the most recent request.
  uint32_t streak_ = 0;   // Requests since all slots were last looked at.
  int score_ = 0;         // How well spinning has paid lately, 0 to 8.
  uint32_t skipped_ = 0;  // Waits that did not spin because the score was 0.
  bool stirred_ = false;  // The event loop has something to do: maybe it is told to end.
  int32_t at_ = -1;       // The slot of the request that is being answered, -1 between two.
  uint32_t opcode_ = 0;   // Its opcode.
  int64_t begun_ = 0;     // When it was read.
  int64_t clock_ = 0;     // The last time known.
  Placement placement_;
  std::unique_ptr<Pool> pool_;
  int64_t slowUntil_ = 0;  // Until then large WRITEs go to the pool.
  int32_t nextJob_ = 0;
  // Removed files, of which the engine may have descriptors until the request at hand is over.
  std::vector<std::unique_ptr<Job>> frees_;
  timespec heldTime_ = {};  // holdTime to putHeldTime.
  uint32_t draining_ = 0;   // Slots that are.
  int32_t sendError_ = 0;
  int32_t readError_ = 0;
};

}  // namespace stratafs
