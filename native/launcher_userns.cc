// The user namespace of an ordinary user, in which the store's commands are root: they may chown,
// make device nodes of whiteouts and mount. All commands of a user share one user namespace and
// one mount namespace, so that the next command sees what this one mounts. A small process that
// only sleeps keeps them; its PID and start time are in DIRECTORY/userns.pid.
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>

#include "launcher.h"

namespace launcher {
namespace {

constexpr const char* kVariable = "STRATAFS_ROOTLESS";

// When a living process began, in clock ticks: with the PID it names one process (field 22 of
// /proc/PID/stat, counted from behind the program's name, which may hold anything). Empty: it is
// dead.
std::string startOf(pid_t pid) {
  const std::string stat = readFile("/proc/" + std::to_string(pid) + "/stat");
  size_t at = stat.rfind(')');
  if (at == std::string::npos || at + 2 >= stat.size()) return "";
  // A zombie has no namespaces any more.
  if (stat[at + 2] == 'Z' || stat[at + 2] == 'X') return "";
  for (int field = 2; field < 22 && at != std::string::npos; field++)
    at = stat.find(' ', at + 1);
  if (at == std::string::npos) return "";
  return stat.substr(at + 1, stat.find(' ', at + 1) - at - 1);
}

// The keeper that the file names, when it still lives; else 0.
pid_t keeperIn(const std::string& file) {
  long pid = 0;
  char start[32] = "";
  if (sscanf(readFile(file).c_str(), "%ld %31s", &pid, start) != 2 || pid <= 0) return 0;
  return *start != '\0' && startOf(static_cast<pid_t>(pid)) == start ? static_cast<pid_t>(pid) : 0;
}

// The lines of /etc/subuid and /etc/subgid are OWNER:FIRST:COUNT (subuid(5)).
struct Range {
  uint64_t first;
  uint64_t count;
};

// The user's name, from the file alone: a static program loads no name services.
std::string userName() {
  const std::string passwd = readFile("/etc/passwd");
  const std::string wanted = ":" + std::to_string(getuid()) + ":";
  for (size_t from = 0; from < passwd.size();) {
    const size_t end = std::min(passwd.find('\n', from), passwd.size());
    const std::string line = passwd.substr(from, end - from);
    from = end + 1;
    const size_t name = line.find(':');
    if (name == std::string::npos) continue;
    const size_t password = line.find(':', name + 1);
    if (password != std::string::npos && line.compare(password, wanted.size(), wanted) == 0)
      return line.substr(0, name);
  }
  const char* user = getenv("USER");
  return user == nullptr ? "" : user;
}

std::vector<Range> rangesIn(const char* file) {
  const std::string text = readFile(file);
  const std::string name = userName();
  const std::string number = std::to_string(getuid());
  std::vector<Range> found;
  for (size_t from = 0; from < text.size();) {
    const size_t end = std::min(text.find('\n', from), text.size());
    const std::string line = text.substr(from, end - from);
    from = end + 1;
    const size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    const std::string owner = line.substr(0, colon);
    if (owner != number && (name.empty() || owner != name)) continue;
    Range range{};
    if (sscanf(line.c_str() + colon, ":%" SCNu64 ":%" SCNu64, &range.first, &range.count) == 2 &&
        range.count > 0)
      found.push_back(range);
  }
  return found;
}

// Runs newuidmap(1) or newgidmap(1): root inside is the user, 1 and up are the user's ranges.
bool runMapper(const char* program, pid_t pid, uint64_t own, const std::vector<Range>& ranges) {
  std::vector<std::string> words = {program, std::to_string(pid), "0", std::to_string(own), "1"};
  uint64_t inside = 1;
  for (const Range& range : ranges) {
    for (const uint64_t number : {inside, range.first, range.count})
      words.push_back(std::to_string(number));
    inside += range.count;
  }
  std::vector<char*> argv;
  for (const std::string& word : words)
    argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  const pid_t child = fork();
  if (child < 0) return false;
  if (child == 0) {
    execvp(program, argv.data());
    _exit(127);
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

// With ranges in /etc/subuid and /etc/subgid a namespace has many IDs; without, the user's own.
void writeMaps(pid_t pid) {
  const std::vector<Range> users = rangesIn("/etc/subuid");
  const std::vector<Range> groups = rangesIn("/etc/subgid");
  if (!users.empty() && !groups.empty()) {
    if (runMapper("newuidmap", pid, getuid(), users) &&
        runMapper("newgidmap", pid, getgid(), groups))
      return;
    kill(pid, SIGKILL);
    fail("newuidmap or newgidmap failed: install uidmap, and check /etc/subuid and /etc/subgid");
  }
  const std::string directory = "/proc/" + std::to_string(pid);
  const std::string uids = "0 " + std::to_string(getuid()) + " 1\n";
  const std::string gids = "0 " + std::to_string(getgid()) + " 1\n";
  if (writeFile(directory + "/setgroups", "deny") && writeFile(directory + "/uid_map", uids) &&
      writeFile(directory + "/gid_map", gids))
    return;
  const std::string reason = errorText(errno);
  kill(pid, SIGKILL);
  fail("cannot map user IDs (" + reason + ")");
}

// The keeper: makes the namespaces, says so, waits for the maps, and then for its end.
[[noreturn]] void keep(int answer, int order) {
  if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) {
    const int error = errno;
    (void)!write(answer, &error, sizeof error);
    _exit(1);
  }
  const int ready = 0;
  (void)!write(answer, &ready, sizeof ready);
  char go = 0;
  if (read(order, &go, 1) != 1) _exit(1);
  // What is mounted outside later appears inside; nothing from inside goes out.
  const int error = mount("none", "/", nullptr, MS_REC | MS_SLAVE, nullptr) == 0 ? 0 : errno;
  setsid();
  prctl(PR_SET_NAME, "stratafs-userns");
  (void)!chdir("/");
  const int null = open("/dev/null", O_RDWR);
  for (int fd = 0; fd < 3 && null >= 0; fd++)
    dup2(null, fd);
  (void)!write(answer, &error, sizeof error);
  syscall(SYS_close_range, 3, ~0U, 0);
  for (;;)
    pause();
}

int answerOf(int fd) {
  int code = EIO;
  return read(fd, &code, sizeof code) == static_cast<ssize_t>(sizeof code) ? code : EIO;
}

pid_t startKeeper(const std::string& file, int lock) {
  int answers[2], orders[2];
  if (pipe2(answers, O_CLOEXEC) != 0 || pipe2(orders, O_CLOEXEC) != 0)
    fail("cannot make a pipe: " + errorText(errno));
  const pid_t pid = fork();
  if (pid < 0) fail("cannot start a process: " + errorText(errno));
  if (pid == 0) {
    close(lock);  // flock(2) belongs to all copies of the descriptor.
    close(answers[0]);
    close(orders[1]);
    keep(answers[1], orders[0]);
  }
  const Fd answer(answers[0]), order(orders[1]);
  close(answers[1]);
  close(orders[0]);
  const int refused = answerOf(answer.get());
  if (refused != 0) {
    fail("cannot make a user namespace (" + errorText(refused) +
         "): run it as root, or allow user namespaces (sysctl user.max_user_namespaces)");
  }
  writeMaps(pid);
  (void)!write(order.get(), "g", 1);
  const int failed = answerOf(answer.get());
  if (failed != 0) fail("cannot set up the mount namespace: " + errorText(failed));
  const std::string text = std::to_string(pid) + " " + startOf(pid) + "\n";
  const std::string temporary = file + ".new";
  const Fd out(open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!out || write(out.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) ||
      rename(temporary.c_str(), file.c_str()) != 0)
    fail("cannot write " + file + ": " + errorText(errno));
  return pid;
}

void join(pid_t pid) {
  std::array<char, PATH_MAX> directory;
  if (getcwd(directory.data(), directory.size()) == nullptr) strcpy(directory.data(), "/");
  const std::string process = "/proc/" + std::to_string(pid);
  const Fd user(open((process + "/ns/user").c_str(), O_RDONLY | O_CLOEXEC));
  const Fd mounts(open((process + "/ns/mnt").c_str(), O_RDONLY | O_CLOEXEC));
  if (!user || !mounts || setns(user.get(), CLONE_NEWUSER) != 0 ||
      setns(mounts.get(), CLONE_NEWNS) != 0)
    fail("cannot enter your user namespace (process " + std::to_string(pid) +
         "): " + errorText(errno));
  // Entering a mount namespace leads to its root directory.
  if (chdir(directory.data()) != 0)
    fail(std::string("cannot enter ") + directory.data() + ": " + errorText(errno));
}

}  // namespace

void enterUserNamespace() {
  if (geteuid() == 0) return;
  const std::string user = std::to_string(getuid()) + ":" + std::to_string(getgid());
  const std::string directory = findPlace().directory;
  const std::string file = directory + "/userns.pid";
  pid_t pid = keeperIn(file);
  if (pid == 0) {
    const std::string path = directory + "/userns.lock";
    const Fd lock(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (!lock || flock(lock.get(), LOCK_EX) != 0)
      fail("cannot lock " + path + ": " + errorText(errno));
    pid = keeperIn(file);  // Another command was faster.
    if (pid == 0) pid = startKeeper(file, lock.get());
  }
  join(pid);
  setenv(kVariable, user.c_str(), 1);
}

}  // namespace launcher
