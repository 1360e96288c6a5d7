// Parts of requests that both the loop and the pool's threads use.
#pragma once

#include <cstdint>

namespace stratafs {

// Writes a whole message to a device; 0 or -errno. -ENOENT: the request is gone; aborted, or ended
// by the kernel over a reply that it refused.
int32_t post(int device, const uint8_t* message, uint32_t length);
// A reply without a body; `error` is an errno, or 0. Returns 0 or the errno (> 0) of a reply that
// the kernel refused.
int32_t postCode(int device, uint64_t unique, int error);
// A reply, complete but for its header's fields. One that the kernel refuses must not leave its
// caller hanging: it gets EIO instead. Returns as postCode.
int32_t postReply(int device, uint8_t* reply, uint32_t length, uint64_t unique);

// pread until `size` bytes are there or the file ends: to the kernel a short reply means the end,
// and an I/O error behind the first part must not look like one. Bytes read, or -errno.
int64_t readAll(int fd, uint8_t* to, uint32_t size, int64_t offset);
// pwrite of all. A short count is honest to write(2), but write-back (`cached`) looks only at the
// error (fuse_writepage_end), so there a count would lose the rest without a word: bytes, or
// -errno.
int64_t writeAll(int fd, const uint8_t* from, uint32_t size, int64_t offset, bool cached);

}  // namespace stratafs
