// Computes where hosts listen and the name of a host.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>

#include "identity.h"
#include "launcher.h"

namespace launcher {
namespace {

constexpr const char* kUnitSocket = "/unit.sock";
// The longest rest of a name: -HASH-PID.sock
constexpr size_t kLongestRest = sizeof "-0123456789abcdef-4194304.sock";

// The number of a namespace: 0 where it cannot be seen.
std::string inode(const char* path) {
  struct stat info {};
  return stat(path, &info) == 0 ? std::to_string(info.st_ino) : "0";
}

std::string prefix() {
  return "host-" + std::to_string(geteuid()) + "-" + inode("/proc/self/ns/user") + "-" +
         inode("/proc/self/ns/mnt");
}

// The user outside the user namespace: root inside has a place of its own for each of them. The
// lines of uid_map are: first ID inside, first ID outside, count (user_namespaces(7)).
std::string outerUser() {
  const uint64_t own = geteuid();
  uint64_t inside = 0, outside = 0, count = 0;
  uint64_t found = own;
  FILE* const map = fopen("/proc/self/uid_map", "re");
  if (map == nullptr) return std::to_string(own);
  while (fscanf(map, "%" SCNu64 " %" SCNu64 " %" SCNu64, &inside, &outside, &count) == 3) {
    if (own >= inside && own - inside < count) found = outside + (own - inside);
  }
  fclose(map);
  return std::to_string(found);
}

// Ours alone: a directory that others can write to would let them answer in the host's place.
bool usable(const std::string& directory) {
  if (mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) return false;
  struct stat info {};
  return lstat(directory.c_str(), &info) == 0 && S_ISDIR(info.st_mode) &&
         info.st_uid == geteuid() && (info.st_mode & 022) == 0;
}

}  // namespace

std::string buildId() {
  const std::string path = installRoot() + "/dist/build-id";
  const Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  char text[64];
  const ssize_t n = fd ? read(fd.get(), text, sizeof text) : -1;
  if (n <= 0) fail("cannot read " + path + " (" + errorText(errno) + "): run npm run build");
  std::string id(text, static_cast<size_t>(n));
  id.resize(std::min(id.find('\n'), id.size()));
  return id;
}

Place findPlace() {
  const std::string name = prefix();
  std::vector<std::string> candidates;
  if (geteuid() == 0) candidates.emplace_back("/run/stratafs");
  const char* runtime = getenv("XDG_RUNTIME_DIR");
  if (runtime != nullptr && runtime[0] == '/')
    candidates.push_back(std::string(runtime) + "/stratafs");
  candidates.push_back("/tmp/stratafs-" + outerUser());
  for (const std::string& directory : candidates) {
    const size_t longest = directory.size() + 1 + name.size() + kLongestRest;
    if (longest > sizeof(sockaddr_un::sun_path) || !usable(directory)) continue;
    const std::string unit = directory + kUnitSocket;
    return {directory, name, access(unit.c_str(), F_OK) == 0 ? unit : ""};
  }
  fail("no place for the host's socket: " + candidates.back() +
       " is not a directory of yours alone; set XDG_RUNTIME_DIR to one");
}

std::vector<std::string> socketsOf(const Place& place) {
  std::vector<std::string> found;
  if (!place.unit.empty()) found.push_back(place.unit);
  DIR* const directory = opendir(place.directory.c_str());
  if (directory == nullptr) return found;
  while (const dirent* entry = readdir(directory)) {
    const std::string_view name = entry->d_name;
    if (name.starts_with(place.prefix + "-") && name.ends_with(".sock"))
      found.push_back(place.directory + "/" + entry->d_name);
  }
  closedir(directory);
  return found;
}

HostPlace findHost(const Place& place) {
  resetInherited();
  const std::string identity = stratafs::ownIdentity();
  if (identity.empty()) fail("cannot read /proc/self/status: mount /proc first");
  const std::string build = buildId();
  const std::string key = stratafs::shortHash(identity + leftovers() + build);
  const std::string base = place.directory + "/" + place.prefix + "-" + key;
  return {base + ".sock", base + ".lock", base + ".log", identity, build};
}

}  // namespace launcher
