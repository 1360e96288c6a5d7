// Every function of the addon that takes plain arguments; src/sys/native.ts documents them.
#pragma once

#include "bind.h"

namespace stratafs::sys {

// sys_names.cc
int32_t openat2(Thread&, int32_t dirfd, const Name& path, uint32_t flags, uint32_t mode,
                uint32_t resolve);
int32_t close(Thread&, int32_t fd);
int32_t openTree(Thread&, int32_t dirfd, const Name& path, uint32_t flags);
int32_t mountSetattr(Thread&, int32_t fd, int64_t set, int64_t clear);
int32_t statx(Thread&, int32_t dirfd, const Name& name, int32_t flags, uint32_t mask, uint32_t at);
int32_t mknodat(Thread&, int32_t dirfd, const Name& name, uint32_t mode, uint32_t major,
                uint32_t minor);
int32_t mkdirat(Thread&, int32_t dirfd, const Name& name, uint32_t mode);
int32_t linkat(Thread&, int32_t olddirfd, const Name& oldname, int32_t newdirfd,
               const Name& newname, int32_t flags);
int32_t symlinkat(Thread&, const Name& target, int32_t dirfd, const Name& name);
int32_t readlinkat(Thread&, int32_t dirfd, const Name& name, uint32_t at, uint32_t size);
int32_t renameat2(Thread&, int32_t olddirfd, const Name& oldname, int32_t newdirfd,
                  const Name& newname, uint32_t flags);
int32_t faccessat(Thread&, int32_t dirfd, const Name& name, int32_t mode);
int32_t unlinkat(Thread&, int32_t dirfd, const Name& name, int32_t flags);
int32_t fchownat(Thread&, int32_t dirfd, const Name& name, uint32_t uid, uint32_t gid,
                 int32_t flags);
int32_t fchmodat(Thread&, int32_t dirfd, const Name& name, uint32_t mode);
int32_t utimensat(Thread&, int32_t dirfd, const Name& name, int64_t atimeSec, int64_t atimeNsec,
                  int64_t mtimeSec, int64_t mtimeNsec, int32_t flags);
int32_t getdents64(Thread&, int32_t fd, uint32_t at, uint32_t size);
int32_t nameToHandleAt(Thread&, int32_t dirfd, const Name& name, uint32_t at, int32_t flags);
int32_t openByHandleAt(Thread&, int32_t mountFd, uint32_t at, int32_t flags);
int32_t umask(Thread&, uint32_t mask);
int32_t raiseNofile(Thread&);
int32_t niceThread(Thread&, int32_t value);

// sys_xattr.cc
int32_t getxattr(Thread&, int32_t dirfd, const Name& name, const Name& key, uint32_t at,
                 uint32_t size);
int32_t setxattr(Thread&, int32_t dirfd, const Name& name, const Name& key, uint32_t at,
                 uint32_t size, int32_t flags);
int32_t listxattr(Thread&, int32_t dirfd, const Name& name, uint32_t at, uint32_t size);
int32_t removexattr(Thread&, int32_t dirfd, const Name& name, const Name& key);
// The same as listxattr, on any thread: bytes, or -1 and errno.
long listNames(int dirfd, const char* name, char* out, size_t size);

// sys_data.cc
int32_t lseek(Thread&, int32_t fd, uint32_t lo, uint32_t hi, int32_t whence, uint32_t at);
int32_t pread(Thread&, int32_t fd, uint32_t at, uint32_t size, uint32_t lo, uint32_t hi);
int32_t pwrite(Thread&, int32_t fd, uint32_t at, uint32_t size, uint32_t lo, uint32_t hi);
int32_t ftruncate(Thread&, int32_t fd, uint32_t lo, uint32_t hi);
int32_t fallocate(Thread&, int32_t fd, int32_t mode, uint32_t offLo, uint32_t offHi, uint32_t lenLo,
                  uint32_t lenHi);
int32_t copyFileRange(Thread&, int32_t fdIn, uint32_t inLo, uint32_t inHi, int32_t fdOut,
                      uint32_t outLo, uint32_t outHi, uint32_t len);
int32_t copyData(Thread&, int32_t fdIn, int32_t fdOut, uint32_t sizeLo, uint32_t sizeHi);
int32_t willNeed(Thread&, int32_t fd, uint32_t size);
int32_t fsync(Thread&, int32_t fd);
int32_t fdatasync(Thread&, int32_t fd);
int32_t syncfs(Thread&, int32_t fd);
int32_t fstatfs(Thread&, int32_t fd, uint32_t at);
int32_t ioctl(Thread&, int32_t fd, uint32_t request, uint32_t at);
int32_t flock(Thread&, int32_t fd, int32_t operation);

// mount.cc
int32_t mount(Thread&, const Name& source, const Name& target, const Name& type, int64_t flags,
              const std::string& data);
int32_t umount2(Thread&, const Name& target, int32_t flags);

}  // namespace stratafs::sys
