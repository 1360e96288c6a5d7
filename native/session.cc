#include "session.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "budget.h"
#include "fuse_abi.h"
#include "memory.h"

namespace stratafs {

namespace {

constexpr uint32_t kWakeTag = UINT32_MAX;
constexpr uint32_t kLoopTag = UINT32_MAX - 1;
constexpr uint32_t kTimerTag = UINT32_MAX - 2;
constexpr size_t kMaxSlots = 65536;
constexpr uint64_t kMaxNodeid = UINT32_MAX;

// docs/design.md, "What was measured first": spinning before blocking.
constexpr int64_t kSpinNs = 50'000;
constexpr int kTopScore = 8;
constexpr uint32_t kRetryEvery = 16;
// A busy device is left for the others, and the wake descriptor looked at, after so many requests.
constexpr uint32_t kStreak = 16;
constexpr int kForever = -1;

// Requests from here on are about data, which the client's core and ours move at the same time.
constexpr uint32_t kBulk = 32 * 1024;

bool isBulk(const fuse_in_header& header) {
  if (header.opcode != FUSE_READ) return header.len > kBulk;
  fuse_read_in in;
  if (header.len < sizeof header + sizeof in) return false;
  std::memcpy(&in, &header + 1, sizeof in);
  return in.size > kBulk;
}

}  // namespace

Session::Session(uint8_t* memory, int loopFd) : memory_(memory) {
  epoll_ = epoll_create1(EPOLL_CLOEXEC);
  wake_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  epoll_event event = {};
  event.events = EPOLLIN;
  event.data.u32 = kWakeTag;
  if (epoll_ < 0 || wake_ < 0 || epoll_ctl(epoll_, EPOLL_CTL_ADD, wake_, &event) < 0) {
    broken_ = -errno;
  }
  // Edge-triggered: the event loop does not turn while we wait, so what has come for it (messages)
  // stays; each thing more that comes is an event of its own all the same (ep_poll_callback).
  event.events = EPOLLIN | EPOLLET;
  event.data.u32 = kLoopTag;
  if (broken_ == 0 && epoll_ctl(epoll_, EPOLL_CTL_ADD, loopFd, &event) < 0) broken_ = -errno;
}

Session::~Session() {
  handFrees();
  pool_.reset();  // Its jobs use the descriptors below.
  budget::leave(wake_);
  for (const Slot& slot : slots_) {
    if (slot.fd >= 0) ::close(slot.fd);
  }
  if (timer_ >= 0) ::close(timer_);
  if (wake_ >= 0) ::close(wake_);
  if (epoll_ >= 0) ::close(epoll_);
}

Session::Slot* Session::at(int32_t slot) {
  if (slot < 0 || static_cast<size_t>(slot) >= slots_.size()) return nullptr;
  return slots_[slot].fd < 0 ? nullptr : &slots_[slot];
}

Session::Backing* Session::backing(int32_t slot, uint64_t nodeid) {
  Slot* const s = at(slot);
  return s != nullptr && nodeid < s->nodes.size() ? &s->nodes[nodeid] : nullptr;
}

int32_t Session::attach(int32_t fd, double* counters) {
  const int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
      fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) {
    return -errno;
  }
  size_t slot = 0;
  while (slot < slots_.size() && slots_[slot].fd >= 0)
    slot++;
  if (slot >= kMaxSlots) return -EMFILE;
  epoll_event event = {};
  event.events = EPOLLIN;
  event.data.u32 = static_cast<uint32_t>(slot);
  if (epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) < 0) return -errno;
  if (slot == slots_.size()) slots_.emplace_back();
  slots_[slot].fd = fd;
  slots_[slot].counters = counters;
  attached_++;
  return static_cast<int32_t>(slot);
}

int32_t Session::detach(int32_t slot) {
  Slot* const s = at(slot);
  if (s == nullptr) return -EBADF;
  if (!s->ended) {
    // The descriptor may be held elsewhere too, so closing alone would leave it in the set.
    epoll_ctl(epoll_, EPOLL_CTL_DEL, s->fd, nullptr);
  }
  // Only a slot that is given up while it is served can still have jobs.
  handFrees();
  if (pool_) pool_->drain(slot);
  if (s->draining) draining_--;
  const int closed = ::close(s->fd);
  *s = Slot();
  attached_--;
  if (hot_ == slot) hot_ = -1;
  if (at_ == slot) at_ = -1;
  return closed < 0 ? -errno : 0;
}

void Session::setBacking(int32_t slot, int64_t nodeid, int32_t fd, bool writable) {
  Slot* const s = at(slot);
  // No place for it only costs speed: the engine answers READ and WRITE then.
  if (s == nullptr || nodeid < 0 || static_cast<uint64_t>(nodeid) > kMaxNodeid) return;
  const size_t index = static_cast<size_t>(nodeid);
  if (index >= s->nodes.size()) {
    if (fd < 0) return;
    s->nodes.resize(std::max(index + 1, s->nodes.size() * 2));
  }
  s->nodes[index] = Backing{fd, writable};
}

