// The launcher: the `stratafs` executable on PATH. It has no policy of its own: it hands a mount to
// the resident host (starting the host when there is none), unmounts by itself because engines do
// both for every container, and leaves everything else to the Node command line.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace launcher {

// A descriptor that closes itself.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept;
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() { reset(); }
  void reset();
  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

// What the host says about a request: the exit code and the text for the caller.
struct Answer {
  int code = 1;
  std::string out;
  std::string err;
};

// Prints `stratafs: SENTENCE` on stderr and ends with 1.
[[noreturn]] void fail(const std::string& sentence);
// strerror of `error`.
std::string errorText(int error);

// --- launcher_json.cc ---

// `bytes` as an ASCII JSON string in which every character stands for one byte.
std::string quoteBytes(std::string_view bytes);
// Reads {"code":N,"stdout":"..","stderr":".."}; false when `text` is not that.
bool parseAnswer(std::string_view text, Answer& answer);

// --- launcher_host.cc ---

// Where the host of this user, user namespace, mount namespace and root directory listens.
// src/wire/sockets.ts computes the same names; a test compares them.
struct Place {
  std::string socket;
  std::string lock;
  std::string log;
};
// Creates the runtime directory when it is missing; does not return when there is nowhere to put
// it.
Place findPlace();
// Sends one request line and waits for the answer; starts the host when there is none.
Answer ask(const Place& place, const std::string& line);
// The same, but only of a host that runs, and for at most `timeoutMs`; false when none answered.
bool askRunning(const Place& place, const std::string& line, int timeoutMs);

// --- launcher_unmount.cc ---

// `stratafs unmount [-l] MNT`, with `args` what follows the word; returns the exit code.
int unmount(const std::vector<std::string>& args);

// --- launcher.cc ---

// The directory that holds build/ and dist/.
std::string installRoot();
// Replaces this process by `node SCRIPT ARGS...` (SCRIPT beneath installRoot()); returns errno.
int execNode(const std::string& script, const std::vector<std::string>& args, char* const env[]);

}  // namespace launcher
