#include "placement.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "tally.h"

namespace stratafs {

namespace {

constexpr int64_t kMs = 1'000'000;
constexpr int64_t kTick = 1 * kMs;
// A client is followed when it asks 32 times within so long, so many times in a row,
constexpr int64_t kSpan = 6 * kMs;
constexpr uint32_t kSteady = 2;
// and no longer when that took a quarter longer than before, so many times in a row.
constexpr uint32_t kSlow = 2;
// Ticks without a request until it is no longer followed.
constexpr uint32_t kQuiet = 10;
// An answer that took longer is about a client that has long been elsewhere.
constexpr int64_t kFresh = 1 * kMs;
// After so many requests it was right to follow: it may be tried again soon.
constexpr uint32_t kWell = 2000;
// Of the last 16 ticks, in more than so many a request lay unread: others have the core.
constexpr int kWaitingMost = 9;
constexpr int64_t kFirstPenalty = 2 * kMs;
constexpr int64_t kLastPenalty = 4'096 * kMs;

int schedule(pid_t thread, int policy) {
  const sched_param none = {};
  return sched_setscheduler(thread, policy, &none);
}

void ring(int bell) {
  const uint64_t one = 1;
  // EAGAIN: it rings already. Nothing else can be.
  (void)!write(bell, &one, sizeof one);
}

bool startThread(pthread_t* thread, void* (*body)(void*), void* argument) {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const bool started = pthread_create(thread, nullptr, body, argument) == 0;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return started;
}

bool readable(int fd) {
  pollfd device = {fd, POLLIN, 0};
  return fd >= 0 && poll(&device, 1, 0) == 1 && (device.revents & POLLIN) != 0;
}

class Locked {
 public:
  explicit Locked(pthread_mutex_t& lock) : lock_(lock) { pthread_mutex_lock(&lock_); }
  ~Locked() { pthread_mutex_unlock(&lock_); }
  Locked(const Locked&) = delete;
  Locked& operator=(const Locked&) = delete;

