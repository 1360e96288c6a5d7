// Removes a file whose blocks take long to free. The name goes at once; a thread of its own frees
// the blocks. The last close of an unlinked file frees them (iput), so that thread keeps a
// descriptor until the caller has closed its own.
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

#include "sys.h"

namespace stratafs::sys {

namespace {

// In 512-byte blocks: 4 MiB. Below it is a matter of a millisecond even when every block is apart.
constexpr blkcnt_t kSmall = 8192;
// With less free space than this the blocks are freed at once: whoever removes a file to make room
// must have the room when unlink(2) returns.
constexpr uint64_t kPlenty = uint64_t{1} << 30;
constexpr int kMostThreads = 16;
// The caller closes its descriptors of the file with the request that removes it.
constexpr useconds_t kAfter = 50'000;
std::atomic<int> threads = 0;

void* closeLater(void* data) {
  usleep(kAfter);
  ::close(static_cast<int>(reinterpret_cast<intptr_t>(data)));
  threads--;
  return nullptr;
}

// False when there are too many, or none can be started.
bool startThread(int fd) {
  if (threads.fetch_add(1) >= kMostThreads) {
    threads--;
    return false;
  }
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&attributes, 64 << 10);
  pthread_t thread;
  void* const data = reinterpret_cast<void*>(static_cast<intptr_t>(fd));
  const bool made = pthread_create(&thread, &attributes, closeLater, data) == 0;
  pthread_attr_destroy(&attributes);
  if (!made) threads--;
  return made;
}

// There is room without the blocks of the file.
bool hasRoom(int dirfd) {
  struct statvfs space {};
  return ::fstatvfs(dirfd, &space) == 0 && space.f_bavail * space.f_frsize >= kPlenty;
}

}  // namespace

int32_t unlinkApart(Thread&, int32_t dirfd, const Name& name) {
  struct stat info {};
  const bool large = ::fstatat(dirfd, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0 &&
                     S_ISREG(info.st_mode) && info.st_nlink == 1 && info.st_blocks > kSmall &&
                     hasRoom(dirfd);
  const int fd = large ? ::openat(dirfd, name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC) : -1;
  const int32_t done = result(::unlinkat(dirfd, name.c_str(), 0));
  if (fd >= 0 && (done < 0 || !startThread(fd))) ::close(fd);
  return done;
}

}  // namespace stratafs::sys
