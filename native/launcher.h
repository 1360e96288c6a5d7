// The launcher: the `stratafs` executable on PATH. It has no policy of its own:
// - it hands a mount to the resident host, and starts the host when there is none;
// - it unmounts by itself, because engines mount and unmount for every container;
// - it leaves everything else to the Node command line.
#pragma once

#include <sys/types.h>

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

// A small file's text; empty when it cannot be read.
std::string readFile(const std::string& path);
// Replaces the text of a file that exists; false when that fails.
bool writeFile(const std::string& path, const std::string& text);

// What the host says about a request: the exit code and the text for the caller.
struct Answer {
  int code = 1;
  std::string out;
  std::string err;
  // Why that host does not serve this process, which has to ask another; else empty.
  std::string other;
};

// Prints `stratafs: SENTENCE` on stderr and ends with `code`: 2 for a wrong command line.
[[noreturn]] void fail(const std::string& sentence, int code = 1);
// strerror of `error`.
std::string errorText(int error);

// --- launcher_json.cc ---

// `bytes` as an ASCII JSON string in which every character stands for one byte.
std::string quoteBytes(std::string_view bytes);
// Reads {"code":N,"stdout":"..","stderr":".."}; false when `text` is not that.
bool parseAnswer(std::string_view text, Answer& answer);

// --- launcher_place.cc ---

// Where hosts of this user, user namespace and mount namespace listen: DIRECTORY/PREFIX-*.sock.
// src/wire/sockets.ts computes the same; a test compares them.
struct Place {
  std::string directory;
  std::string prefix;
  // The socket of a host that systemd runs; empty where there is none.
  std::string unit;
};
// Creates the runtime directory when it is missing; does not return when there is nowhere to put
// it.
Place findPlace();
// The sockets of all hosts there, and of processes that serve a mount of their own.
std::vector<std::string> socketsOf(const Place& place);

// The host for this process: what it may do, what it would hand on, and its build.
struct HostPlace {
  std::string socket;
  std::string lock;
  std::string log;
  // What a host that acts for this process must have been started with (identity.h).
  std::string identity;
  std::string build;
};
// Puts back what a host would inherit of this process first (resetInherited).
HostPlace findHost(const Place& place);
// The id of this install's build (packaging/buildId.js).
std::string buildId();

// --- launcher_self.cc ---

// Priority, processors, limits and the like, as a fresh process has them, as far as this one may.
void resetInherited();
// What of that could not be put back, as text.
std::string leftovers();
// Puts this process into cgroups of its own, where it may.
void leaveCgroups();

// --- launcher_start.cc ---

// Where the messages of a host that was just started begin in its log.
struct Started {
  bool started = false;  // False: another process holds the host's lock.
  off_t logStart = 0;
};
Started startHost(const HostPlace& place);
// Becomes the host that serves the socket at descriptor 3, as systemd runs it.
[[noreturn]] void serveUnit();
// The reason why a host ended, from its log.
std::string lastWords(const std::string& log, off_t from);

// --- launcher_behind.cc ---

// Runs `node main.js -f ARGS...` in a session of its own; returns the exit code when it serves its
// mount.
int serveBehind(const std::vector<std::string>& args);

// --- launcher_host.cc ---

// Sends one request line and waits for the answer: to the host that systemd runs, where it may
// serve this process, else to the host of its own, which is started when there is none.
Answer ask(const Place& place, const std::string& line);
// Sends a line to every host of `place` that runs, and waits at most `timeoutMs` for their answers;
// after one that begins with `enough` only for a moment more: some host may be stopped.
void askAll(const Place& place, const std::string& line, const std::string& enough, int timeoutMs);
// A connection, or none with `error` set.
Fd connectTo(const std::string& path, int& error);
// A listening socket at `path`; what was there is replaced.
Fd listenAt(const std::string& path);

// --- launcher_userns.cc ---

// Makes an ordinary user root in a user namespace of the user's own, the same for all the store's
// commands, and says so in STRATAFS_ROOTLESS (UID:GID outside). Does nothing for root.
void enterUserNamespace();

// --- launcher_unmount.cc ---

// True when something is mounted on `path`, which is absolute; asks nothing of what is mounted.
bool isMountPoint(const std::string& path);
// `stratafs unmount [-l] MNT`, with `args` what follows the word; returns the exit code.
int unmount(const std::vector<std::string>& args);

// --- launcher.cc ---

// The directory that holds build/ and dist/.
std::string installRoot();
// Replaces this process by `node SCRIPT ARGS...` (SCRIPT beneath installRoot()); returns errno.
int execNode(const std::string& script, const std::vector<std::string>& args, char* const env[]);

}  // namespace launcher