void Session::shareBare(int32_t slot, const uint8_t* bare, size_t count) {
  Slot* const s = at(slot);
  if (s == nullptr) return;
  s->bare = bare;
  s->bareCount = count;
}

void Session::keepTimes(int32_t slot) {
  Slot* const s = at(slot);
  if (s != nullptr) s->keepsTimes = true;
}

void Session::holdTime(int32_t slot, int64_t nodeid, int32_t fd) {
  const Slot* const s = at(slot);
  heldTime_ = s == nullptr ? timespec{0, UTIME_OMIT} : s->times.of(nodeid, fd);
}

void Session::putHeldTime(int32_t fd) const {
  putTime(fd, heldTime_);
}

void Session::timeSet(int32_t slot, int64_t nodeid, int64_t seconds, uint32_t nanoseconds) {
  Slot* const s = at(slot);
  if (s != nullptr) s->times.set(nodeid, {seconds, nanoseconds});
}

int32_t Session::passthroughOpen(int32_t slot, int32_t fd) {
  const Slot* const s = at(slot);
  if (s == nullptr) return -EBADF;
  abi::backing_map map = {};
  map.fd = fd;
  const int id = ioctl(s->fd, abi::kIocBackingOpen, &map);
  return id < 0 ? -errno : id;
}

int32_t Session::passthroughClose(int32_t slot, int32_t id) {
  const Slot* const s = at(slot);
  if (s == nullptr) return -EBADF;
  const uint32_t value = static_cast<uint32_t>(id);
  return ioctl(s->fd, abi::kIocBackingClose, &value) < 0 ? -errno : 0;
}

int32_t Session::takeSendError() {
  return std::exchange(sendError_, 0);
}

int32_t Session::takeReadError() {
  return std::exchange(readError_, 0);
}

int32_t Session::wake(int32_t fd) {
  const uint64_t one = 1;
  // EAGAIN: the counter is full, so a wake-up is pending already.
  return ::write(fd, &one, sizeof one) < 0 && errno != EAGAIN ? -errno : 0;
}

int32_t Session::wakeAfter(uint32_t ms) {
  if (timer_ < 0) {
    timer_ = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    epoll_event event = {};
    event.events = EPOLLIN;
    event.data.u32 = kTimerTag;
    if (timer_ < 0 || epoll_ctl(epoll_, EPOLL_CTL_ADD, timer_, &event) < 0) {
      const int error = errno;
      if (timer_ >= 0) ::close(timer_);
      timer_ = -1;
      return -error;
    }
  }
  // One that is to come sooner serves both: whoever is woken too early waits again.
  itimerspec left = {};
  if (timerfd_gettime(timer_, &left) < 0) return -errno;
  const int64_t leftMs = left.it_value.tv_sec * 1000 + left.it_value.tv_nsec / 1'000'000;
  const bool set = left.it_value.tv_sec != 0 || left.it_value.tv_nsec != 0;
  if (set && leftMs < static_cast<int64_t>(ms)) return 0;
  itimerspec once = {};
  once.it_value.tv_sec = ms / 1000;
  once.it_value.tv_nsec = static_cast<long>(ms % 1000) * 1'000'000;
  return timerfd_settime(timer_, 0, &once, nullptr) < 0 ? -errno : 0;
}

int32_t Session::next(int32_t slot, uint32_t length, Alive alive, void* context) {
  if (length != 0) {
    Slot* const s = at(slot);
    // The client that is followed runs before its reply is done: the time up to here is ours.
    if (placement_.following()) settle();
    if (s != nullptr && !s->ended) reply(*s, length);
  }
  settle();
  handFrees();
  for (uint32_t served = 0;; served++) {
    // A client that reads without a pause must not keep a terminated thread here.
    if (served % 1024 == 1023 && !alive(context)) return kNextWake;
    const int32_t got = await(alive, context);
    if (got < 0 || !serve(got)) return got;
    settle();
  }
}

// The request at hand is answered. This is the only look at the clock that a request costs while
// one follows the other; a wait looks once more when it is over.
void Session::settle() {
  clock_ = monotonicNs();
  if (at_ < 0) return;
  Slot* const s = at(at_);
  if (s != nullptr) addTime(s->counters, opcode_, clock_ - begun_);
  at_ = -1;
}

int32_t Session::await(Alive alive, void* context) {
  if (draining_ > 0) {
    const int32_t got = drained();
    if (got != kNothing) return got;
  }
  if (++streak_ >= kStreak) {
    streak_ = 0;
    const int32_t got = look(0);
    if (got != kNothing) return got;
  } else {
    const int32_t got = tryRead(hot_);
    if (got != kNothing) return got;
  }
  placement_.onEmpty();
  if (shouldSpin()) {
    const int32_t got = spin();
    if (got != kNothing) {
      score_ = std::min(score_ + 1, kTopScore);
      return got;
    }
    score_ = std::max(score_ - 1, 0);
  }
  for (;;) {
    if (stirred_ && !alive(context)) return kNextWake;
    stirred_ = false;
    streak_ = 0;
    const int32_t got = look(kForever);
    if (got != kNothing) return got;
  }
}

