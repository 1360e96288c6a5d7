// Extended attributes of a name beneath a descriptor, never through a symlink.
//
// - A name: the *xattrat calls of Linux 6.13; on older kernels the l*xattr calls on
//   /proc/self/fd/N/name. The name is one component, so only the descriptor is trusted.
// - A descriptor: the f*xattr calls. They refuse O_PATH with EBADF; then its magic link, which
//   leads to the object itself, also to a symlink (proc(5)).
#include <fcntl.h>
#include <limits.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>

#include "sys.h"

#ifndef SYS_setxattrat
#define SYS_setxattrat 463
#define SYS_getxattrat 464
#define SYS_listxattrat 465
#define SYS_removexattrat 466
#endif

namespace stratafs::sys {

namespace {

struct XattrArgs {
  uint64_t value;
  uint32_t size;
  uint32_t flags;
};

// Set once a kernel older than 6.13 has answered; never cleared, so relaxed order is enough.
std::atomic<bool> missing{false};

bool haveXattrAt() {
  return !missing.load(std::memory_order_relaxed);
}

// True when the call has to be done another way, and remembers that.
bool refused(long done) {
  if (done >= 0 || errno != ENOSYS) return false;
  missing.store(true, std::memory_order_relaxed);
  return true;
}

class MagicLink {
 public:
  explicit MagicLink(int32_t fd) { std::snprintf(path_, sizeof path_, "/proc/self/fd/%d", fd); }
  MagicLink(int32_t fd, const Name& name) {
    if (fd == AT_FDCWD) {
      std::snprintf(path_, sizeof path_, "%s", name.c_str());
    } else {
      std::snprintf(path_, sizeof path_, "/proc/self/fd/%d/%s", fd, name.c_str());
    }
  }
  const char* c_str() const { return path_; }

 private:
  char path_[4096 + 32];
};

}  // namespace

int32_t getxattr(Thread& thread, int32_t dirfd, const Name& name, const Name& key, uint32_t at,
                 uint32_t size) {
  uint8_t* const out = thread.at(at, size);
  if (out == nullptr) return -EFAULT;
  if (name.empty()) {
    const ssize_t done = ::fgetxattr(dirfd, key.c_str(), out, size);
    if (done >= 0 || errno != EBADF) return result(done);
    return result(::getxattr(MagicLink(dirfd).c_str(), key.c_str(), out, size));
  }
  if (haveXattrAt()) {
    XattrArgs args = {reinterpret_cast<uintptr_t>(out), size, 0};
    const long done = syscall(SYS_getxattrat, dirfd, name.c_str(), AT_SYMLINK_NOFOLLOW, key.c_str(),
                              &args, sizeof args);
    if (!refused(done)) return result(done);
  }
  return result(::lgetxattr(MagicLink(dirfd, name).c_str(), key.c_str(), out, size));
}

int32_t setxattr(Thread& thread, int32_t dirfd, const Name& name, const Name& key, uint32_t at,
                 uint32_t size, int32_t flags) {
  const uint8_t* const value = thread.at(at, size);
  if (value == nullptr) return -EFAULT;
  if (name.empty()) {
    const int done = ::fsetxattr(dirfd, key.c_str(), value, size, flags);
    if (done >= 0 || errno != EBADF) return result(done);
    return result(::setxattr(MagicLink(dirfd).c_str(), key.c_str(), value, size, flags));
  }
  if (haveXattrAt()) {
    XattrArgs args = {reinterpret_cast<uintptr_t>(value), size, static_cast<uint32_t>(flags)};
    const long done = syscall(SYS_setxattrat, dirfd, name.c_str(), AT_SYMLINK_NOFOLLOW, key.c_str(),
                              &args, sizeof args);
    if (!refused(done)) return result(done);
  }
  return result(::lsetxattr(MagicLink(dirfd, name).c_str(), key.c_str(), value, size, flags));
}

int32_t listxattr(Thread& thread, int32_t dirfd, const Name& name, uint32_t at, uint32_t size) {
  char* const out = reinterpret_cast<char*>(thread.at(at, size));
  if (out == nullptr) return -EFAULT;
  if (name.empty()) {
    const ssize_t done = ::flistxattr(dirfd, out, size);
    if (done >= 0 || errno != EBADF) return result(done);
    return result(::listxattr(MagicLink(dirfd).c_str(), out, size));
  }
  return result(listNames(dirfd, name.c_str(), out, size));
}

long listNames(int dirfd, const char* name, char* out, size_t size) {
  if (haveXattrAt()) {
    const long done = syscall(SYS_listxattrat, dirfd, name, AT_SYMLINK_NOFOLLOW, out, size);
    if (!refused(done)) return done;
  }
  char path[PATH_MAX + 32];
  std::snprintf(path, sizeof path, "/proc/self/fd/%d/%s", dirfd, name);
  return ::llistxattr(path, out, size);
}

int32_t removexattr(Thread&, int32_t dirfd, const Name& name, const Name& key) {
  if (name.empty()) {
    const int done = ::fremovexattr(dirfd, key.c_str());
    if (done >= 0 || errno != EBADF) return result(done);
    return result(::removexattr(MagicLink(dirfd).c_str(), key.c_str()));
  }
  if (haveXattrAt()) {
    const long done =
        syscall(SYS_removexattrat, dirfd, name.c_str(), AT_SYMLINK_NOFOLLOW, key.c_str());
    if (!refused(done)) return result(done);
  }
  return result(::lremovexattr(MagicLink(dirfd, name).c_str(), key.c_str()));
}

}  // namespace stratafs::sys
