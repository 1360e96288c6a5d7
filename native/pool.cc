#include "pool.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <utility>

#include "census.h"
#include "copy.h"
#include "fuse_abi.h"
#include "memory.h"
#include "requests.h"
#include "space.h"
#include "tally.h"

namespace stratafs {

namespace {

// So that reads and writes, and syncs behind copies, always find a thread.
constexpr uint32_t kMostCopies = 2;
constexpr uint32_t kMostExtents = 2;
constexpr uint32_t kMostSlow = 5;
// They are bound to the file system's journal, so two gain nothing.
constexpr uint32_t kMostFrees = 1;
// Each has a descriptor. With more, whoever removes files waits for what the disk can do.
constexpr size_t kMostWaitingFrees = 64;
// As long as the blocks of a badly fragmented file may take; whoever has no room waits for it.
constexpr uint32_t kRoomMs = 60'000;
// For FORGETs that are under way: with them files go that were removed.
constexpr useconds_t kForgetsUs = 20'000;
// A flush waits for WRITEs, which may wait for copies.
constexpr uint32_t kMostFlushes = 1;
// Then the loop does the work itself, which slows its clients down to what the disk can do.
constexpr size_t kMostQuick = 64;
// An unused buffer is given back.
constexpr std::chrono::seconds kKeepBuffer{1};

using Buffer = std::unique_ptr<uint8_t[]>;
constexpr size_t kBufferSize = sizeof(fuse_out_header) + kMaxIo;

void read(const Job& job, Buffer& buffer, Finished& finished) {
  if (!buffer) buffer = std::make_unique_for_overwrite<uint8_t[]>(kBufferSize);
  uint8_t* const body = buffer.get() + sizeof(fuse_out_header);
  const int64_t got = readAll(job.in, body, static_cast<uint32_t>(job.size), job.inAt);
  if (got < 0) {
    finished.sendError = postCode(job.device, job.unique, static_cast<int>(-got));
    return;
  }
  finished.bytesRead = static_cast<uint64_t>(got);
  finished.sendError = postReply(job.device, buffer.get(),
                                 static_cast<uint32_t>(sizeof(fuse_out_header) + got), job.unique);
}

// Before the answer: from then on `out` has its time, and who changes it next looks there.
void keepTime(Job& job) {
  if (!job.held) return;
  job.held->put();
  job.held.reset();
}

// WRITE and COPY_FILE_RANGE answer with a count; that of COPY_FILE_RANGE_64 looks the same.
void replyCount(const Job& job, int64_t count, Finished& finished) {
  if (count < 0) {
    finished.sendError = postCode(job.device, job.unique, static_cast<int>(-count));
    return;
  }
  finished.bytesWritten = static_cast<uint64_t>(count);
  struct {
    fuse_out_header head;
    fuse_write_out body;
  } reply = {};
  reply.body.size = static_cast<uint32_t>(count);
  finished.sendError =
      postReply(job.device, reinterpret_cast<uint8_t*>(&reply), sizeof reply, job.unique);
}

int64_t copyRange(const Job& job) {
  off64_t in = job.inAt;
  off64_t out = job.outAt;
  const size_t size = static_cast<size_t>(job.size);
  const ssize_t done = TEMP_FAILURE_RETRY(::copy_file_range(job.in, &in, job.out, &out, size, 0));
  return done < 0 ? -errno : done;
}

int32_t copy(const Job& job) {
  int32_t done = copyBytes(job.in, job.out, job.size, &job.cancelled);
  if (done >= 0 && !job.keepSize) {
    done = TEMP_FAILURE_RETRY(::ftruncate(job.out, job.size)) < 0 ? -errno : 0;
  }
  if (done >= 0 && job.cancelled) done = -ECANCELED;
  if (done >= 0 && job.sync && TEMP_FAILURE_RETRY(::fsync(job.out)) < 0) done = -errno;
  return done;
}

// Has the kernel write the dirty pages of [inAt, inAt + size) of a node, and drop all pages there;
// size 0: to the end. It sends the WRITEs and waits for their answers before it returns.
int32_t flush(const Job& job) {
  struct {
    fuse_out_header head;
    fuse_notify_inval_inode_out body;
  } message = {};
  message.head.len = sizeof message;
  message.head.error = FUSE_NOTIFY_INVAL_INODE;
  message.body.ino = job.node;
  message.body.off = job.inAt;
  message.body.len = job.size;
  const int32_t done = post(job.device, reinterpret_cast<const uint8_t*>(&message), sizeof message);
  // The kernel does not know the node: there are no pages.
  return done == -ENOENT ? 0 : done;
}

bool noRoom(int64_t result) {
  return result == -ENOSPC || result == -EDQUOT;
}

int32_t truncate(const Job& job) {
  return TEMP_FAILURE_RETRY(::ftruncate(job.out, job.size)) < 0 ? -errno : 0;
}

int32_t allocate(const Job& job) {
  return TEMP_FAILURE_RETRY(::fallocate(job.out, job.mode, job.outAt, job.size)) < 0 ? -errno : 0;
}

// What struct kstatfs of the protocol wants, with the blocks that are on their way.
void replyStatfs(const Job& job, Finished& finished) {
  struct statfs info {};
  struct stat where {};
  if (::fstatfs(job.in, &info) < 0 || ::fstat(job.in, &where) < 0) {
    finished.sendError = postCode(job.device, job.unique, errno);
    return;
  }
  const uint64_t unit = static_cast<uint64_t>(info.f_bsize > 0 ? info.f_bsize : 512);
  const uint64_t more = space::pendingSectors(where.st_dev) * 512 / unit;
  struct {
    fuse_out_header head;
    fuse_statfs_out body;
  } reply = {};
  fuse_kstatfs& st = reply.body.st;
  st.blocks = info.f_blocks;
  st.bfree = std::min<uint64_t>(info.f_bfree + more, info.f_blocks);
  st.bavail = std::min<uint64_t>(info.f_bavail + more, st.bfree);
  st.files = info.f_files;
  st.ffree = info.f_ffree;
  st.bsize = static_cast<uint32_t>(info.f_bsize);
  st.namelen = static_cast<uint32_t>(info.f_namelen);
  st.frsize = static_cast<uint32_t>(info.f_frsize);
  finished.sendError =
      postReply(job.device, reinterpret_cast<uint8_t*>(&reply), sizeof reply, job.unique);
}

bool isSlow(const Job& job) {
  return Job::reports(job.kind) || job.kind == Job::Kind::kSync || job.kind == Job::Kind::kAllocate;
}

bool isExtent(const Job& job) {
  return job.kind == Job::Kind::kTruncate || job.kind == Job::Kind::kAllocate;
}

}  // namespace

// Returns the result of a job that reports.
int32_t Pool::perform(Job& job, Buffer& buffer, Finished& finished) {
  const auto withRoom = [this](auto&& act) {
    const auto result = act();
    return noRoom(result) && makeRoom() ? act() : result;
  };
  switch (job.kind) {
    case Job::Kind::kCopy: {
      const int32_t done = withRoom([&] { return copy(job); });
      // Whoever removes it is the loop.
      if (done < 0 && !job.keepSize) static_cast<void>(!::ftruncate(job.out, 0));
      return done;
    }
    case Job::Kind::kTruncate: {
      const int32_t done = withRoom([&] { return truncate(job); });
      keepTime(job);
      return done;
    }
    case Job::Kind::kRoom:
      if (!makeRoom()) usleep(kForgetsUs);
      return 0;
    case Job::Kind::kFree:
      ::close(std::exchange(job.in, -1));
      space::end(job.fileSystem, job.sectors);
      break;
    case Job::Kind::kAllocate: {
      const int32_t done = withRoom([&] { return allocate(job); });
      keepTime(job);
      finished.sendError = postCode(job.device, job.unique, -done);
      break;
    }
    case Job::Kind::kStatfs:
      replyStatfs(job, finished);
      break;
    case Job::Kind::kFlush:
      return flush(job);
    case Job::Kind::kCensus:
      return census(job.in, job.marks, job.cancelled);
    case Job::Kind::kSync: {
      const int done =
          TEMP_FAILURE_RETRY(job.dataOnly ? ::fdatasync(job.out) : ::fsync(job.out)) < 0 ? errno
                                                                                         : 0;
      finished.sendError = postCode(job.device, job.unique, done);
      break;
    }
    case Job::Kind::kRange: {
      const int64_t done = withRoom([&] { return copyRange(job); });
      keepTime(job);
      replyCount(job, done, finished);
      finished.bytesRead = finished.bytesWritten;
      break;
    }
    case Job::Kind::kRead:
      read(job, buffer, finished);
      break;
    case Job::Kind::kWrite: {
      const uint32_t size = static_cast<uint32_t>(job.size);
      const int64_t put =
          withRoom([&] { return writeAll(job.out, job.data.get(), size, job.outAt, job.cached); });
      keepTime(job);
      replyCount(job, put, finished);
      break;
    }
  }
  return 0;
}

void Job::closeFiles() {
  if (kind == Kind::kCopy) return;
  if (in >= 0) ::close(in);
  if (out >= 0) ::close(out);
  in = out = -1;
}

Pool::~Pool() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
    for (Job* job : early_)
      job->cancelled = true;
  }
  ready_.notify_all();
  for (uint32_t i = 0; i < started_; i++)
    pthread_join(threads_[i], nullptr);
}

