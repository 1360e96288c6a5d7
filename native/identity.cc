#include "identity.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <string_view>
#include <vector>

namespace stratafs {

namespace {

// A small file of /proc, whole; false, with errno set, when it cannot be read.
bool readAt(int dir, const char* name, std::string& text) {
  const int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  char part[4096];
  ssize_t n;
  while ((n = read(fd, part, sizeof part)) > 0)
    text.append(part, static_cast<size_t>(n));
  const int error = errno;
  close(fd);
  errno = error;
  return n == 0;
}

// The value of `Name:` in a status file, with blanks made single.
std::string field(std::string_view status, std::string_view name) {
  const std::string start = "\n" + std::string(name) + ":";
  const size_t at = status.find(start);
  if (at == std::string_view::npos) return {};
  const size_t begin = at + start.size();
  const std::string_view line =
      status.substr(begin, std::min(status.find('\n', begin), status.size()) - begin);
  std::string value;
  for (const char c : line) {
    const bool blank = c == ' ' || c == '\t';
    if (!blank)
      value += c;
    else if (!value.empty() && value.back() != ' ')
      value += ' ';
  }
  if (!value.empty() && value.back() == ' ') value.pop_back();
  return value;
}

std::vector<std::string> words(const std::string& text) {
  std::vector<std::string> parts;
  for (size_t from = 0; from < text.size();) {
    const size_t end = std::min(text.find(' ', from), text.size());
    if (end > from) parts.push_back(text.substr(from, end - from));
    from = end + 1;
  }
  return parts;
}

// All groups a process is in. The effective one is listed by some programs that set them, and not
// by others.
std::string groups(std::string_view status) {
  std::vector<std::string> all = words(field(status, "Groups"));
  const std::vector<std::string> own = words(field(status, "Gid"));
  if (own.size() > 1) all.push_back(own[1]);
  std::ranges::sort(all);
  all.erase(std::ranges::unique(all).begin(), all.end());
  std::string line;
  for (const std::string& group : all)
    line += " " + group;
  return line;
}

// Device and inode number of what the link leads to; 0-0 where it cannot be followed.
std::string numbers(int dir, const char* name) {
  struct stat info {};
  if (fstatat(dir, name, &info, 0) != 0) return "0-0";
  return std::to_string(info.st_dev) + "-" + std::to_string(info.st_ino);
}

}  // namespace

std::string identityOf(int procDir) {
  std::string status;
  if (!readAt(procDir, "status", status)) return {};
  std::string text = "uid " + field(status, "Uid") + "\ngid " + field(status, "Gid") + "\ngroups" +
                     groups(status) + "\ncapabilities " + field(status, "CapPrm") + " " +
                     field(status, "CapEff") + " " + field(status, "CapBnd") + "\nno_new_privs " +
                     field(status, "NoNewPrivs") + "\nseccomp " + field(status, "Seccomp") + " " +
                     field(status, "Seccomp_filters") + "\n";
  for (const char* name : {"user", "mnt", "pid", "net"})
    text += std::string(name) + " " + numbers(procDir, ("ns/" + std::string(name)).c_str()) + "\n";
  text += "root " + numbers(procDir, "root") + "\n";
  // EINVAL: no security module has labels.
  std::string label;
  if (readAt(procDir, "attr/current", label)) {
    while (!label.empty() && (label.back() == '\0' || label.back() == '\n'))
      label.pop_back();
    text += "label " + label + "\n";
  }
  return text;
}

std::string ownIdentity() {
  const int self = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (self < 0) return {};
  std::string text = identityOf(self);
  const int error = errno;
  close(self);
  errno = error;
  return text;
}

std::string shortHash(const std::string& text) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : text) {
    hash ^= static_cast<unsigned char>(c);
    hash *= 0x100000001b3;
  }
  char digits[17];
  snprintf(digits, sizeof digits, "%016" PRIx64, hash);
  return digits;
}

}  // namespace stratafs
