// Chooses the core of the loop's thread. A client that sends one small request after the other
// gets the soonest replies from a server on its own core, if that core counts as idle: no other
// core has to be woken, and a plain switch delivers the reply. So while one client asks, the
// loop's thread is bound to that client's core and scheduled as SCHED_IDLE ("following"). Such a
// thread starves when others want that core; a guard looks every millisecond and then ends it.
// Only with STRATAFS_FOLLOW=1: README.md has the figures.
//
// Only /proc tells the core of a client, and reading it can wait for the client. Since 6.18 the
// read takes exec_update_lock (do_task_stat), which an execve holds while it closes files; that
// close asks *us* to write dirty pages back. So the loop never looks itself; a third thread, the
// asker, does.
#pragma once

#include <pthread.h>
#include <sched.h>
#include <sys/types.h>

#include <atomic>
#include <cstdint>

namespace stratafs {

class Placement {
 public:
  // For the calling thread. Nothing happens before the first request.
  Placement();
  // Ends the guard; the thread is scheduled as before.
  ~Placement();
  Placement(const Placement&) = delete;
  Placement& operator=(const Placement&) = delete;

  // A request was read from `device` at `now` (ns). `client` is the asking thread, 0 when it is
  // the kernel or unknown; `bulk` says that it is about much data, which two cores move faster
  // than one.
  void onRequest(int device, uint32_t client, bool bulk, int64_t now) {
    requests_.store(requests_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    bulky_ += bulk ? 1 : 0;
    if (client != 0 && client != client_) {
      client_ = client;
      changes_++;
    }
    device_.store(device, std::memory_order_relaxed);
    if (possible_ && ++unseen_ >= kEvery) consider(now);
  }

  // Nothing more to do at the moment. Were the client on this core, it would have asked again
  // before the reply to it was done.
  void onEmpty() {
    if (following()) ask();
  }

  // The loop had better not spin: that would take the core from the client it waits for.
  bool following() const { return following_.load(std::memory_order_relaxed); }

 private:
  static constexpr uint32_t kEvery = 32;

  void consider(int64_t now);
  void follow();
  void leave(bool away);
  void giveUp(int64_t now);

  bool start();
  void ask();
  static void* asker(void* self);
  void answer();
  int clientCore(uint32_t client);
  void begin(int cpu);
  bool bindTo(int cpu);

  static void* guard(void* self);
  void watch();
  bool starved();

  const pid_t thread_;
  cpu_set_t allowed_;

  // The loop's own.
  bool possible_ = false;
  uint32_t unseen_ = 0;   // Requests since the last consider(), and what they were:
  uint32_t bulky_ = 0;    // about much data;
  uint32_t changes_ = 0;  // of another client than the one before.
  uint32_t steady_ = 0;   // Spans in a row with one client that asks all the time.
  int64_t span_ = 0;      // When the last began.
  uint32_t slow_ = 0;     // Spans in a row that took longer than
  int64_t before_ = 0;    // the last before the client was followed.
  uint32_t client_ = 0;

  // Shared. The lock is for who binds and schedules the loop's thread; cpu_ is where to.
  pthread_mutex_t lock_ = PTHREAD_MUTEX_INITIALIZER;
  int cpu_ = -1;
  std::atomic<bool> following_ = false;
  std::atomic<uint32_t> requests_ = 0;
  std::atomic<int> device_ = -1;
  std::atomic<uint32_t> followed_ = 0;  // requests_ at the beginning.
  std::atomic<int64_t> penalty_ = 0;
  std::atomic<int64_t> notBefore_ = 0;
  std::atomic<bool> stop_ = false;
  std::atomic<uint32_t> wanted_ = 0;  // The client to look for,
  std::atomic<int64_t> since_ = 0;    // and when the loop wanted that.
  pthread_t guard_ = 0;
  pthread_t asker_ = 0;
  std::atomic<pid_t> guardThread_ = 0;
  // Wake the guard and the asker.
  int bell_ = -1;
  int question_ = -1;

  // The asker's own.
  uint32_t seenClient_ = 0;  // Whose /proc file is open.
  int clientStat_ = -1;

  // The guard's own.
  uint32_t lastRequests_ = 0;
  uint32_t quiet_ = 0;    // Ticks in a row without a request.
  uint32_t waiting_ = 0;  // One bit a tick: a request lay unread.
};

}  // namespace stratafs
