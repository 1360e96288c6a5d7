// System calls on the data of open files.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <algorithm>

#include "copy.h"
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

int32_t copyData(Thread&, int32_t fdIn, int32_t fdOut, uint32_t sizeLo, uint32_t sizeHi) {
  const int64_t size = join(sizeLo, sizeHi);
  const int32_t done = copyBytes(fdIn, fdOut, size, nullptr);
  return done < 0 ? done : result(TEMP_FAILURE_RETRY(::ftruncate(fdOut, size)));
}

int32_t willNeed(Thread&, int32_t fd, uint32_t size) {
  return -::posix_fadvise(fd, 0, size, POSIX_FADV_WILLNEED);
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
