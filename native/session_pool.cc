// Hands jobs to the session's pool and takes their results.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "fuse_abi.h"
#include "memory.h"
#include "session.h"
#include "space.h"

namespace stratafs {

namespace {

// Files with fewer sectors are at most some dozens of pieces: given back in a few milliseconds.
constexpr blkcnt_t kManySectors = (256 << 10) / 512;

// What one request removes, as a rule; emptying the workdir removes more.
constexpr size_t kMostHeldFrees = 16;

// The job's own descriptor: the engine may close its own at any time. -1 when there is none left.
int duplicate(int fd) {
  return fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

}  // namespace

// A job for the request in IN.
std::unique_ptr<Job> Session::requestJob(Job::Kind kind, int32_t slot) const {
  const auto* const header = reinterpret_cast<const fuse_in_header*>(memory_ + kIn);
  auto job = std::make_unique<Job>();
  job->kind = kind;
  job->slot = slot;
  job->device = slots_[static_cast<size_t>(slot)].fd;
  job->unique = header->unique;
  job->opcode = header->opcode;
  job->begun = begun_;
  return job;
}

// False, and the job is gone, when the request must be answered here.
bool Session::submit(std::unique_ptr<Job> job) {
  if (!pool_) pool_ = std::make_unique<Pool>(wake_);
  foldFinished();
  const bool answers = !Job::reports(job->kind) && job->kind != Job::Kind::kFree;
  if (!pool_->submit(job)) return false;
  if (answers) at_ = -1;  // The pool times it.
  return true;
}

// The job changes the file of `node`: false when it must be changed here.
bool Session::holdFor(Job& job, uint64_t node) {
  Slot& slot = slots_[static_cast<size_t>(job.slot)];
  if (slot.keepsTimes) job.held = slot.times.hold(node, job.out);
  return !slot.keepsTimes || job.held != nullptr;
}

bool Session::poolRead(int32_t slot, int fd, uint32_t size, int64_t offset) {
  auto job = requestJob(Job::Kind::kRead, slot);
  job->in = duplicate(fd);
  job->inAt = offset;
  job->size = size;
  return job->in >= 0 && submit(std::move(job));
}

bool Session::poolWrite(int32_t slot, int fd, const uint8_t* data, uint32_t size, int64_t offset,
                        bool cached) {
  const auto* const header = reinterpret_cast<const fuse_in_header*>(memory_ + kIn);
  auto job = requestJob(Job::Kind::kWrite, slot);
  job->out = duplicate(fd);
  if (job->out < 0) return false;
  job->outAt = offset;
  job->size = size;
  job->cached = cached;
  if (!holdFor(*job, header->nodeid)) return false;
  job->data = std::make_unique_for_overwrite<uint8_t[]>(size);
  std::memcpy(job->data.get(), data, size);
  return submit(std::move(job));
}

int32_t Session::poolSync(int32_t slot, int32_t fd, bool dataOnly) {
  const Slot* const s = at(slot);
  if (s == nullptr || s->ended) return -EBADF;
  auto job = requestJob(Job::Kind::kSync, slot);
  job->out = duplicate(fd);
  job->dataOnly = dataOnly;
  return job->out >= 0 && submit(std::move(job)) ? 0 : -EAGAIN;
}

int32_t Session::poolRange(int32_t slot, int32_t in, int64_t inAt, int64_t nodeid, int32_t out,
                           int64_t outAt, uint32_t size) {
  const Slot* const s = at(slot);
  if (s == nullptr || s->ended) return -EBADF;
  auto job = requestJob(Job::Kind::kRange, slot);
  job->in = duplicate(in);
  job->out = duplicate(out);
  job->inAt = inAt;
  job->outAt = outAt;
  job->size = size;
  if (job->in < 0 || job->out < 0 || !holdFor(*job, nodeid)) return -EAGAIN;
  return submit(std::move(job)) ? 0 : -EAGAIN;
}

// A job that reports, with the next number; null when the slot has ended.
std::unique_ptr<Job> Session::numberedJob(Job::Kind kind, int32_t slot) {
  const Slot* const s = at(slot);
  if (s == nullptr || s->ended) return nullptr;
  auto job = std::make_unique<Job>();
  job->kind = kind;
  job->slot = slot;
  job->device = s->fd;
  job->number = nextJob_ = nextJob_ == INT32_MAX ? 1 : nextJob_ + 1;
  return job;
}

int32_t Session::poolCopy(int32_t slot, int32_t in, int32_t out, int64_t size, bool sync,
                          bool keepSize) {
  auto job = numberedJob(Job::Kind::kCopy, slot);
  if (!job) return -ENOTCONN;
  job->in = in;
  job->out = out;
  job->size = size;
  job->sync = sync;
  job->keepSize = keepSize;
  return submit(std::move(job)) ? nextJob_ : -EAGAIN;
}

int32_t Session::poolFlush(int32_t slot, int64_t nodeid, int64_t offset, int64_t size) {
  auto job = numberedJob(Job::Kind::kFlush, slot);
  if (!job) return -ENOTCONN;
  job->node = static_cast<uint64_t>(nodeid);
  job->inAt = offset;
  job->size = size;
  return submit(std::move(job)) ? nextJob_ : -EAGAIN;
}

int32_t Session::poolCensus(int32_t slot, int32_t root, const std::string& marks) {
  auto job = numberedJob(Job::Kind::kCensus, slot);
  if (!job) return -ENOTCONN;
  job->in = duplicate(root);
  if (job->in < 0) return -EAGAIN;
  job->marks = marks;
  return submit(std::move(job)) ? nextJob_ : -EAGAIN;
}

int32_t Session::poolTruncate(int32_t slot, int64_t nodeid, int32_t fd, int64_t size,
                              bool keepTime) {
  auto job = numberedJob(Job::Kind::kTruncate, slot);
  if (!job) return -ENOTCONN;
  job->out = duplicate(fd);
  job->size = size;
  if (job->out < 0 || (keepTime && !holdFor(*job, static_cast<uint64_t>(nodeid)))) return -EAGAIN;
  return submit(std::move(job)) ? nextJob_ : -EAGAIN;
}

int32_t Session::poolRoom(int32_t slot) {
  auto job = numberedJob(Job::Kind::kRoom, slot);
  if (!job) return -ENOTCONN;
  return submit(std::move(job)) ? nextJob_ : -EAGAIN;
}

int32_t Session::poolAllocate(int32_t slot, int64_t nodeid, int32_t fd, int32_t mode,
                              int64_t offset, int64_t size) {
  const Slot* const s = at(slot);
  if (s == nullptr || s->ended) return -EBADF;
  auto job = requestJob(Job::Kind::kAllocate, slot);
  job->out = duplicate(fd);
  job->mode = mode;
  job->outAt = offset;
  job->size = size;
  if (job->out < 0 || !holdFor(*job, static_cast<uint64_t>(nodeid))) return -EAGAIN;
  return submit(std::move(job)) ? 0 : -EAGAIN;
}

int32_t Session::poolStatfs(int32_t slot, int32_t fd) {
  const Slot* const s = at(slot);
  if (s == nullptr || s->ended) return -EBADF;
  auto job = requestJob(Job::Kind::kStatfs, slot);
  job->in = duplicate(fd);
  return job->in >= 0 && submit(std::move(job)) ? 0 : -EAGAIN;
}

// Whoever closes the last descriptor of a removed file gives its blocks back (iput), which takes as
// long as there are pieces of it, so one is kept for the pool, until the engine has closed its own.
int32_t Session::unlink(int32_t slot, int32_t dirfd, const char* name) {
  struct stat info {};
  const bool large = ::fstatat(dirfd, name, &info, AT_SYMLINK_NOFOLLOW) == 0 &&
                     S_ISREG(info.st_mode) && info.st_nlink == 1 && info.st_blocks >= kManySectors;
  const int fd = large ? ::openat(dirfd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC) : -1;
  if (::unlinkat(dirfd, name, 0) < 0) {
    const int error = errno;
    if (fd >= 0) ::close(fd);
    return -error;
  }
  if (fd < 0) return 0;
  auto job = std::make_unique<Job>();
  job->kind = Job::Kind::kFree;
  job->slot = slot;
  job->in = fd;
  job->fileSystem = info.st_dev;
  job->sectors = static_cast<uint64_t>(info.st_blocks);
  space::begin(job->fileSystem, job->sectors);
  frees_.push_back(std::move(job));
  if (frees_.size() >= kMostHeldFrees) handFrees();
  return 0;
}

// With too many of them, or without a thread, the blocks go here and now.
void Session::handFrees() {
  for (std::unique_ptr<Job>& job : frees_) {
    const Slot* const s = at(job->slot);
    if (s == nullptr || s->ended) job->slot = -1;
    const dev_t fileSystem = job->fileSystem;
    const uint64_t sectors = job->sectors;
    if (!submit(std::move(job))) space::end(fileSystem, sectors);
  }
  frees_.clear();
}

void Session::poolCancel(int32_t number) {
  if (pool_) pool_->cancel(number);
}

bool Session::poolDone(int32_t& number, int32_t& result) {
  return pool_ && pool_->takeDone(number, result);
}

double Session::park() {
  at_ = -1;
  return static_cast<double>(begun_);
}

void Session::resumed(int32_t slot, uint32_t opcode, double begun) {
  Slot* const s = at(slot);
  if (s == nullptr || opcode >= kOpcodes) return;
  addTime(s->counters, opcode, monotonicNs() - static_cast<int64_t>(begun));
}

void Session::foldFinished() {
  if (!pool_) return;
  for (const Finished& each : pool_->takeFinished()) {
    if (each.sendError != 0) sendError_ = each.sendError;
    Slot* const s = at(each.slot);
    if (s == nullptr) continue;
    addTime(s->counters, each.opcode, each.ns);
    s->counters[kBytesRead] += static_cast<double>(each.bytesRead);
    s->counters[kBytesWritten] += static_cast<double>(each.bytesWritten);
  }
}

// A slot whose connection has ended and that no job works for any more, or kNothing.
int32_t Session::drained() {
  for (size_t slot = 0; slot < slots_.size(); slot++) {
    if (!slots_[slot].draining || pool_->busy(static_cast<int32_t>(slot)) != 0) continue;
    slots_[slot].draining = false;
    draining_--;
    foldFinished();
    return kNextEnded - static_cast<int32_t>(slot);
  }
  return kNothing;
}

}  // namespace stratafs
