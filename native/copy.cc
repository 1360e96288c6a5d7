#include "copy.h"

#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>

namespace stratafs {

namespace {

constexpr size_t kBufferSize = size_t{1} << 18;
// Between two looks at whether the copy is still wanted.
constexpr size_t kRangeSize = size_t{1} << 24;

// Copies ranges of one file to the same offsets of another, by the cheapest way that works.
class Copier {
 public:
  Copier(int in, int out, const std::atomic<bool>* cancelled)
      : in_(in), out_(out), cancelled_(cancelled) {}

  // [from, to); ends early, without an error, where the source ends. Returns 0 or -errno.
  int32_t range(off64_t from, off64_t to) {
    while (from < to && useRange_) {
      if (unwanted()) return -ECANCELED;
      off64_t in = from;
      off64_t out = from;
      const size_t most = std::min<off64_t>(to - from, kRangeSize);
      const ssize_t done = ::copy_file_range(in_, &in, out_, &out, most, 0);
      if (done > 0) {
        from += done;
      } else if (done == 0 || unsupported(errno)) {
        useRange_ = false;  // 0: a file system that gives no size here (procfs), or the end.
      } else if (errno != EINTR) {
        return -errno;
      }
    }
    return from < to ? byHand(from, to) : 0;
  }

 private:
  // copy_file_range(2): other file systems, no support, seccomp, swap or immutable corner cases;
  // where it is a real error the plain write reports it again.
  static bool unsupported(int error) {
    return error == EXDEV || error == EOPNOTSUPP || error == ENOSYS || error == EINVAL ||
           error == EPERM;
  }

  int32_t byHand(off64_t from, off64_t to) {
    if (!buffer_) buffer_ = std::make_unique<uint8_t[]>(kBufferSize);
    while (from < to) {
      if (unwanted()) return -ECANCELED;
      const size_t most = std::min<off64_t>(to - from, kBufferSize);
      const ssize_t got = TEMP_FAILURE_RETRY(::pread(in_, buffer_.get(), most, from));
      if (got < 0) return -errno;
      if (got == 0) return 0;
      for (ssize_t put = 0; put < got;) {
        const ssize_t done =
            TEMP_FAILURE_RETRY(::pwrite(out_, buffer_.get() + put, got - put, from + put));
        if (done < 0) return -errno;
        put += done;
      }
      from += got;
    }
    return 0;
  }

  bool unwanted() const {
    return cancelled_ != nullptr && cancelled_->load(std::memory_order_relaxed);
  }

  int in_;
  int out_;
  const std::atomic<bool>* cancelled_;
  bool useRange_ = true;
  std::unique_ptr<uint8_t[]> buffer_;
};

int32_t copyRanges(int fdIn, int fdOut, off64_t size, const std::atomic<bool>* cancelled) {
  Copier copier(fdIn, fdOut, cancelled);
  for (off64_t at = 0; at < size;) {
    off64_t data = ::lseek(fdIn, at, SEEK_DATA);
    off64_t hole = size;
    if (data < 0) {
      if (errno == ENXIO) return 0;  // Nothing but a hole from here to the end.
      if (errno != EINVAL) return -errno;
      data = at;  // No SEEK_DATA on this file system: all of it is data.
    } else {
      hole = ::lseek(fdIn, data, SEEK_HOLE);
      if (hole < 0) return -errno;
    }
    if (data >= size) return 0;
    const int32_t done = copier.range(data, std::min(hole, size));
    if (done < 0) return done;
    at = hole;
  }
  return 0;
}

}  // namespace

int32_t copyBytes(int in, int out, int64_t size, const std::atomic<bool>* cancelled) {
  // Any refusal of a reflink (EXDEV, EOPNOTSUPP, EINVAL, ENOTTY ...) is no error: the copy below
  // meets whatever is really wrong.
  if (size == 0 || ::ioctl(out, FICLONE, in) == 0) return 0;
  return copyRanges(in, out, size, cancelled);
}

}  // namespace stratafs