 private:
  pthread_mutex_t& lock_;
};

}  // namespace

Placement::Placement() : thread_(gettid()) {
  const char* const wish = getenv("STRATAFS_FOLLOW");
  possible_ = wish != nullptr && std::strcmp(wish, "1") == 0 &&
              sched_getaffinity(0, sizeof allowed_, &allowed_) == 0 && CPU_COUNT(&allowed_) > 1;
}

// The devices are closed by now, so nothing that the asker waits for can wait for the loop.
Placement::~Placement() {
  stop_ = true;
  if (guard_ != 0) {
    ring(bell_);
    pthread_join(guard_, nullptr);
  }
  if (asker_ != 0) {
    ring(question_);
    pthread_join(asker_, nullptr);
  }
  if (guard_ != 0) leave(false);
  for (const int fd : {clientStat_, bell_, question_}) {
    if (fd >= 0) close(fd);
  }
}

// --- the loop's part ----------------------------------------------------------------------------

void Placement::consider(int64_t now) {
  const bool one = changes_ * 8 <= unseen_ && bulky_ * 4 <= unseen_ && client_ != 0;
  const int64_t took = now - span_;
  span_ = now;
  unseen_ = bulky_ = changes_ = 0;
  steady_ = one && took <= kSpan ? steady_ + 1 : 0;
  if (following()) {
    slow_ = took > before_ + before_ / 4 ? slow_ + 1 : 0;
    if (slow_ >= kSlow) {
      giveUp(now);
    } else if (!one) {
      leave(false);
    }
  } else if (steady_ >= kSteady && now >= notBefore_) {
    before_ = took;
    slow_ = 0;
    follow();
  }
}

void Placement::follow() {
  if (bell_ < 0 && !start()) {
    possible_ = false;
    return;
  }
  // Not before the guard knows that it may schedule.
  if (guardThread_.load(std::memory_order_relaxed) > 0) ask();
}

void Placement::ask() {
  since_.store(monotonicNs(), std::memory_order_relaxed);
  wanted_.store(client_);
  ring(question_);
}

// By any thread. The scheduling first: who holds the lock may be starving. `away`: others want
// that core, and with much to do on the whole machine the kernel would not look for another.
void Placement::leave(bool away) {
  schedule(thread_, SCHED_OTHER);
  const Locked locked(lock_);
  following_ = false;
  schedule(thread_, SCHED_OTHER);
  if (away) {
    cpu_set_t others = {};
    CPU_SET(cpu_, &others);
    CPU_XOR(&others, &others, &allowed_);
    sched_setaffinity(thread_, sizeof others, &others);
  }
  sched_setaffinity(thread_, sizeof allowed_, &allowed_);
}

// By the loop or the guard: it did not pay, so not again for a while, each time a longer one.
void Placement::giveUp(int64_t now) {
  const uint32_t served = requests_.load(std::memory_order_relaxed) - followed_;
  leave(true);
  penalty_ = std::clamp(served < kWell ? penalty_ * 2 : 0, kFirstPenalty, kLastPenalty);
  notBefore_ = now + penalty_;
}

// --- the asker ----------------------------------------------------------------------------------

bool Placement::start() {
  bell_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  question_ = eventfd(0, EFD_CLOEXEC);
  if (bell_ < 0 || question_ < 0) return false;
  if (!startThread(&guard_, guard, this)) guard_ = 0;
  if (guard_ != 0 && !startThread(&asker_, asker, this)) asker_ = 0;
  return asker_ != 0;
}

void* Placement::asker(void* self) {
  pthread_setname_np(pthread_self(), "asker");
  auto* const placement = static_cast<Placement*>(self);
  uint64_t count;
  while (read(placement->question_, &count, sizeof count) == sizeof count && !placement->stop_)
    placement->answer();
  return nullptr;
}

void Placement::answer() {
  const uint32_t client = wanted_.exchange(0);
  if (client == 0) return;
  const int cpu = clientCore(client);
  if (monotonicNs() - since_.load(std::memory_order_relaxed) > kFresh) return;
  if (!following()) {
    begin(cpu);
  } else if (cpu != cpu_ && !bindTo(cpu)) {
    leave(false);
  }
}

// The core the client last ran on (proc(5), "processor" of /proc/PID/stat), or -1.
int Placement::clientCore(uint32_t client) {
  if (client != seenClient_) {
    if (clientStat_ >= 0) close(clientStat_);
    char path[32];
    std::snprintf(path, sizeof path, "/proc/%u/stat", client);
    clientStat_ = open(path, O_RDONLY | O_CLOEXEC);
    seenClient_ = client;
  }
  char text[1024];
  const ssize_t got = clientStat_ < 0 ? -1 : pread(clientStat_, text, sizeof text - 1, 0);
  if (got <= 0) return -1;
  text[got] = '\0';
  // The second field, the command's name, may have blanks and parentheses; the last ")" ends it.
  const char* at = std::strrchr(text, ')');
  for (int field = 2; at != nullptr && field < 39; field++) {
    at = std::strchr(at + 1, ' ');
  }
  return at == nullptr ? -1 : static_cast<int>(std::strtol(at + 1, nullptr, 10));
}

void Placement::begin(int cpu) {
  if (cpu < 0) return;
  {
    const Locked locked(lock_);
    if (schedule(thread_, SCHED_IDLE) != 0) return;
    following_ = true;
    followed_ = requests_.load(std::memory_order_relaxed);
  }
  if (bindTo(cpu)) {
    ring(bell_);
  } else {
    leave(false);
    notBefore_ = monotonicNs() + kFirstPenalty;
  }
}

// Binds the loop's thread to the client's core, and the guard to the others: were it to wake on
// that core, the client would be moved off it. False when that cannot be.
bool Placement::bindTo(int cpu) {
  if (cpu < 0 || cpu >= CPU_SETSIZE || !CPU_ISSET(cpu, &allowed_)) return false;
  const Locked locked(lock_);
  // The guard has ended it meanwhile: nothing to bind.
  if (!following()) return true;
  cpu_set_t there;
  CPU_ZERO(&there);
  CPU_SET(cpu, &there);
  if (sched_setaffinity(thread_, sizeof there, &there) != 0) return false;
  cpu_ = cpu;
  CPU_XOR(&there, &there, &allowed_);
  sched_setaffinity(guardThread_, sizeof there, &there);
  return true;
}

// --- the guard ----------------------------------------------------------------------------------

void* Placement::guard(void* self) {
  pthread_setname_np(pthread_self(), "placement");
  // Who has no CAP_SYS_NICE may become idle but perhaps never again anything else (sched(7)), so
  // the guard tries it on itself.
  if (schedule(0, SCHED_IDLE) != 0 || schedule(0, SCHED_OTHER) != 0) return nullptr;
  auto* const placement = static_cast<Placement*>(self);
  placement->guardThread_ = gettid();
  placement->watch();
  return nullptr;
}

void Placement::watch() {
  pollfd bell = {bell_, POLLIN, 0};
  while (!stop_) {
    const timespec tick = {0, kTick};
    if (ppoll(&bell, 1, following() ? &tick : nullptr, nullptr) > 0) {
      uint64_t count;
      // EAGAIN cannot be: it is readable, and nobody else reads it.
      (void)!read(bell_, &count, sizeof count);
      quiet_ = waiting_ = 0;
      continue;
    }
    if (!following()) continue;
    if (starved()) {
      giveUp(monotonicNs());
    } else if (quiet_ >= kQuiet) {
      leave(false);
    }
  }
}

// A request that lies unread while the loop's thread could run, were it not idle.
bool Placement::starved() {
  const uint32_t requests = requests_.load(std::memory_order_relaxed);
  const bool served = requests != lastRequests_;
  lastRequests_ = requests;
  quiet_ = served ? 0 : quiet_ + 1;
  const bool unread = readable(device_.load(std::memory_order_relaxed));
  waiting_ = (waiting_ << 1 | (unread ? 1 : 0)) & 0xffff;
  if (!served && (waiting_ & 3) == 3) return true;
  return std::popcount(waiting_) > kWaitingMost;
}

}  // namespace stratafs
