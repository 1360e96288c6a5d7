// System calls on names: relative to a descriptor, one component at a time, -errno on failure.
#include <fcntl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>

#include "sys.h"

// Since Linux 6.6; the number is the same on every architecture but alpha.
#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif

namespace stratafs::sys {

int32_t openat2(Thread&, int32_t dirfd, const Name& path, uint32_t flags, uint32_t mode,
                uint32_t resolve) {
  open_how how = {};
  how.flags = flags | O_CLOEXEC;
  how.mode = mode;
  how.resolve = resolve;
  for (;;) {
    const long fd = syscall(SYS_openat2, dirfd, path.c_str(), &how, sizeof how);
    // EAGAIN: a rename or mount elsewhere raced with a RESOLVE_BENEATH walk (openat2(2)).
    if (fd >= 0 || (errno != EINTR && errno != EAGAIN)) return result(fd);
    if (errno == EAGAIN && (flags & O_NONBLOCK) != 0) return -EAGAIN;  // A lease, not a race.
  }
}

int32_t close(Thread&, int32_t fd) {
  // The descriptor is gone even after EINTR or EIO (close(2)); never close twice.
  return result(::close(fd));
}

int32_t openTree(Thread&, int32_t dirfd, const Name& path, uint32_t flags) {
  return result(syscall(SYS_open_tree, dirfd, path.c_str(), flags | OPEN_TREE_CLOEXEC));
}

int32_t mountSetattr(Thread&, int32_t fd, int64_t set, int64_t clear) {
  mount_attr attr = {};
  attr.attr_set = static_cast<uint64_t>(set);
  attr.attr_clr = static_cast<uint64_t>(clear);
  return result(syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH, &attr, sizeof attr));
}

int32_t statx(Thread& thread, int32_t dirfd, const Name& name, int32_t flags, uint32_t mask,
              uint32_t at) {
  uint8_t* const out = thread.at(at, sizeof(struct ::statx));
  if (out == nullptr) return -EFAULT;
  return result(::statx(dirfd, name.c_str(), flags, mask, reinterpret_cast<struct ::statx*>(out)));
}

int32_t mknodat(Thread&, int32_t dirfd, const Name& name, uint32_t mode, uint32_t major,
                uint32_t minor) {
  return result(::mknodat(dirfd, name.c_str(), mode, makedev(major, minor)));
}

int32_t mkdirat(Thread&, int32_t dirfd, const Name& name, uint32_t mode) {
  return result(::mkdirat(dirfd, name.c_str(), mode));
}

int32_t linkat(Thread&, int32_t olddirfd, const Name& oldname, int32_t newdirfd,
               const Name& newname, int32_t flags) {
  return result(::linkat(olddirfd, oldname.c_str(), newdirfd, newname.c_str(), flags));
}

int32_t symlinkat(Thread&, const Name& target, int32_t dirfd, const Name& name) {
  return result(::symlinkat(target.c_str(), dirfd, name.c_str()));
}

int32_t readlinkat(Thread& thread, int32_t dirfd, const Name& name, uint32_t at, uint32_t size) {
  uint8_t* const out = thread.at(at, size);
  if (out == nullptr) return -EFAULT;
  return result(::readlinkat(dirfd, name.c_str(), reinterpret_cast<char*>(out), size));
}

int32_t renameat2(Thread&, int32_t olddirfd, const Name& oldname, int32_t newdirfd,
                  const Name& newname, uint32_t flags) {
  return result(::renameat2(olddirfd, oldname.c_str(), newdirfd, newname.c_str(), flags));
}

int32_t faccessat(Thread&, int32_t dirfd, const Name& name, int32_t mode) {
  // The raw call: glibc emulates flags where the kernel lacks faccessat2 (5.8), and wrongly for us.
  const int flags = AT_EACCESS | AT_SYMLINK_NOFOLLOW | (name.empty() ? AT_EMPTY_PATH : 0);
  return result(syscall(SYS_faccessat2, dirfd, name.c_str(), mode, flags));
}

int32_t unlinkat(Thread&, int32_t dirfd, const Name& name, int32_t flags) {
  return result(::unlinkat(dirfd, name.c_str(), flags));
}

int32_t fchownat(Thread&, int32_t dirfd, const Name& name, uint32_t uid, uint32_t gid,
                 int32_t flags) {
  return result(::fchownat(dirfd, name.c_str(), uid, gid, flags));
}