bool Session::shouldSpin() {
  if (hot_ < 0 || placement_.following()) return false;
  return score_ > 0 || ++skipped_ % kRetryEvery == 0;
}

// Without the yield between two tries a client on this core would not get to ask.
int32_t Session::spin() {
  clock_ = monotonicNs();
  const int64_t deadline = clock_ + kSpinNs;
  const uint32_t lookEvery = attached_ > 1 ? 4 : 8;
  for (uint32_t round = 1;; round++) {
    sched_yield();
    clock_ = monotonicNs();
    int32_t got = tryRead(hot_);
    if (got != kNothing) return got;
    if (round % lookEvery == 0) {
      got = look(0);
      if (got != kNothing) return got;
    }
    if (hot_ < 0 || clock_ >= deadline) return kNothing;
  }
}

// Asks all descriptors; of several ready devices takes the first after the one served last.
int32_t Session::look(int timeoutMs) {
  epoll_event events[64];
  const int count = epoll_wait(epoll_, events, 64, timeoutMs);
  if (timeoutMs != 0) clock_ = monotonicNs();
  if (count <= 0) return kNothing;  // EINTR: the caller looks again.
  const epoll_event* const end = events + count;
  for (const epoll_event* event = events; event < end; event++) {
    if (event->data.u32 == kLoopTag) stirred_ = true;
  }
  const auto has = [&](uint32_t tag) {
    return std::any_of(events, static_cast<epoll_event*>(events) + count,
                       [tag](const epoll_event& event) { return event.data.u32 == tag; });
  };
  uint64_t times;
  if (has(kTimerTag)) {
    // EAGAIN: it was set anew meanwhile.
    if (::read(timer_, &times, sizeof times) < 0 && errno != EAGAIN) readError_ = errno;
    return kNextWake;
  }
  if (has(kWakeTag)) {
    // EAGAIN cannot be (only this thread reads); any other error only repeats the wake-up.
    if (::read(wake_, &times, sizeof times) < 0) readError_ = errno;
    foldFinished();
    return kNextWake;
  }
  std::sort(events, events + count, [this](const epoll_event& a, const epoll_event& b) {
    // Unsigned: slots up to the last one served wrap to the end.
    const uint32_t from = static_cast<uint32_t>(hot_) + 1;
    return a.data.u32 - from < b.data.u32 - from;
  });
  for (const epoll_event* event = events; event < end; event++) {
    const int32_t got = tryRead(static_cast<int32_t>(event->data.u32));
    if (got != kNothing) return got;
  }
  return kNothing;
}

int32_t Session::tryRead(int32_t slot) {
  Slot* const s = at(slot);
  if (s == nullptr || s->ended) return kNothing;
  for (;;) {
    const ssize_t got = ::read(s->fd, memory_ + kIn, kInSize);
    if (got < 0) {
      // ENOENT: the request was aborted before it was read (fuse_dev_do_read). ENOMEM, EIO: the
      // kernel could not copy this request and has failed it itself.
      if (errno == EINTR || errno == ENOENT || errno == ENOMEM || errno == EIO) continue;
      return errno == EAGAIN ? kNothing : end(slot, errno);
    }
    const auto* const header = reinterpret_cast<const fuse_in_header*>(memory_ + kIn);
    if (static_cast<size_t>(got) < sizeof *header || header->len != static_cast<size_t>(got)) {
      return end(slot, EPROTO);
    }
    placement_.onRequest(s->fd, header->pid, isBulk(*header), clock_);
    hot_ = slot;
    if (header->opcode > 0 && header->opcode < kOpcodes - 1) {
      s->counters[header->opcode]++;
      at_ = slot;
      opcode_ = header->opcode;
      begun_ = clock_;
    }
    return slot;
  }
}

int32_t Session::end(int32_t slot, int error) {
  // ENODEV: unmounted. ECONNABORTED: aborted. Anything else is worth a line in a log.
  if (error != ENODEV && error != ECONNABORTED) readError_ = error;
  epoll_ctl(epoll_, EPOLL_CTL_DEL, slots_[slot].fd, nullptr);
  slots_[slot].ended = true;
  if (hot_ == slot) hot_ = -1;
  if (pool_ && pool_->close(slot)) {
    // The engine may only give up what the slot's jobs work on when they have ended.
    slots_[slot].draining = true;
    draining_++;
    return kNothing;
  }
  foldFinished();  // What the counters are read for after this is whole.
  return kNextEnded - slot;
}

}  // namespace stratafs