bool Pool::submit(std::unique_ptr<Job>& job) {
  const std::lock_guard lock(mutex_);
  const bool slow = isSlow(*job);
  const bool frees = job->kind == Job::Kind::kFree;
  if (frees ? frees_.size() >= kMostWaitingFrees : !slow && quick_.size() >= kMostQuick)
    return false;
  const size_t waiting = slow_.size() + quick_.size() + frees_.size();
  if (idle_ <= waiting && started_ < kThreads && !startThread() && started_ == 0) return false;
  if (job->slot >= 0) {
    const size_t slot = static_cast<size_t>(job->slot);
    if (slot >= busy_.size()) {
      busy_.resize(slot + 1);
      closing_.resize(slot + 1);
    }
    busy_[slot]++;
    closing_[slot] = false;
  }
  if (Job::ends(job->kind)) early_.push_back(job.get());
  (frees ? frees_ : slow ? slow_ : quick_).push_back(std::move(job));
  ready_.notify_one();
  return true;
}

void Pool::cancel(int32_t number) {
  const std::lock_guard lock(mutex_);
  for (Job* job : early_) {
    if (job->number == number) job->cancelled = true;
  }
}

bool Pool::takeDone(int32_t& number, int32_t& result) {
  const std::lock_guard lock(mutex_);
  if (done_.empty()) return false;
  number = done_.front().number;
  result = done_.front().result;
  done_.pop_front();
  return true;
}

