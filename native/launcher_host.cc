#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <array>

#include "launcher.h"

namespace launcher {
namespace {

// A mount waits for the layers to be opened and for the kernel's INIT: milliseconds, but the host's
// own start and a cold disk come on top.
constexpr int kAnswerTimeoutMs = 120'000;
// As long as another launcher may need to start the host, or an ending host to end.
constexpr int kStartTimeoutMs = 20'000;
constexpr int kRetryMs = 2;
// A host that dies on one request must not be started for ever.
constexpr int kMaxStarts = 2;
constexpr off_t kMaxLog = 1 << 20;
// What the host finds at these descriptors (src/host/hostMain.ts).
constexpr int kHostSocket = 3;
constexpr int kHostLock = 4;

int64_t nowMs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1'000'000;
}

// The number of a namespace, or of "/" as "dev-ino": 0 where it cannot be seen.
std::string inode(const char* path) {
  struct stat info {};
  return stat(path, &info) == 0 ? std::to_string(info.st_ino) : "0";
}

std::string key() {
  struct stat root {};
  const bool seen = stat("/", &root) == 0;
  return std::to_string(geteuid()) + "-" + inode("/proc/self/ns/user") + "-" +
         inode("/proc/self/ns/mnt") + "-" + (seen ? std::to_string(root.st_dev) : "0") + "-" +
         (seen ? std::to_string(root.st_ino) : "0");
}

// The user outside the user namespace: root inside has a place of its own for each of them. The
// lines of uid_map are: first ID inside, first ID outside, count (user_namespaces(7)).
std::string outerUser() {
  const uint64_t own = geteuid();
  uint64_t inside = 0, outside = 0, count = 0;
  uint64_t found = own;
  FILE* const map = fopen("/proc/self/uid_map", "re");
  if (map == nullptr) return std::to_string(own);
  while (fscanf(map, "%" SCNu64 " %" SCNu64 " %" SCNu64, &inside, &outside, &count) == 3) {
    if (own >= inside && own - inside < count) found = outside + (own - inside);
  }
  fclose(map);
  return std::to_string(found);
}

// Ours alone: a directory that others can write to would let them answer in the host's place.
bool usable(const std::string& directory) {
  if (mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) return false;
  struct stat info {};
  return lstat(directory.c_str(), &info) == 0 && S_ISDIR(info.st_mode) &&
         info.st_uid == geteuid() && (info.st_mode & 022) == 0;
}

sockaddr_un address(const std::string& path) {
  sockaddr_un where{};
  where.sun_family = AF_UNIX;
  memcpy(where.sun_path, path.c_str(), path.size() + 1);
  return where;
}

Fd connectTo(const std::string& path, int& error) {
  Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) fail("cannot make a socket: " + errorText(errno));
  const sockaddr_un where = address(path);
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&where), sizeof where) == 0) return fd;
  error = errno;
  return Fd();
}

