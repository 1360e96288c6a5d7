// Hands jobs to the session's pool and takes their results.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "fuse_abi.h"
#include "memory.h"
#include "session.h"

namespace stratafs {

namespace {

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
  const bool answers = !Job::reports(job->kind);
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

int32_t Session::poolCopy(int32_t slot, int32_t in, int32_t out, int64_t size, bool sync,
                          bool keepSize) {
  const Slot* const s = at(slot);
  if (s == nullptr || s->ended) return -ENOTCONN;
  auto job = std::make_unique<Job>();
  job->slot = slot;
  job->in = in;
  job->out = out;
  job->size = size;
  job->sync = sync;
  job->keepSize = keepSize;
  job->number = nextJob_ = nextJob_ == INT32_MAX ? 1 : nextJob_ + 1;
  return submit(std::move(job)) ? nextJob_ : -EAGAIN;
}

int32_t Session::poolFlush(int32_t slot, int64_t nodeid, int64_t offset, int64_t size) {
  const Slot* const s = at(slot);
  if (s == nullptr || s->ended) return -ENOTCONN;
  auto job = std::make_unique<Job>();
  job->kind = Job::Kind::kFlush;
  job->slot = slot;
  job->device = s->fd;
  job->node = static_cast<uint64_t>(nodeid);
  job->inAt = offset;
  job->size = size;
  job->number = nextJob_ = nextJob_ == INT32_MAX ? 1 : nextJob_ + 1;
  return submit(std::move(job)) ? nextJob_ : -EAGAIN;
}

int32_t Session::poolCensus(int32_t slot, int32_t root, const std::string& marks) {
  const Slot* const s = at(slot);
  if (s == nullptr || s->ended) return -ENOTCONN;
  auto job = std::make_unique<Job>();
  job->kind = Job::Kind::kCensus;
  job->slot = slot;
  job->in = duplicate(root);
  if (job->in < 0) return -EAGAIN;
  job->marks = marks;
  job->number = nextJob_ = nextJob_ == INT32_MAX ? 1 : nextJob_ + 1;
  return submit(std::move(job)) ? nextJob_ : -EAGAIN;
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