uint32_t Pool::busy(int32_t slot) {
  const std::lock_guard lock(mutex_);
  return static_cast<size_t>(slot) < busy_.size() ? busy_[static_cast<size_t>(slot)] : 0;
}

bool Pool::close(int32_t slot) {
  const std::lock_guard lock(mutex_);
  const size_t index = static_cast<size_t>(slot);
  if (index >= busy_.size() || busy_[index] == 0) return false;
  closing_[index] = true;
  for (Job* job : early_) {
    if (job->slot == slot) job->cancelled = true;
  }
  return true;
}

void Pool::drain(int32_t slot) {
  if (!close(slot)) return;
  std::unique_lock lock(mutex_);
  settled_.wait(lock, [this, slot] { return busy_[static_cast<size_t>(slot)] == 0; });
}

std::vector<Finished> Pool::takeFinished() {
  const std::lock_guard lock(mutex_);
  return std::exchange(finished_, {});
}

void* Pool::run(void* self) {
  static_cast<Pool*>(self)->work();
  return nullptr;
}

bool Pool::startThread() {
  // Signals are the main thread's business.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const bool made = pthread_create(&threads_[started_], nullptr, run, this) == 0;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (made) started_++;
  return made;
}

void Pool::work() {
  prctl(PR_SET_NAME, "stratafs-io");
  // The engine thread may just follow a client (placement.h), which its pool is not to do.
  const sched_param none = {};
  sched_setscheduler(0, SCHED_OTHER, &none);
  cpu_set_t processors;
  if (sched_getaffinity(getpid(), sizeof processors, &processors) == 0) {
    sched_setaffinity(0, sizeof processors, &processors);
  }
  // Nor is it to take precedence as that does: what it does is long.
  setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, static_cast<id_t>(getpid())));
  Buffer buffer;
  std::unique_lock lock(mutex_);
  for (;;) {
    const std::unique_ptr<Job> job = take();
    if (job) {
      lock.unlock();
      Finished finished;
      finished.slot = job->slot;
      finished.opcode = job->opcode;
      const int32_t result = perform(*job, buffer, finished);
      finished.ns = monotonicNs() - job->begun;
      job->closeFiles();
      lock.lock();
      settle(*job, finished, result);
      continue;
    }
    if (ending_) return;
    idle_++;
    if (!buffer) {
      ready_.wait(lock);
    } else if (ready_.wait_for(lock, kKeepBuffer) == std::cv_status::timeout) {
      buffer.reset();
    }
    idle_--;
  }
}

