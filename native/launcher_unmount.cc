#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

#include "holders.h"
#include "launcher.h"

namespace launcher {
namespace {

struct Mounted {
  std::string device;  // "major:minor"
  std::string type;
};

// /proc/self/mountinfo writes space, tab, newline and backslash as three octal digits.
std::string unescape(const std::string& field) {
  std::string out;
  for (size_t i = 0; i < field.size(); i++) {
    if (field[i] == '\\' && i + 3 < field.size()) {
      out += static_cast<char>(strtol(field.substr(i + 1, 3).c_str(), nullptr, 8));
      i += 3;
    } else {
      out += field[i];
    }
  }
  return out;
}

std::string readAll(const char* path) {
  const Fd fd(open(path, O_RDONLY | O_CLOEXEC));
  if (!fd) fail(std::string("cannot read ") + path + ": " + errorText(errno));
  std::string text;
  char part[16384];
  for (ssize_t n; (n = read(fd.get(), part, sizeof part)) > 0;) {
    text.append(part, static_cast<size_t>(n));
  }
  return text;
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  for (size_t from = 0; from <= text.size();) {
    const size_t end = std::min(text.find(separator, from), text.size());
    parts.push_back(text.substr(from, end - from));
    from = end + 1;
  }
  return parts;
}

// The topmost mount on `path`; false when nothing is mounted there (man 5 proc, mountinfo).
bool findMount(const std::string& path, Mounted& found) {
  bool any = false;
  for (const std::string& line : split(readAll("/proc/self/mountinfo"), '\n')) {
    const std::vector<std::string> fields = split(line, ' ');
    if (fields.size() < 10 || unescape(fields[4]) != path) continue;
    const auto dash = std::find(fields.begin() + 6, fields.end(), "-");
    found = {fields[2], dash + 1 < fields.end() ? *(dash + 1) : ""};
    any = true;
  }
  return any;
}

// Runs fusermount3, then fusermount: the way to unmount without privilege. True when one succeeded.
bool fusermount(const std::string& path, bool lazy) {
  for (const char* program : {"fusermount3", "fusermount"}) {
    const pid_t child = fork();
    if (child < 0) fail("cannot start " + std::string(program) + ": " + errorText(errno));
    if (child == 0) {
      if (lazy) {
        execlp(program, program, "-u", "-z", "--", path.c_str(), nullptr);
      } else {
        execlp(program, program, "-u", "--", path.c_str(), nullptr);
      }
      _exit(127);
    }
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
      continue;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return true;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 127) return false;
  }
  return false;
}

std::string canonical(const std::string& path) {
  char* resolved = realpath(path.c_str(), nullptr);
  if (resolved == nullptr) {
    const int error = errno;
    char here[PATH_MAX];
    if (path[0] != '/' && getcwd(here, sizeof here) == nullptr) {
      fail(path + " is relative, and the current directory cannot be read: give an absolute path");
    }
    fail("cannot unmount " + path + ": " + errorText(error) + "; name a mounted directory");
  }
  std::string result = resolved;
  free(resolved);
  return result;
}

// " (used by PID NAME, ...)", as far as that can be seen.
std::string users(const std::string& device) {
  const size_t colon = device.find(':');
  if (colon == std::string::npos) return "";
  constexpr size_t kMost = 5;
  std::string list;
  size_t count = 0;
  const std::string found = stratafs::holdersOf(
      static_cast<unsigned>(strtoul(device.c_str(), nullptr, 10)),
      static_cast<unsigned>(strtoul(device.c_str() + colon + 1, nullptr, 10)), kMost + 1);
  for (const std::string& line : split(found, '\n')) {
    const std::vector<std::string> words = split(line, ' ');
    if (words.size() < 3) continue;
    if (++count > kMost) {
      list += ", ...";
      break;
    }
    list += (list.empty() ? "" : ", ") + words[0] + " " +
            line.substr(line.find(' ', words[0].size() + 1) + 1);
    if (words[1] != "fd") list += " as its " + words[1];
  }
  return list.empty() ? "" : " (used by " + list + ")";
}

}  // namespace

bool isMountPoint(const std::string& path) {
  Mounted found;
  return findMount(path, found);
}

int unmount(const std::vector<std::string>& args) {
  bool lazy = false;
  std::vector<std::string> paths;
  for (const std::string& arg : args) {
    if (arg == "-l" || arg == "--lazy") {
      lazy = true;
    } else {
      paths.push_back(arg);
    }
  }
  if (paths.size() != 1 || paths[0].empty() || (paths[0][0] == '-' && paths[0].size() > 1)) {
    fail("unmount takes one mount point: stratafs unmount [--lazy] MNT", 2);
  }
  const std::string path = canonical(paths[0]);
  Mounted mounted;
  if (!findMount(path, mounted)) fail(path + " is not a mount point; see stratafs mounts");
  if (mounted.type != "fuse.stratafs") {
    fail(path + " holds a " + mounted.type + " mount, not one of stratafs; use umount");
  }
  if (umount2(path.c_str(), lazy ? MNT_DETACH : 0) != 0) {
    const int error = errno;
    if (error == EBUSY) {
      fail(path + " is busy" + users(mounted.device) +
           ": end what uses it, or detach it with stratafs unmount --lazy");
    }
    if (error != EPERM) fail("cannot unmount " + path + ": " + errorText(error));
    if (!fusermount(path, lazy)) fail(path + " was not unmounted: fusermount3 said why, above");
  }
  // The kernel lets go before the host does: wait, so that the caller may reuse upper and workdir.
  if (lazy) return 0;
  askAll(findPlace(), "{\"ended\":" + quoteBytes(mounted.device) + "}\n", "{\"ended\":true}", 5000);
  return 0;
}

}  // namespace launcher
