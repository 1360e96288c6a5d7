#include "census.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <vector>

#include "sys.h"
#include "tally.h"

namespace stratafs {

namespace {

// Some 12,000 objects take 20 to 40 ms when the kernel has them. A tree that it has not, or a far
// larger one, costs more than its answer is worth.
constexpr int64_t kMostNs = 400'000'000;
// A descriptor is open for each level.
constexpr uint32_t kDeepest = 64;
constexpr size_t kListing = 32768;
constexpr const char* kEscape = "overlay.";

class Census {
 public:
  Census(const std::string& marks, const std::atomic<bool>& cancelled)
      : marks_(marks), cancelled_(cancelled), deadline_(monotonicNs() + kMostNs) {}

  // 0, 1 or -errno; closes nothing that it did not open.
  int32_t directory(int above, const char* name, uint32_t depth) {
    if (depth > kDeepest) return -ETIME;
    const int fd = ::openat(above, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) return -errno;
    std::vector<std::string> below;
    int32_t found = names(fd, below);
    for (size_t i = 0; found == 0 && i < below.size(); i++)
      found = directory(fd, below[i].c_str(), depth + 1);
    ::close(fd);
    return found;
  }

  int32_t object(int dir, const char* name) {
    const long bytes = sys::listNames(dir, name, list_, sizeof list_);
    if (bytes < 0) return errno == EOPNOTSUPP ? 0 : errno == ERANGE ? 1 : -errno;
    for (long at = 0; at < bytes;) {
      const char* const key = list_ + at;
      if (std::strncmp(key, marks_.c_str(), marks_.size()) != 0) return 1;
      if (std::strncmp(key + marks_.size(), kEscape, std::strlen(kEscape)) == 0) return 1;
      at += static_cast<long>(std::strlen(key)) + 1;
    }
    return 0;
  }

 private:
  int32_t names(int fd, std::vector<std::string>& below) {
    const auto buffer = std::make_unique<char[]>(kListing);
    for (;;) {
      if (cancelled_) return -ECANCELED;
      if (monotonicNs() > deadline_) return -ETIME;
      const long bytes = ::syscall(SYS_getdents64, fd, buffer.get(), kListing);
      if (bytes <= 0) return bytes == 0 ? 0 : -errno;
      for (long at = 0; at < bytes;) {
        const auto* const entry = reinterpret_cast<const dirent64*>(buffer.get() + at);
        at += entry->d_reclen;
        const char* const name = entry->d_name;
        if (std::strcmp(name, ".") == 0 || std::strcmp(name, "..") == 0) continue;
        const int32_t found = object(fd, name);
        if (found != 0) return found;
        if (isDirectory(fd, *entry)) below.emplace_back(name);
      }
    }
  }

  // What vanishes meanwhile is found out by who opens it.
  static bool isDirectory(int fd, const dirent64& entry) {
    if (entry.d_type != DT_UNKNOWN) return entry.d_type == DT_DIR;
    struct stat st;
    return ::fstatat(fd, entry.d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
  }

  const std::string& marks_;
  const std::atomic<bool>& cancelled_;
  const int64_t deadline_;
  char list_[4096];
};

}  // namespace

int32_t census(int root, const std::string& marks, const std::atomic<bool>& cancelled) {
  const auto walk = std::make_unique<Census>(marks, cancelled);
  const int32_t found = walk->object(root, ".");
  return found != 0 ? found : walk->directory(root, ".", 0);
}

}  // namespace stratafs
