// System calls on the bytes of open files, and the copy of a whole file.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <algorithm>
#include <memory>

#include "sys.h"

namespace stratafs::sys {

int32_t lseek(Thread& thread, int32_t fd, uint32_t lo, uint32_t hi, int32_t whence, uint32_t at) {
  uint8_t* const out = thread.at(at, sizeof(int64_t));
  if (out == nullptr) return -EFAULT;
  const int64_t offset = ::lseek(fd, join(lo, hi), whence);
  if (offset < 0) return -errno;
  std::memcpy(out, &offset, sizeof offset);
  return 0;
}

int32_t pread(Thread& thread, int32_t fd, uint32_t at, uint32_t size, uint32_t lo, uint32_t hi) {
  uint8_t* const out = thread.at(at, size);
  if (out == nullptr) return -EFAULT;
  return result(TEMP_FAILURE_RETRY(::pread(fd, out, size, join(lo, hi))));
}

int32_t pwrite(Thread& thread, int32_t fd, uint32_t at, uint32_t size, uint32_t lo, uint32_t hi) {
  const uint8_t* const in = thread.at(at, size);
  if (in == nullptr) return -EFAULT;
  return result(TEMP_FAILURE_RETRY(::pwrite(fd, in, size, join(lo, hi))));
}

int32_t ftruncate(Thread&, int32_t fd, uint32_t lo, uint32_t hi) {
  return result(TEMP_FAILURE_RETRY(::ftruncate(fd, join(lo, hi))));
}

int32_t fallocate(Thread&, int32_t fd, int32_t mode, uint32_t offLo, uint32_t offHi, uint32_t lenLo,
                  uint32_t lenHi) {
  return result(TEMP_FAILURE_RETRY(::fallocate(fd, mode, join(offLo, offHi), join(lenLo, lenHi))));
}

int32_t copyFileRange(Thread&, int32_t fdIn, uint32_t inLo, uint32_t inHi, int32_t fdOut,
                      uint32_t outLo, uint32_t outHi, uint32_t len) {
  off64_t in = join(inLo, inHi);
  off64_t out = join(outLo, outHi);
  const size_t most = std::min(len, uint32_t{1} << 30);  // The count has to fit the result.
  return result(TEMP_FAILURE_RETRY(::copy_file_range(fdIn, &in, fdOut, &out, most, 0)));
}

int32_t ficlone(Thread&, int32_t fdOut, int32_t fdIn) {
  return result(::ioctl(fdOut, FICLONE, fdIn));
}

namespace {

constexpr size_t kBufferSize = size_t{1} << 18;
constexpr size_t kRangeSize = size_t{1} << 30;

// Copies ranges of one file to the same offsets of another, by the cheapest way that works.
class Copier {
 public:
  Copier(int in, int out) : in_(in), out_(out) {}

  // [from, to); ends early, without an error, where the source ends. Returns 0 or -errno.
  int32_t range(off64_t from, off64_t to) {
    while (from < to && useRange_) {
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

  int in_;
  int out_;
  bool useRange_ = true;
  std::unique_ptr<uint8_t[]> buffer_;
};

int32_t copyRanges(int fdIn, int fdOut, off64_t size) {
  Copier copier(fdIn, fdOut);
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

int32_t copyData(Thread&, int32_t fdIn, int32_t fdOut, uint32_t sizeLo, uint32_t sizeHi) {
  const off64_t size = join(sizeLo, sizeHi);
  // Any refusal of a reflink (EXDEV, EOPNOTSUPP, EINVAL, ENOTTY ...) is no error: the copy below
  // meets whatever is really wrong.
  if (size > 0 && ::ioctl(fdOut, FICLONE, fdIn) < 0) {
    const int32_t done = copyRanges(fdIn, fdOut, size);
    if (done < 0) return done;
  }
  return result(TEMP_FAILURE_RETRY(::ftruncate(fdOut, size)));
}

int32_t fsync(Thread&, int32_t fd) {
  return result(TEMP_FAILURE_RETRY(::fsync(fd)));
}

int32_t fdatasync(Thread&, int32_t fd) {
  return result(TEMP_FAILURE_RETRY(::fdatasync(fd)));
}

int32_t syncfs(Thread&, int32_t fd) {
  return result(::syncfs(fd));
}

int32_t fstatfs(Thread& thread, int32_t fd, uint32_t at) {
  uint8_t* const out = thread.at(at, sizeof(struct statfs));
  if (out == nullptr) return -EFAULT;
  return result(TEMP_FAILURE_RETRY(::fstatfs(fd, reinterpret_cast<struct statfs*>(out))));
}

int32_t ioctl(Thread& thread, int32_t fd, uint32_t request, uint32_t at) {
  // The request names how many bytes the kernel reads and writes there (_IOC_SIZE).
  uint8_t* const argument = thread.at(at, _IOC_SIZE(request));
  if (argument == nullptr) return -EFAULT;
  return result(::ioctl(fd, static_cast<unsigned long>(request), argument));
}

int32_t flock(Thread&, int32_t fd, int32_t operation) {
  return result(TEMP_FAILURE_RETRY(::flock(fd, operation)));
}

}  // namespace stratafs::sys
