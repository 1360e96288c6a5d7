#include "peer.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <iterator>
#include <string>

#include "apart.h"
#include "bind.h"
#include "identity.h"

namespace stratafs {

namespace {

Napi::Value peerUid(const Napi::CallbackInfo& info) {
  struct ucred peer {};
  socklen_t size = sizeof peer;
  const int fd = info[0].ToNumber().Int32Value();
  const bool known = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0;
  return Napi::Number::New(info.Env(), known ? static_cast<double>(peer.uid) : -errno);
}

// The number of the peer that connected, or -errno.
pid_t peerPid(int socket) {
  struct ucred peer {};
  socklen_t size = sizeof peer;
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return -errno;
  return peer.pid > 0 ? peer.pid : -ESRCH;
}

// Somebody holds the other end.
bool isConnected(int socket) {
  struct pollfd wait = {socket, POLLRDHUP, 0};
  return poll(&wait, 1, 0) >= 0 && (wait.revents & (POLLRDHUP | POLLHUP | POLLERR)) == 0;
}

// A process descriptor of the peer that connected, or -errno.
int peerPidfd(int socket) {
  constexpr int kPeerPidfd = 77;  // SO_PEERPIDFD of <asm/socket.h>, Linux 6.5.
  int pidfd = -1;
  socklen_t size = sizeof pidfd;
  if (getsockopt(socket, SOL_SOCKET, kPeerPidfd, &pidfd, &size) == 0) return pidfd;
  if (errno != ENOPROTOOPT) return -errno;
  const pid_t pid = peerPid(socket);
  if (pid < 0) return pid;
  pidfd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  return pidfd < 0 ? -errno : pidfd;
}

// The number that the process has in the /proc we see (proc_pid_fdinfo); <= 0 when it has none.
pid_t numberOf(int pidfd) {
  char text[1024];
  const std::string path = "/proc/self/fdinfo/" + std::to_string(pidfd);
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  const ssize_t n = read(fd, text, sizeof text - 1);
  close(fd);
  text[n > 0 ? n : 0] = '\0';
  const char* const line = strstr(text, "Pid:");
  return line == nullptr ? -1 : static_cast<pid_t>(strtol(line + 4, nullptr, 10));
}

// What the peer may do (identity.h), a string; or -errno. Its number cannot become another
// process's while we read: it lives before and after.
Napi::Value peerIdentity(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const int socket = info[0].ToNumber().Int32Value();
  const int pidfd = peerPidfd(socket);
  // Before Linux 5.3 there is none. A peer that has not hung up lives, or has given its end away.
  if (pidfd < 0 && pidfd != -ENOSYS) return Napi::Number::New(env, pidfd);
  std::string text;
  int error = ESRCH;
  const pid_t pid = pidfd < 0 ? peerPid(socket) : numberOf(pidfd);
  if (pid > 0) {
    const std::string path = "/proc/" + std::to_string(pid);
    const int directory = open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (directory >= 0) {
      text = identityOf(directory);
      error = errno;
      close(directory);
    }
    const bool lives =
        pidfd < 0 ? isConnected(socket) : syscall(SYS_pidfd_send_signal, pidfd, 0, nullptr, 0) == 0;
    if (!lives) {
      error = pidfd < 0 ? ESRCH : errno;
      text.clear();
    }
  }
  if (pidfd >= 0) close(pidfd);
  if (text.empty()) return Napi::Number::New(env, -error);
  return Napi::String::New(env, text);
}

// One datagram to the unix socket at a path; "@" stands for the NUL of an abstract address.
Napi::Value sendDatagram(const Napi::CallbackInfo& info) {
  const std::string path = latin1(info.Env(), info[0]);
  const std::string text = latin1(info.Env(), info[1]);
  struct sockaddr_un to {};
  int error = 0;
  if (path.empty() || path.size() >= sizeof to.sun_path) {
    error = EINVAL;
  } else {
    to.sun_family = AF_UNIX;
    memcpy(to.sun_path, path.data(), path.size());
    if (path[0] == '@') to.sun_path[0] = '\0';
    const auto size = static_cast<socklen_t>(offsetof(struct sockaddr_un, sun_path) + path.size());
    const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    const auto* address = reinterpret_cast<const struct sockaddr*>(&to);
    if (fd < 0 || sendto(fd, text.data(), text.size(), MSG_NOSIGNAL, address, size) < 0) {
      error = errno;
    }
    if (fd >= 0) close(fd);
  }
  return Napi::Number::New(info.Env(), -error);
}

// A connection to the SOCK_SEQPACKET socket at a path, which Node's net knows nothing of.
Napi::Value connectPackets(const Napi::CallbackInfo& info) {
  const std::string path = latin1(info.Env(), info[0]);
  struct sockaddr_un to {};
  int fd = -EINVAL;
  if (!path.empty() && path.size() < sizeof to.sun_path) {
    to.sun_family = AF_UNIX;
    memcpy(to.sun_path, path.data(), path.size());
    fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0) {
      fd = -errno;
    } else if (connect(fd, reinterpret_cast<const struct sockaddr*>(&to), sizeof to) != 0) {
      const int error = errno;
      close(fd);
      fd = -error;
    }
  }
  return Napi::Number::New(info.Env(), fd);
}

Napi::Value shutdownSocket(const Napi::CallbackInfo& info) {
  const int fd = info[0].ToNumber().Int32Value();
  const int result = shutdown(fd, info[1].ToNumber().Int32Value());
  return Napi::Number::New(info.Env(), result == 0 ? 0 : -errno);
}

Napi::Value timeOfDay(const Napi::CallbackInfo& info) {
  struct timespec now {};
  clock_gettime(CLOCK_REALTIME, &now);
  constexpr int64_t kSecond = 1'000'000'000;
  return Napi::BigInt::New(info.Env(), int64_t{now.tv_sec} * kSecond + now.tv_nsec);
}

void exitNow(const Napi::CallbackInfo& info) {
  _exit(info[0].ToNumber().Int32Value());
}

}  // namespace

void defineHost(napi_env env, napi_value exports) {
  const napi_property_descriptor table[] = {
      wrapped<peerUid>("peerUid"),
      wrapped<peerIdentity>("peerIdentity"),
      wrapped<sendDatagram>("sendDatagram"),
      wrapped<timeOfDay>("timeOfDay"),
      wrapped<exitNow>("exitNow"),
      wrapped<connectPackets>("connectPackets"),
      wrapped<shutdownSocket>("shutdownSocket"),
  };
  napi_define_properties(env, exports, std::size(table), table);
}

}  // namespace stratafs
