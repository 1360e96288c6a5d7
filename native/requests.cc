#include "requests.h"

#include <unistd.h>

#include <cerrno>

#include "fuse_abi.h"

namespace stratafs {

int32_t post(int device, const uint8_t* message, uint32_t length) {
  const ssize_t done = TEMP_FAILURE_RETRY(::write(device, message, length));
  return done < 0 ? -errno : 0;
}

int32_t postCode(int device, uint64_t unique, int error) {
  fuse_out_header header = {};
  header.len = sizeof header;
  header.error = -error;
  header.unique = unique;
  const int32_t done = post(device, reinterpret_cast<const uint8_t*>(&header), sizeof header);
  return done < 0 && done != -ENOENT ? -done : 0;
}

int32_t postReply(int device, uint8_t* reply, uint32_t length, uint64_t unique) {
  auto* const head = reinterpret_cast<fuse_out_header*>(reply);
  head->len = length;
  head->error = 0;
  head->unique = unique;
  const int32_t done = post(device, reply, length);
  if (done == 0 || done == -ENOENT) return 0;
  postCode(device, unique, EIO);
  return -done;
}

int64_t readAll(int fd, uint8_t* to, uint32_t size, int64_t offset) {
  uint32_t got = 0;
  while (got < size) {
    const ssize_t done = TEMP_FAILURE_RETRY(::pread(fd, to + got, size - got, offset + got));
    if (done < 0) return -errno;
    if (done == 0) break;
    got += done;
  }
  return got;
}

int64_t writeAll(int fd, const uint8_t* from, uint32_t size, int64_t offset, bool cached) {
  uint32_t put = 0;
  while (put < size) {
    const ssize_t done = TEMP_FAILURE_RETRY(::pwrite(fd, from + put, size - put, offset + put));
    if (done <= 0) {
      if (put > 0 && !cached) break;
      return done == 0 ? -EIO : -errno;
    }
    put += done;
  }
  return put;
}

}  // namespace stratafs
