// Replies, and the requests that the session answers itself.
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "fuse_abi.h"
#include "memory.h"
#include "session.h"

namespace stratafs {

int32_t Session::post(const Slot& slot, const uint8_t* message, uint32_t length) {
  ssize_t done;
  do {
    done = ::write(slot.fd, message, length);
  } while (done < 0 && errno == EINTR);
  return done < 0 ? -errno : 0;
}

void Session::replyError(Slot& slot, uint64_t unique, int error) {
  fuse_out_header header = {};
  header.len = sizeof header;
  header.error = -error;
  header.unique = unique;
  const int32_t done = post(slot, reinterpret_cast<const uint8_t*>(&header), sizeof header);
  // ENOENT: the request is gone; aborted, or ended by the kernel over the reply that failed first.
  if (done < 0 && done != -ENOENT) sendError_ = -done;
}

// A reply that the kernel refuses must not leave its caller hanging: it gets EIO instead.
void Session::reply(Slot& slot, uint32_t length) {
  const uint8_t* const out = memory_ + kOut;
  const int32_t done = length <= kOutSize ? post(slot, out, length) : -EINVAL;
  if (done == 0 || done == -ENOENT) return;
  sendError_ = -done;
  replyError(slot, reinterpret_cast<const fuse_out_header*>(out)->unique, EIO);
}

int32_t Session::send(int32_t slot, const uint8_t* message, uint32_t length) {
  Slot* const s = at(slot);
  if (s == nullptr || s->ended) return -EBADF;
  const int32_t done = post(*s, message, length);
  fuse_out_header header;
  if (done == 0 || done == -ENOENT || length < sizeof header) return done;
  std::memcpy(&header, message, sizeof header);
  if (header.unique != 0) replyError(*s, header.unique, EIO);  // 0: a notification.
  return done;
}

bool Session::serve(int32_t index) {
  const auto* const header = reinterpret_cast<const fuse_in_header*>(memory_ + kIn);
  if (header->opcode != FUSE_READ && header->opcode != FUSE_WRITE) return false;
  Backing* const node = backing(index, header->nodeid);
  if (node == nullptr || node->fd < 0) return false;
  Slot& slot = slots_[index];
  const bool served = header->opcode == FUSE_READ ? serveRead(slot, *node)
                                                  : node->writable && serveWrite(slot, *node);
  if (served) node->used = true;
  return served;
}

bool Session::serveRead(Slot& slot, const Backing& node) {
  const auto* const header = reinterpret_cast<const fuse_in_header*>(memory_ + kIn);
  const auto* const in = reinterpret_cast<const fuse_read_in*>(header + 1);
  if (header->len < sizeof *header + sizeof *in || in->size > kMaxIo) return false;
  uint8_t* const out = memory_ + kOut;
  uint8_t* const body = out + sizeof(fuse_out_header);
  uint32_t got = 0;
  // Until the end of the file: to the kernel a short reply means the end, and an I/O error behind
  // the first part must not look like one.
  while (got < in->size) {
    const ssize_t done = ::pread(node.fd, body + got, in->size - got, in->offset + got);
    if (done == 0) break;
    if (done > 0) {
      got += done;
    } else if (errno != EINTR) {
      replyError(slot, header->unique, errno);
      return true;
    }
  }
  auto* const head = reinterpret_cast<fuse_out_header*>(out);
  head->len = sizeof *head + got;
  head->error = 0;
  head->unique = header->unique;
  slot.counters[kBytesRead] += got;
  reply(slot, head->len);
  return true;
}

bool Session::serveWrite(Slot& slot, const Backing& node) {
  const auto* const header = reinterpret_cast<const fuse_in_header*>(memory_ + kIn);
  const auto* const in = reinterpret_cast<const fuse_write_in*>(header + 1);
  if (header->len < sizeof *header + sizeof *in || (in->write_flags & FUSE_WRITE_KILL_SUIDGID) ||
      in->size != header->len - sizeof *header - sizeof *in) {
    return false;
  }
  const auto* const data = reinterpret_cast<const uint8_t*>(in + 1);
  uint32_t put = 0;
  while (put < in->size) {
    const ssize_t done = ::pwrite(node.fd, data + put, in->size - put, in->offset + put);
    if (done > 0) {
      put += done;
    } else if (done == 0 || errno != EINTR) {
      const int error = done == 0 ? EIO : errno;
      // A short count is honest to write(2), but write-back looks only at the error
      // (fuse_writepage_end), so there a count would lose the rest without a word.
      if (put > 0 && (in->write_flags & FUSE_WRITE_CACHE) == 0) break;
      replyError(slot, header->unique, error);
      return true;
    }
  }
  auto* const head = reinterpret_cast<fuse_out_header*>(memory_ + kOut);
  auto* const body = reinterpret_cast<fuse_write_out*>(head + 1);
  head->len = sizeof *head + sizeof *body;
  head->error = 0;
  head->unique = header->unique;
  body->size = put;
  body->padding = 0;
  slot.counters[kBytesWritten] += put;
  reply(slot, head->len);
  return true;
}

}  // namespace stratafs
