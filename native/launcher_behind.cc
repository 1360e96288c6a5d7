// Serves a mount over an open /dev/fuse of the caller without -f, as mount.fuse3's drop_privileges
// asks for it. No host has the descriptor, so a process of its own serves the mount.
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launcher.h"

namespace launcher {
namespace {

// What the process reports at this descriptor: kLive, or the sentence that says why not
// (src/host/foreground.ts).
constexpr const char* kReport = "STRATAFS_REPORT_FD";
constexpr char kLive = '+';

[[noreturn]] void serve(std::vector<std::string> args, int report) {
  const int null = open("/dev/null", O_RDWR);
  for (int stream = 0; stream <= STDERR_FILENO; stream++)
    dup2(null, stream);
  if (null > STDERR_FILENO) close(null);
  fcntl(report, F_SETFD, 0);
  setenv(kReport, std::to_string(report).c_str(), 1);
  args.insert(args.begin(), "-f");
  const int error = execNode("dist/cli/main.js", args, environ);
  const std::string text = "cannot start node (" + errorText(error) + "): install Node 20";
  (void)!write(report, text.data(), text.size());
  _exit(127);
}

}  // namespace

int serveBehind(const std::vector<std::string>& args) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) fail("cannot make a pipe: " + errorText(errno));
  const Fd reading(ends[0]);
  Fd writing(ends[1]);
  const pid_t child = fork();
  if (child < 0) fail("cannot start the process that serves the mount: " + errorText(errno));
  if (child == 0) {
    setsid();
    // The second fork gives it to init, so that no caller has to reap it.
    if (fork() == 0) serve(args, writing.get());
    _exit(0);
  }
  writing.reset();
  while (waitpid(child, nullptr, 0) < 0 && errno == EINTR)
    continue;
  std::string text;
  char part[4096];
  for (;;) {
    const ssize_t n = read(reading.get(), part, sizeof part);
    if (n > 0) text.append(part, static_cast<size_t>(n));
    if (n == 0 || (n < 0 && errno != EINTR)) break;
  }
  if (!text.empty() && text[0] == kLive) return 0;
  fail(text.empty() ? "the process that serves the mount ended: start it with -f to see why"
                    : text);
}

}  // namespace launcher
