#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
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
constexpr int kUnitTries = 3;

int64_t nowMs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1'000'000;
}

sockaddr_un address(const std::string& path) {
  sockaddr_un where{};
  where.sun_family = AF_UNIX;
  memcpy(where.sun_path, path.c_str(), path.size() + 1);
  return where;
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

[[noreturn]] void failStart(const HostPlace& place, off_t logStart) {
  const std::string reason = lastWords(place.log, logStart);
  fail("the host ended before it answered" + (reason.empty() ? "" : " (" + reason + ")") +
       ": see stratafs logs");
}

// Sends `line` and waits for the answer. True with `answer`, false when the host ended without one.
bool exchange(const Fd& fd, const std::string& line, Answer& answer) {
  std::string text;
  const Received received =
      sendAll(fd.get(), line) ? receiveLine(fd.get(), text, kAnswerTimeoutMs) : Received::ended;
  if (received == Received::timeout) fail("the host gave no answer: see stratafs logs");
  if (received == Received::ended) return false;
  text.pop_back();
  if (!parseAnswer(text, answer)) {
    fail("the host's answer makes no sense: stratafs host status shows who it is");
  }
  return true;
}

// The host that systemd runs, where it may act for this process. Systemd starts it when we connect.
bool askUnit(const std::string& socket, const std::string& line, Answer& answer) {
  for (int tries = 0; tries < kUnitTries; tries++) {
    int error = 0;
    const Fd fd = connectTo(socket, error);
    if (!fd) return false;
    // It was about to end when we came, and systemd starts it again.
    if (exchange(fd, line, answer)) return answer.other.empty();
    usleep(kRetryMs * 1000);
  }
  return false;
}

Answer askOwn(const HostPlace& place, const std::string& line) {
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
      const Started host = startHost(place);
      if (host.started) {
        starts++;
        logStart = host.logStart;
      } else if (nowMs() > deadline) {
        fail("the host does not answer on " + place.socket + ": see stratafs logs");
      } else {
        usleep(kRetryMs * 1000);
      }
      continue;
    }
    Answer answer;
    if (exchange(fd, line, answer)) {
      if (answer.other.empty()) return answer;
      fail("the host at " + place.socket + " does not serve this process: " + answer.other);
    }
    // Ended without an answer: it was about to end when we came, or it died. Nothing was mounted
    // that still works, so the next host may be asked.
    if (starts >= kMaxStarts || nowMs() > deadline) failStart(place, logStart);
    usleep(kRetryMs * 1000);
  }
}

}  // namespace

Fd connectTo(const std::string& path, int& error) {
  Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) fail("cannot make a socket: " + errorText(errno));
  const sockaddr_un where = address(path);
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&where), sizeof where) == 0) return fd;
  error = errno;
  return Fd();
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

Answer ask(const Place& place, const std::string& line) {
  // First, as a host is found by what this process is after it.
  const HostPlace host = findHost(place);
  const std::string request = line + ",\"build\":" + quoteBytes(host.build) + "}\n";
  Answer answer;
  if (!place.unit.empty() && askUnit(place.unit, request, answer)) return answer;
  return askOwn(host, request);
}

// How long the other hosts are waited for once one has said enough.
constexpr int64_t kOthersMs = 200;

void askAll(const Place& place, const std::string& line, const std::string& enough, int timeoutMs) {
  int64_t deadline = nowMs() + timeoutMs;
  std::vector<Fd> asked;
  for (const std::string& socket : socketsOf(place)) {
    int error = 0;
    Fd fd = connectTo(socket, error);
    if (fd && sendAll(fd.get(), line)) asked.push_back(std::move(fd));
  }
  std::vector<std::string> answers(asked.size());
  std::vector<pollfd> waits;
  for (const Fd& fd : asked)
    waits.push_back({fd.get(), POLLIN, 0});
  for (size_t left = asked.size(); left > 0;) {
    const int64_t ms = deadline - nowMs();
    if (ms <= 0 || (poll(waits.data(), waits.size(), static_cast<int>(ms)) < 0 && errno != EINTR))
      return;
    for (size_t i = 0; i < waits.size(); i++) {
      if (waits[i].fd < 0 || waits[i].revents == 0) continue;
      std::array<char, 4096> part;
      const ssize_t n = recv(waits[i].fd, part.data(), part.size(), MSG_DONTWAIT);
      if (n > 0) answers[i].append(part.data(), static_cast<size_t>(n));
      if (n > 0 && answers[i].back() != '\n') continue;
      // Of another mount that had the number, perhaps: whoever has this one answers soon, too.
      if (answers[i].starts_with(enough)) deadline = std::min(deadline, nowMs() + kOthersMs);
      waits[i].fd = -1;
      left--;
    }
  }
}

}  // namespace launcher