bool sendAll(int fd, const std::string& line) {
  size_t done = 0;
  while (done < line.size()) {
    const ssize_t n = send(fd, line.data() + done, line.size() - done, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    done += static_cast<size_t>(n);
  }
  return true;
}

enum class Received { answer, ended, timeout };

Received receiveLine(int fd, std::string& line, int timeoutMs) {
  const int64_t deadline = nowMs() + timeoutMs;
  std::array<char, 4096> part;
  for (;;) {
    const int64_t left = deadline - nowMs();
    pollfd wait{fd, POLLIN, 0};
    const int ready = left > 0 ? poll(&wait, 1, static_cast<int>(left)) : 0;
    if (ready == 0) return Received::timeout;
    if (ready < 0) continue;  // EINTR
    const ssize_t n = recv(fd, part.data(), part.size(), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return Received::ended;
    line.append(part.data(), static_cast<size_t>(n));
    if (line.back() == '\n') return Received::answer;
  }
}

// --- starting the host ---------------------------------------------------------------------

// Environment of the host: it outlives its caller and serves others, so it gets no more than it
// needs.
std::vector<std::string> hostEnvironment() {
  std::vector<std::string> kept;
  for (char** entry = environ; *entry != nullptr; entry++) {
    const std::string_view text = *entry;
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

// A limit on what the caller may use is not one on what all mounts may: with `ulimit -f` the host
// could write no large file and hold no table, with `ulimit -t` it would be killed.
void liftLimits() {
  for (const auto which : {RLIMIT_FSIZE, RLIMIT_CPU, RLIMIT_AS, RLIMIT_DATA}) {
    rlimit limit{RLIM_INFINITY, RLIM_INFINITY};
    if (setrlimit(which, &limit) == 0 || getrlimit(which, &limit) != 0) continue;
    limit.rlim_cur = limit.rlim_max;  // As far as one may without privilege.
    setrlimit(which, &limit);
  }
}

// In the child: nothing of the caller may stay (an engine waits for the end of our stderr), then
// node.
[[noreturn]] void becomeHost(int listener, int lock, int log, const Place& place) {
  resetSignals();
  liftLimits();
  umask(0);
  if (chdir("/") != 0) _exit(126);
  const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  // Moved out of the way first: the numbers aimed at may be taken by one of these.
  const std::array<int, 5> sources = {null, null, log >= 0 ? log : null, listener, lock};
  std::array<int, 5> high{};
  for (size_t i = 0; i < sources.size(); i++)
    high[i] = fcntl(sources[i], F_DUPFD_CLOEXEC, 16);
  for (size_t i = 0; i < high.size(); i++)
    dup2(high[i], static_cast<int>(i));
  closeFrom(kHostLock + 1);
  const std::vector<std::string> kept = hostEnvironment();
  std::vector<char*> env;
  for (const std::string& entry : kept)
    env.push_back(const_cast<char*>(entry.c_str()));
  env.push_back(nullptr);
  const int error = execNode("dist/host/hostStart.cjs", {place.socket}, env.data());
  const std::string text =
      "cannot start node (" + errorText(error) + "): install Node 20 or set STRATAFS_NODE\n";
  (void)!write(STDERR_FILENO, text.data(), text.size());
  _exit(127);
}

void spawnHost(int listener, int lock, int log, const Place& place) {
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

Fd listenAt(const std::string& path) {
  // The lock is held, so no host lives: what is there is the socket of one that died.
  unlink(path.c_str());
  Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) fail("cannot make a socket: " + errorText(errno));
  const sockaddr_un where = address(path);
  const mode_t mask = umask(0177);
  const int bound = bind(fd.get(), reinterpret_cast<const sockaddr*>(&where), sizeof where);
  const int error = errno;
  umask(mask);
  if (bound != 0 || listen(fd.get(), SOMAXCONN) != 0) {
    fail("cannot listen on " + path + ": " + errorText(bound != 0 ? error : errno));
  }
  return fd;
}

// Starts the host unless another process holds its lock. The host inherits the lock and the socket,
// which listens before node runs: the request waits in its queue. `logStart` is where its log
// begins.
bool startHost(const Place& place, off_t& logStart) {
  Fd lock(open(place.lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!lock) fail("cannot open " + place.lock + ": " + errorText(errno));
  if (flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return false;
    fail("cannot lock " + place.lock + ": " + errorText(errno));
  }
  // An ending host removes its lock file: this one then locks nobody out, the next try makes
  // another.
  struct stat held {};
  if (fstat(lock.get(), &held) != 0 || held.st_nlink == 0) return false;
  const Fd listener = listenAt(place.socket);
  // A log that cannot be written is done without: /dev/null then.
  const Fd log(
      open(place.log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600));
  struct stat info {};
  if (log && fstat(log.get(), &info) == 0 && info.st_size > kMaxLog) {
    info.st_size = ftruncate(log.get(), 0) == 0 ? 0 : info.st_size;
  }
  logStart = info.st_size;
  spawnHost(listener.get(), lock.get(), log.get(), place);
  return true;
}

// The last line the host wrote since `from`, as the reason why it ended.
std::string lastWords(const Place& place, off_t from) {
  const Fd log(open(place.log.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  std::array<char, 8192> part;
  const ssize_t n = log ? pread(log.get(), part.data(), part.size(), from) : 0;
  std::string text(part.data(), n > 0 ? static_cast<size_t>(n) : 0);
  while (!text.empty() && text.back() == '\n')
    text.pop_back();
  // Node prints the failing source line first and its version last: the line with the error counts.
  const size_t error = text.find("Error");
  const size_t begin = error == std::string::npos ? text.rfind('\n') : text.rfind('\n', error);
  text.erase(0, begin == std::string::npos ? 0 : begin + 1);
  return text.substr(0, text.find('\n'));
}

[[noreturn]] void failStart(const Place& place, off_t logStart) {
  const std::string reason = lastWords(place, logStart);
  fail("the host ended before it answered" + (reason.empty() ? "" : " (" + reason + ")") +
       ": see " + place.log);
}

}  // namespace

Place findPlace() {
  const std::string name = "host-" + key();
  std::vector<std::string> candidates;
  if (geteuid() == 0) candidates.emplace_back("/run/stratafs");
  const char* runtime = getenv("XDG_RUNTIME_DIR");
  if (runtime != nullptr && runtime[0] == '/')
    candidates.push_back(std::string(runtime) + "/stratafs");
  candidates.push_back("/tmp/stratafs-" + outerUser());
  for (const std::string& directory : candidates) {
    const std::string base = directory + "/" + name;
    if (base.size() + sizeof ".sock" > sizeof(sockaddr_un::sun_path) || !usable(directory))
      continue;
    return {base + ".sock", base + ".lock", base + ".log"};
  }
  fail("no place for the host's socket: " + candidates.back() +
       " is not a directory of yours alone; set XDG_RUNTIME_DIR to one");
}

Answer ask(const Place& place, const std::string& line) {
  const int64_t deadline = nowMs() + kStartTimeoutMs;
  int starts = 0;
  off_t logStart = 0;
  for (;;) {
    int error = 0;
    const Fd fd = connectTo(place.socket, error);
    if (!fd) {
      if (error != ENOENT && error != ECONNREFUSED) {
        fail("cannot connect to " + place.socket + ": " + errorText(error));
      }
      if (starts >= kMaxStarts) failStart(place, logStart);
      if (startHost(place, logStart)) {
        starts++;
      } else if (nowMs() > deadline) {
        fail("the host does not answer on " + place.socket + ": see " + place.log);
      } else {
        usleep(kRetryMs * 1000);
      }
      continue;
    }
    std::string text;
    Answer answer;
    const Received received =
        sendAll(fd.get(), line) ? receiveLine(fd.get(), text, kAnswerTimeoutMs) : Received::ended;
    if (received == Received::timeout) fail("the host gave no answer: see " + place.log);
    if (received == Received::answer) {
      text.pop_back();
      if (parseAnswer(text, answer)) return answer;
      fail("the host's answer makes no sense: is it of another version? End it with SIGTERM");
    }
    // Ended without an answer: it was about to end when we came, or it died. Nothing was mounted
    // that still works, so the next host may be asked.
    if (starts >= kMaxStarts || nowMs() > deadline) failStart(place, logStart);
    usleep(kRetryMs * 1000);
  }
}

bool askRunning(const Place& place, const std::string& line, int timeoutMs) {
  int error = 0;
  std::string text;
  const Fd fd = connectTo(place.socket, error);
  return fd && sendAll(fd.get(), line) &&
         receiveLine(fd.get(), text, timeoutMs) == Received::answer;
}

}  // namespace launcher
