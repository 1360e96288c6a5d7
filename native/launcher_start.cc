// Starts the host: a process without a parent that inherits nothing of its caller.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "identity.h"
#include "launcher.h"

namespace launcher {
namespace {

constexpr off_t kMaxLog = 1 << 20;
// What the host finds at these descriptors (src/host/hostMain.ts).
constexpr int kHostSocket = 3;
constexpr int kHostLock = 4;
constexpr const char* kScript = "dist/host/hostStart.cjs";

// Environment of the host: it outlives its caller and serves others, so it gets no more than it
// needs. The last entries are what the launcher tells it.
std::vector<std::string> hostEnvironment(const std::string& identity, const std::string& build) {
  std::vector<std::string> kept;
  for (char** entry = environ; *entry != nullptr; entry++) {
    const std::string_view text = *entry;
    if (text.starts_with("STRATAFS_HOST_")) continue;
    for (const std::string_view name :
         {"PATH=", "HOME=", "TMPDIR=", "XDG_RUNTIME_DIR=", "STRATAFS_"}) {
      if (text.starts_with(name)) kept.emplace_back(text);
    }
  }
  if (getenv("PATH") == nullptr)
    kept.emplace_back("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
  // glibc: else each thread has a heap of its own, and keeps what it has freed there. Few blocks
  // are taken while requests are served, and most of these come out of a thread's own cache.
  kept.emplace_back("MALLOC_ARENA_MAX=1");
  // What can take long has threads of its own (apart.h), so libuv's pool has little to do.
  kept.emplace_back("UV_THREADPOOL_SIZE=1");
  kept.push_back("STRATAFS_HOST_IDENTITY=" + identity);
  kept.push_back("STRATAFS_HOST_BUILD=" + build);
  kept.push_back("STRATAFS_HOST_ROOT=" + installRoot());
  return kept;
}

void closeFrom(unsigned first) {
#ifdef SYS_close_range
  if (syscall(SYS_close_range, first, ~0U, 0) == 0) return;
#endif
  const long limit = sysconf(_SC_OPEN_MAX);
  for (long fd = first; fd < (limit > 0 ? limit : 65536); fd++)
    close(static_cast<int>(fd));
}

void resetSignals() {
  for (int number = 1; number < NSIG; number++)
    signal(number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  signal(SIGHUP, SIG_IGN);
}

// Node, with standard streams, socket and lock where the host expects them.
[[noreturn]] void runNode(const std::string& socket, const std::string& identity,
                          const std::string& build) {
  umask(0);
  if (chdir("/") != 0) _exit(126);
  const std::vector<std::string> kept = hostEnvironment(identity, build);
  std::vector<char*> env;
  for (const std::string& entry : kept)
    env.push_back(const_cast<char*>(entry.c_str()));
  env.push_back(nullptr);
  const int error = execNode(kScript, {socket}, env.data());
  const std::string line =
      "stratafs: cannot start node (" + errorText(error) + "): install Node 20\n";
  (void)!write(STDERR_FILENO, line.data(), line.size());
  _exit(127);
}

// In the child: nothing of the caller may stay (an engine waits for the end of our stderr).
[[noreturn]] void becomeHost(int listener, int lock, int log, const HostPlace& place) {
  resetSignals();
  const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  // Moved out of the way first: the numbers aimed at may be taken by one of these.
  const std::array<int, 5> sources = {null, null, log >= 0 ? log : null, listener, lock};
  std::array<int, 5> high{};
  for (size_t i = 0; i < sources.size(); i++)
    high[i] = fcntl(sources[i], F_DUPFD_CLOEXEC, 16);
  for (size_t i = 0; i < high.size(); i++)
    dup2(high[i], static_cast<int>(i));
  closeFrom(kHostLock + 1);
  leaveCgroups();
  runNode(place.socket, place.identity, place.build);
}

void spawnHost(int listener, int lock, int log, const HostPlace& place) {
  const pid_t child = fork();
  if (child < 0) fail("cannot start the host: " + errorText(errno));
  if (child == 0) {
    setsid();
    // The second fork gives the host to init, so that no caller has to reap it.
    const pid_t grandchild = fork();
    if (grandchild == 0) becomeHost(listener, lock, log, place);
    _exit(grandchild < 0 ? 1 : 0);
  }
  // ECHILD: a caller that ignores SIGCHLD; the child needs no reaping then.
  while (waitpid(child, nullptr, 0) < 0 && errno == EINTR)
    continue;
}

std::string trimmed(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' '))
    text.pop_back();
  return text;
}

}  // namespace

Started startHost(const HostPlace& place) {
  if (getpid() == 1) {
    fail(
        "this process is the first of its PID namespace, whose end would end the mount's host "
        "too: mount with --foreground, or from a process that is started by another");
  }
  Fd lock(open(place.lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!lock) fail("cannot open " + place.lock + ": " + errorText(errno));
  if (flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return {};
    fail("cannot lock " + place.lock + ": " + errorText(errno));
  }
  // An ending host removes its lock file: this one then locks nobody out, the next try makes
  // another.
  struct stat held {};
  if (fstat(lock.get(), &held) != 0 || held.st_nlink == 0) return {};
  // It listens before node runs: the request waits in its queue.
  const Fd listener = listenAt(place.socket);
  // Read and write: the host shortens its own log. One that cannot be written is done without.
  const Fd log(open(place.log.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600));
  struct stat info {};
  if (log && fstat(log.get(), &info) == 0 && info.st_size > kMaxLog) {
    info.st_size = ftruncate(log.get(), 0) == 0 ? 0 : info.st_size;
  }
  spawnHost(listener.get(), lock.get(), log.get(), place);
  return {true, info.st_size};
}

void serveUnit() {
  const char* count = getenv("LISTEN_FDS");
  const char* owner = getenv("LISTEN_PID");
  if (count == nullptr || strcmp(count, "1") != 0 || owner == nullptr ||
      std::to_string(getpid()) != owner) {
    fail("host serve is what systemd runs (stratafs install service): it takes no other socket");
  }
  fcntl(kHostSocket, F_SETFD, 0);
  // Priority, limits and oom_score_adj are the unit's, and so what its administrator wants.
  const std::string identity = stratafs::ownIdentity();
  runNode("", identity, buildId());
}

// What a host wrote before it died. Node prints the place in the source first, and its version
// last: the line that begins with the name of an error counts. Else our own last line does.
std::string lastWords(const std::string& path, off_t from) {
  const Fd log(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  struct stat info {};
  constexpr off_t kMost = 16384;
  if (!log || fstat(log.get(), &info) != 0) return {};
  if (info.st_size - from > kMost) from = info.st_size - kMost;
  std::array<char, kMost> part;
  const ssize_t n = pread(log.get(), part.data(), part.size(), from);
  const std::string text(part.data(), n > 0 ? static_cast<size_t>(n) : 0);
  std::string last, error;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const std::string line = trimmed(text.substr(at, end - at));
    at = end + 1;
    const size_t colon = line.find(": ");
    const std::string_view head = std::string_view(line).substr(0, line.find_first_of(" :["));
    if (colon != std::string::npos && head.ends_with("Error")) error = line;
    // V8 has no memory, or a bug: a native stack follows.
    if (line.starts_with("FATAL ERROR: ")) error = line.substr(13);
    const bool node = line.starts_with("Node.js v") || line.starts_with("    at ") ||
                      line.starts_with("node:") || line == "^" || line == "}" || line == "{";
    const bool stack = line.find(": 0x") != std::string::npos || line.starts_with("----- ");
    if (!line.empty() && !node && !stack) last = line;
  }
  std::string words = error.empty() ? last : error;
  constexpr std::string_view kOurs = "stratafs: ";
  if (words.starts_with(kOurs)) words.erase(0, kOurs.size());
  return words;
}

}  // namespace launcher
