// mount(2), umount2(2), and the setuid helper fusermount3 for callers without privilege.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "fusermount.h"
#include "sys.h"

namespace stratafs::sys {

namespace {

constexpr size_t kMessageSize = 4096;
constexpr int kTimeoutMs = 30'000;  // A helper that hangs (a dead NFS mountpoint) is given up.

class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() { reset(); }
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }
  void reset(int fd = -1) {
    if (fd_ >= 0) ::close(fd_);
    fd_ = fd;
  }

 private:
  int fd_ = -1;
};

int64_t nowMs() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return int64_t{time.tv_sec} * 1000 + time.tv_nsec / 1'000'000;
}

// One run of the helper: its socket, its stderr, its pid. posix_spawn, because this process has
// other threads; the child keeps descriptors 0 to 2 and, as number 3, its end of the socket.
class Helper {
 public:
  explicit Helper(std::string& message) : message_(message) { message_.clear(); }
  Helper(const Helper&) = delete;
  Helper& operator=(const Helper&) = delete;
  ~Helper() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      wait();
    }
  }

  // 0 or -errno. Tries fusermount3, then fusermount.
  int32_t start(const std::vector<const char*>& arguments) {
    int sockets[2];
    int pipes[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) < 0) return -errno;
    Fd theirSocket(sockets[1]);
    socket_.reset(sockets[0]);
    if (::pipe2(pipes, O_CLOEXEC) < 0) return -errno;
    Fd theirStderr(pipes[1]);
    stderr_.reset(pipes[0]);
    int error = spawn("fusermount3", arguments, theirSocket.get(), theirStderr.get());
    if (error == ENOENT)
      error = spawn("fusermount", arguments, theirSocket.get(), theirStderr.get());
    return -error;
  }

  // Reads the socket and stderr until both end. The descriptor that came, or -1.
  int32_t listen(Fd& received) {
    const int64_t deadline = nowMs() + kTimeoutMs;
    std::array<pollfd, 2> watched = {pollfd{socket_.get(), POLLIN, 0},
                                     pollfd{stderr_.get(), POLLIN, 0}};
    while (watched[0].fd >= 0 || watched[1].fd >= 0) {
      const int64_t left = deadline - nowMs();
      if (left <= 0) return -ETIMEDOUT;
      if (::poll(watched.data(), watched.size(), static_cast<int>(left)) < 0 && errno != EINTR) {
        return -errno;
      }
      if (watched[0].revents != 0 && !receive(received)) watched[0].fd = -1;
      if (watched[1].revents != 0 && !hear()) watched[1].fd = -1;
      watched[0].revents = watched[1].revents = 0;
    }
    return 0;
  }

  // Waits for the end. True when the helper exited with 0.
  bool wait() {
    int status = 0;
    pid_t done;
    do {
      done = ::waitpid(pid_, &status, 0);
    } while (done < 0 && errno == EINTR);
    pid_ = -1;
    return done > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
  }

 private:
  // 0 or an errno.
  int spawn(const char* program, const std::vector<const char*>& arguments, int socket, int err) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDWR, 0);
    posix_spawn_file_actions_adddup2(&actions, err, 2);
    posix_spawn_file_actions_adddup2(&actions, 2, 1);
    posix_spawn_file_actions_adddup2(&actions, socket, 3);
    posix_spawn_file_actions_addclosefrom_np(&actions, 4);
    // Node ignores SIGPIPE and may block signals in its threads; the helper starts clean.
    sigset_t all;
    sigset_t none;
    sigfillset(&all);
    sigemptyset(&none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    std::vector<char*> argv = {const_cast<char*>(program)};
    for (const char* argument : arguments)
      argv.push_back(const_cast<char*>(argument));
    argv.push_back(nullptr);
    // An environment of its own: reading ours could race with another thread that changes it.
    char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    char comm[] = "_FUSE_COMMFD=3";
    char locale[] = "LC_ALL=C";
    char* environment[] = {path, comm, locale, nullptr};
    const int error =
        ::posix_spawnp(&pid_, program, &actions, &attributes, argv.data(), environment);
    if (error != 0) pid_ = -1;
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return error;
  }

  // False at the end of the socket.
  bool receive(Fd& received) {
    char byte;
    iovec vector = {&byte, 1};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
    msghdr header = {};
    header.msg_iov = &vector;
    header.msg_iovlen = 1;
    header.msg_control = control;
    header.msg_controllen = sizeof control;
    const ssize_t got = ::recvmsg(socket_.get(), &header, MSG_CMSG_CLOEXEC);
    if (got < 0) return errno == EINTR;
    const cmsghdr* const first = CMSG_FIRSTHDR(&header);
    if (first != nullptr && first->cmsg_level == SOL_SOCKET && first->cmsg_type == SCM_RIGHTS) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(first), sizeof fd);
      received.reset(fd);
    }
    return got > 0;
  }

  // False at the end of stderr. Keeps the first 4095 bytes and drops the rest.
  bool hear() {
    char buffer[512];
    const ssize_t got = ::read(stderr_.get(), buffer, sizeof buffer);
    if (got < 0) return errno == EINTR;
    message_.append(buffer, std::min<size_t>(got, kMessageSize - 1 - message_.size()));
    return got > 0;
  }

  std::string& message_;
  Fd socket_;
  Fd stderr_;
  pid_t pid_ = -1;
};

}  // namespace

int32_t mount(Thread&, const Name& source, const Name& target, const Name& type, int64_t flags,
              const std::string& data) {
  return result(::mount(source.c_str(), target.c_str(), type.c_str(),
                        static_cast<unsigned long>(flags), data.c_str()));
}

int32_t umount2(Thread&, const Name& target, int32_t flags) {
  return result(::umount2(target.c_str(), flags));
}

int32_t runFusermount(const std::string& target, const std::string& options, std::string& message) {
  Helper helper(message);
  std::vector<const char*> arguments;
  if (!options.empty()) arguments = {"-o", options.c_str()};
  arguments.insert(arguments.end(), {"--", target.c_str()});
  int32_t error = helper.start(arguments);
  if (error < 0) return error;
  Fd device;
  error = helper.listen(device);
  if (error < 0) return error;
  const bool good = helper.wait();
  // The message says why; the helper has no errno to give.
  if (!good || device.get() < 0) return -EPERM;
  return device.release();
}

int32_t runFusermountOff(const std::string& target, bool lazy, std::string& message) {
  Helper helper(message);
  std::vector<const char*> arguments = {"-u"};
  if (lazy) arguments.push_back("-z");
  arguments.insert(arguments.end(), {"--", target.c_str()});
  int32_t error = helper.start(arguments);
  if (error < 0) return error;
  Fd none;
  error = helper.listen(none);
  if (error < 0) return error;
  return helper.wait() ? 0 : -EPERM;
}

}  // namespace stratafs::sys