namespace {

// chmod without fchmodat2: through the magic link of an O_PATH descriptor, which cannot be
// redirected. Follows no symlink: a symlink has no mode of its own to set.
int32_t chmodByDescriptor(int32_t fd, uint32_t mode) {
  struct stat st;
  if (::fstat(fd, &st) < 0) return -errno;
  if (S_ISLNK(st.st_mode)) return -EOPNOTSUPP;
  char path[64];
  std::snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  return result(::chmod(path, mode));
}

}  // namespace

int32_t fchmodat(Thread&, int32_t dirfd, const Name& name, uint32_t mode) {
  // Set once a kernel older than 6.6 has answered; never cleared, so relaxed order is enough.
  static std::atomic<bool> missing{false};
  if (!missing.load(std::memory_order_relaxed)) {
    const int flags = AT_SYMLINK_NOFOLLOW | (name.empty() ? AT_EMPTY_PATH : 0);
    const long done = syscall(SYS_fchmodat2, dirfd, name.c_str(), mode, flags);
    if (done == 0 || errno != ENOSYS) return result(done);
    missing.store(true, std::memory_order_relaxed);
  }
  if (name.empty()) return chmodByDescriptor(dirfd, mode);
  const int fd = ::openat(dirfd, name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return -errno;
  const int32_t done = chmodByDescriptor(fd, mode);
  ::close(fd);
  return done;
}

int32_t utimensat(Thread&, int32_t dirfd, const Name& name, int64_t atimeSec, int64_t atimeNsec,
                  int64_t mtimeSec, int64_t mtimeNsec, int32_t flags) {
  const timespec times[2] = {{atimeSec, static_cast<long>(atimeNsec)},
                             {mtimeSec, static_cast<long>(mtimeNsec)}};
  // The raw call: glibc's wrapper refuses an empty name with AT_EMPTY_PATH on some versions.
  return result(syscall(SYS_utimensat, dirfd, name.c_str(), times, flags));
}

int32_t getdents64(Thread& thread, int32_t fd, uint32_t at, uint32_t size) {
  uint8_t* const out = thread.at(at, size);
  if (out == nullptr) return -EFAULT;
  return result(syscall(SYS_getdents64, fd, out, size));
}

namespace {

struct HandleBuffer {
  uint32_t bytes;
  int32_t type;
  uint8_t handle[MAX_HANDLE_SZ];
};
static_assert(sizeof(HandleBuffer) == 136);

}  // namespace

int32_t nameToHandleAt(Thread& thread, int32_t dirfd, const Name& name, uint32_t at,
                       int32_t flags) {
  uint8_t* const out = thread.at(at, sizeof(HandleBuffer));
  if (out == nullptr) return -EFAULT;
  HandleBuffer buffer = {MAX_HANDLE_SZ, 0, {}};
  int mountId = 0;
  if (syscall(SYS_name_to_handle_at, dirfd, name.c_str(), &buffer, &mountId, flags) < 0) {
    return -errno;
  }
  std::memcpy(out, &buffer, sizeof buffer);
  return 0;
}

int32_t openByHandleAt(Thread& thread, int32_t mountFd, uint32_t at, int32_t flags) {
  const uint8_t* const in = thread.at(at, sizeof(HandleBuffer));
  if (in == nullptr) return -EFAULT;
  HandleBuffer buffer;
  std::memcpy(&buffer, in, sizeof buffer);
  if (buffer.bytes > MAX_HANDLE_SZ) return -EINVAL;
  return result(syscall(SYS_open_by_handle_at, mountFd, &buffer, flags | O_CLOEXEC));
}

int32_t umask(Thread&, uint32_t mask) {
  return static_cast<int32_t>(::umask(mask));
}

int32_t raiseNofile(Thread&) {
  rlimit limit;
  if (::getrlimit(RLIMIT_NOFILE, &limit) < 0) return -errno;
  if (limit.rlim_cur != limit.rlim_max) {
    const rlimit raised = {limit.rlim_max, limit.rlim_max};
    if (::setrlimit(RLIMIT_NOFILE, &raised) < 0) return -errno;
  }
  return limit.rlim_max > INT32_MAX ? INT32_MAX : static_cast<int32_t>(limit.rlim_max);
}

int32_t niceThread(Thread&, int32_t value) {
  // To Linux 0 is the calling thread here, not the process.
  return result(::setpriority(PRIO_PROCESS, 0, value));
}

}  // namespace stratafs::sys
