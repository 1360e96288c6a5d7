#include "holders.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <set>
#include <string_view>

namespace stratafs {

namespace {

// Of a process: more tell nothing new.
constexpr int kMostFiles = 4096;

struct Wanted {
  unsigned major;
  unsigned minor;
};

bool isOn(const std::string& path, const Wanted& wanted) {
  struct statx info {};
  const int flags = AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT;
  return ::statx(AT_FDCWD, path.c_str(), flags, 0, &info) == 0 &&
         info.stx_dev_major == wanted.major && info.stx_dev_minor == wanted.minor;
}

std::string readSmall(const std::string& path, size_t most) {
  std::string text;
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return text;
  char part[16384];
  for (ssize_t n; text.size() < most && (n = ::read(fd, part, sizeof part)) > 0;)
    text.append(part, static_cast<size_t>(n));
  ::close(fd);
  return text;
}

bool hasFile(const std::string& process, const Wanted& wanted) {
  DIR* const files = ::opendir((process + "/fd").c_str());
  if (files == nullptr) return false;
  bool found = false;
  int seen = 0;
  while (const dirent* entry = ::readdir(files)) {
    if (entry->d_name[0] == '.' || ++seen > kMostFiles) continue;
    found = isOn(process + "/fd/" + entry->d_name, wanted);
    if (found) break;
  }
  ::closedir(files);
  return found;
}

bool hasMap(const std::string& process, const Wanted& wanted) {
  char device[32];
  snprintf(device, sizeof device, " %02x:%02x ", wanted.major, wanted.minor);
  return readSmall(process + "/maps", 1 << 20).find(device) != std::string::npos;
}

bool hasMount(const std::string& process, const Wanted& wanted, std::set<ino_t>& seen) {
  struct stat own {};
  struct stat other {};
  if (::stat("/proc/self/ns/mnt", &own) != 0 ||
      ::stat((process + "/ns/mnt").c_str(), &other) != 0) {
    return false;
  }
  if (other.st_ino == own.st_ino || !seen.insert(other.st_ino).second) return false;
  const std::string device =
      " " + std::to_string(wanted.major) + ":" + std::to_string(wanted.minor) + " ";
  return readSmall(process + "/mountinfo", 8 << 20).find(device) != std::string::npos;
}

const char* howOf(const std::string& process, const Wanted& wanted, std::set<ino_t>& seen) {
  for (const char* link : {"cwd", "root", "exe"}) {
    if (isOn(process + "/" + link, wanted)) return link;
  }
  if (hasFile(process, wanted)) return "fd";
  if (hasMap(process, wanted)) return "map";
  return hasMount(process, wanted, seen) ? "mount" : nullptr;
}

}  // namespace

std::string holdersOf(unsigned major, unsigned minor, size_t most) {
  DIR* const processes = ::opendir("/proc");
  if (processes == nullptr) return {};
  const Wanted wanted = {major, minor};
  std::set<ino_t> seen;
  std::string text;
  size_t count = 0;
  while (const dirent* entry = ::readdir(processes)) {
    if (std::string_view(entry->d_name).find_first_not_of("0123456789") != std::string_view::npos)
      continue;
    const std::string process = std::string("/proc/") + entry->d_name;
    const char* const how = howOf(process, wanted, seen);
    if (how == nullptr) continue;
    std::string name = readSmall(process + "/comm", 64);
    while (!name.empty() && name.back() == '\n')
      name.pop_back();
    for (char& c : name) {
      if (c < ' ' || c > '~') c = '?';
    }
    text += std::string(entry->d_name) + " " + how + " " + name + "\n";
    if (++count == most) break;
  }
  ::closedir(processes);
  return text;
}

}  // namespace stratafs