std::unique_ptr<Job> Pool::take() {
  const auto first = [](std::deque<std::unique_ptr<Job>>& queue, auto at) {
    std::unique_ptr<Job> job = std::move(*at);
    queue.erase(at);
    return job;
  };
  const auto allowed = std::find_if(slow_.begin(), slow_.end(), [this](const auto& job) {
    return slowRunning_ < kMostSlow &&
           (job->kind != Job::Kind::kCopy || copiesRunning_ < kMostCopies) &&
           (job->kind != Job::Kind::kFlush || flushesRunning_ < kMostFlushes) &&
           (!isExtent(*job) || extentsRunning_ < kMostExtents);
  });
  // One thread for the slow ones at least, however many of the others there are.
  if (allowed != slow_.end() && (slowRunning_ == 0 || quick_.empty())) {
    slowRunning_++;
    if ((*allowed)->kind == Job::Kind::kCopy) copiesRunning_++;
    if ((*allowed)->kind == Job::Kind::kFlush) flushesRunning_++;
    if (isExtent(**allowed)) extentsRunning_++;
    return first(slow_, allowed);
  }
  if (!quick_.empty()) return first(quick_, quick_.begin());
  return freesRunning_ < kMostFrees ? takeFree() : nullptr;
}

std::unique_ptr<Job> Pool::takeFree() {
  if (frees_.empty()) return nullptr;
  std::unique_ptr<Job> job = std::move(frees_.front());
  frees_.pop_front();
  freesRunning_++;
  return job;
}

// The thread does what waits here itself: there may be no other one.
bool Pool::makeRoom() {
  if (!space::pending()) return false;
  Buffer none;
  for (;;) {
    std::unique_lock lock(mutex_);
    const std::unique_ptr<Job> job = takeFree();
    if (!job) break;
    lock.unlock();
    Finished finished;
    const int32_t result = perform(*job, none, finished);
    lock.lock();
    settle(*job, finished, result);
  }
  space::await(kRoomMs);
  return true;
}

void Pool::settle(const Job& job, const Finished& finished, int32_t result) {
  if (isSlow(job)) slowRunning_--;
  if (isExtent(job)) extentsRunning_--;
  if (job.kind == Job::Kind::kFlush) flushesRunning_--;
  if (job.kind == Job::Kind::kFree) freesRunning_--;
  if (job.kind == Job::Kind::kCopy) copiesRunning_--;
  if (Job::ends(job.kind)) std::erase(early_, &job);
  if (Job::reports(job.kind)) {
    done_.push_back({job.number, result});
  } else if (job.kind != Job::Kind::kFree) {
    finished_.push_back(finished);
  }
  if (job.slot < 0) return;
  const size_t slot = static_cast<size_t>(job.slot);
  if (--busy_[slot] == 0) settled_.notify_all();
  if (Job::reports(job.kind) || (closing_[slot] && busy_[slot] == 0)) wake();
}

void Pool::wake() const {
  const uint64_t one = 1;
  // EAGAIN: the counter is full, so a wake-up is pending already; no other error can be.
  if (::write(wakeFd_, &one, sizeof one) < 0) return;
}

}  // namespace stratafs
