// Resets what a host would inherit of the process that happens to mount first, because the host
// serves others too. `leftovers` tells what cannot be reset; it is part of the host's name.
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "launcher.h"

namespace launcher {
namespace {

constexpr const char* kOomFile = "/proc/self/oom_score_adj";
constexpr const char* kCgroups = "/sys/fs/cgroup";
constexpr const char* kOwnCgroup = "/stratafs";

// A limit on what the caller may use is not one on what all mounts may: with `ulimit -f` the host
// could write no large file and hold no table, with `ulimit -t` it would be killed.
constexpr std::array kLimits = {RLIMIT_FSIZE, RLIMIT_CPU,     RLIMIT_AS,
                                RLIMIT_DATA,  RLIMIT_NPROC,   RLIMIT_NOFILE,
                                RLIMIT_RSS,   RLIMIT_MEMLOCK, RLIMIT_SIGPENDING};
// More descriptors than any host needs (fs.nr_open is higher everywhere).
constexpr rlim_t kMostFiles = 1 << 20;

void liftLimits() {
  for (const auto which : kLimits) {
    rlimit limit{RLIM_INFINITY, RLIM_INFINITY};
    if (which == RLIMIT_NOFILE) limit = {kMostFiles, kMostFiles};
    if (setrlimit(which, &limit) == 0 || getrlimit(which, &limit) != 0) continue;
    limit.rlim_cur = limit.rlim_max;  // As far as one may without privilege.
    setrlimit(which, &limit);
  }
  // Thread stacks are as large as the soft limit says, and the default suits.
  rlimit stack{};
  if (getrlimit(RLIMIT_STACK, &stack) == 0 && stack.rlim_cur != 8 << 20) {
    stack.rlim_cur = std::min<rlim_t>(8 << 20, stack.rlim_max);
    setrlimit(RLIMIT_STACK, &stack);
  }
}

struct Hierarchy {
  std::string mount;  // Where it is usually mounted.
  std::string path;   // This process's cgroup in it, from that directory.
};

// The hierarchies in which this process has a cgroup other than the root, whose end would be ours.
// A line of /proc/self/cgroup is NUMBER:CONTROLLERS:PATH, with no controllers in version 2
// (cgroups(7)).
std::vector<Hierarchy> cgroups() {
  std::vector<Hierarchy> found;
  const std::string text = readFile("/proc/self/cgroup");
  for (size_t from = 0; from < text.size();) {
    const size_t end = std::min(text.find('\n', from), text.size());
    const std::string line = text.substr(from, end - from);
    from = end + 1;
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos || line.substr(second + 1) == "/") continue;
    std::string controllers = line.substr(first + 1, second - first - 1);
    if (controllers.starts_with("name=")) controllers.erase(0, 5);
    std::string mount = std::string(kCgroups) + "/" + controllers;
    if (controllers.empty()) {
      // Alone, or beside version 1.
      mount = std::string(kCgroups) + "/unified";
      if (access((mount + "/cgroup.procs").c_str(), F_OK) != 0) mount = kCgroups;
    }
    found.push_back({mount, line.substr(second + 1)});
  }
  return found;
}

// This process may put one into a cgroup beside the others of a hierarchy. A read-only mount
// answers EROFS.
bool mayMove(const Hierarchy& hierarchy) {
  return geteuid() == 0 && access((hierarchy.mount + "/cgroup.procs").c_str(), W_OK) == 0;
}

// The weight that a thread of nice -10 has beside others (src/host/engineMain.ts), to the whole
// host: between groups nice values do not count. It works on behalf of those who wait for it.
void takePrecedence(const std::string& own) {
  writeFile(own + "/cpu.weight", "930");   // Version 2, of 100.
  writeFile(own + "/cpu.shares", "9548");  // Version 1, of 1024.
}

// A new cpuset has no processors and no memory, and takes no process.
void fillCpuset(const std::string& root, const std::string& own) {
  for (const char* name : {"/cpuset.cpus", "/cpuset.mems"}) {
    if (readFile(own + name).size() > 1 || access((own + name).c_str(), W_OK) != 0) continue;
    writeFile(own + name, readFile(root + name));
  }
}

void move(const Hierarchy& hierarchy) {
  const std::string own = hierarchy.mount + kOwnCgroup;
  if (mkdir(own.c_str(), 0755) == 0 || errno == EEXIST) {
    fillCpuset(hierarchy.mount, own);
    takePrecedence(own);
    if (writeFile(own + "/cgroup.procs", "0")) return;
  }
  // The root of the hierarchy: nobody can end that either.
  if (writeFile(hierarchy.mount + "/cgroup.procs", "0")) return;
  const std::string line = "stratafs: the host stays in the cgroup " + hierarchy.path + " of " +
                           hierarchy.mount + ": " + errorText(errno) + "\n";
  (void)!write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace

void resetInherited() {
  setpriority(PRIO_PROCESS, 0, 0);
  const sched_param none{};
  if (sched_getscheduler(0) != SCHED_OTHER) sched_setscheduler(0, SCHED_OTHER, &none);
  cpu_set_t all;
  memset(&all, 0xff, sizeof all);
  sched_setaffinity(0, sizeof all, &all);
  constexpr int kWhoProcess = 1;  // IOPRIO_WHO_PROCESS; class and data 0: as the nice value says.
  syscall(SYS_ioprio_set, kWhoProcess, 0, 0);
  constexpr int kDefaultPolicy = 0;  // MPOL_DEFAULT
  syscall(SYS_set_mempolicy, kDefaultPolicy, nullptr, 0);
  prctl(PR_SET_TIMERSLACK, 0);  // Back to the default.
  personality(PER_LINUX);
  liftLimits();
  if (readFile(kOomFile) != "0\n") writeFile(kOomFile, "0");
}

std::string leftovers() {
  std::string text = "nice " + std::to_string(getpriority(PRIO_PROCESS, 0)) + "\npolicy " +
                     std::to_string(sched_getscheduler(0)) + "\noom " + readFile(kOomFile) +
                     "securebits " + std::to_string(prctl(PR_GET_SECUREBITS)) + "\nlimits";
  for (const auto which : kLimits) {
    rlimit limit{};
    getrlimit(which, &limit);
    text += " " + std::to_string(limit.rlim_cur);
  }
  text += "\n";
  for (const Hierarchy& hierarchy : cgroups()) {
    if (!mayMove(hierarchy)) text += "cgroup " + hierarchy.mount + hierarchy.path + "\n";
  }
  return text;
}

void leaveCgroups() {
  // In the root cgroup a session is a group of its own (sched(7), autogroup).
  writeFile("/proc/self/autogroup", "-10");
  for (const Hierarchy& hierarchy : cgroups()) {
    if (mayMove(hierarchy)) move(hierarchy);
  }
}

}  // namespace launcher
