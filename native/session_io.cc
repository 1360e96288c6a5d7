// Writes replies, and serves the requests that the session answers itself.
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "fuse_abi.h"
#include "memory.h"
#include "requests.h"
#include "session.h"

namespace stratafs {

namespace {

// Of a READ this large the pool takes what would have to wait for the disk. A smaller one waits for
// one block at most, which costs about as much as handing it over.
constexpr uint32_t kLargeRead = 32 << 10;
// A WRITE only waits when the kernel has too many dirty pages (balance_dirty_pages) or the disk is
// written through, so those of this size go to the pool after one that took long, for a while.
constexpr uint32_t kLargeWrite = 32 << 10;
constexpr int64_t kSlowWriteNs = 5'000'000;
constexpr int64_t kWriteApartNs = 1'000'000'000;

enum class Kept { kAll, kNotAll, kUnknown };

// Reads what is in the page cache, if that is all there is to be read; `got` bytes.
Kept readKept(int fd, uint8_t* to, uint32_t size, int64_t offset, uint32_t& got) {
  got = 0;
  while (got < size) {
    const iovec part = {to + got, size - got};
    const ssize_t done = ::preadv2(fd, &part, 1, offset + got, RWF_NOWAIT);
    if (done == 0) break;
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) return errno == EAGAIN ? Kept::kNotAll : Kept::kUnknown;
    got += done;
  }
  return Kept::kAll;
}

}  // namespace

void Session::replyError(Slot& slot, uint64_t unique, int error) {
  const int32_t failed = postCode(slot.fd, unique, error);
  if (failed != 0) sendError_ = failed;
}

// A reply that the kernel refuses must not leave its caller hanging: it gets EIO instead.
void Session::reply(Slot& slot, uint32_t length) {
  const uint8_t* const out = memory_ + kOut;
  const int32_t done = length <= kOutSize ? post(slot.fd, out, length) : -EINVAL;
  if (done == 0 || done == -ENOENT) return;
  sendError_ = -done;
  replyError(slot, reinterpret_cast<const fuse_out_header*>(out)->unique, EIO);
}

int32_t Session::send(int32_t slot, const uint8_t* message, uint32_t length) {
  Slot* const s = at(slot);
  if (s == nullptr || s->ended) return -EBADF;
  const int32_t done = post(s->fd, message, length);
  fuse_out_header header;
  if (length < sizeof header) return done;
  std::memcpy(&header, message, sizeof header);
  const auto* const request = reinterpret_cast<const fuse_in_header*>(memory_ + kIn);
  if (at_ == slot && header.unique == request->unique) settle();
  if (done == 0 || done == -ENOENT || header.unique == 0) return done;  // 0: a notification.
  sendError_ = -done;
  replyError(*s, header.unique, EIO);
  return done;
}

bool Session::serve(int32_t index) {
  const auto* const header = reinterpret_cast<const fuse_in_header*>(memory_ + kIn);
  if (header->opcode == FUSE_LISTXATTR || header->opcode == FUSE_GETXATTR) {
    return serveBare(slots_[index]);
  }
  if (header->opcode != FUSE_READ && header->opcode != FUSE_WRITE) return false;
  Backing* const node = backing(index, header->nodeid);
  if (node == nullptr || node->fd < 0) return false;
  return header->opcode == FUSE_READ ? serveRead(index, *node)
                                     : node->writable && serveWrite(index, *node);
}

// Whoever compares trees, or packs one, asks this of each object (`podman diff`, tar --xattrs).
bool Session::serveBare(Slot& slot) {
  const auto* const header = reinterpret_cast<const fuse_in_header*>(memory_ + kIn);
  const auto* const in = reinterpret_cast<const fuse_getxattr_in*>(header + 1);
  if (header->nodeid >= slot.bareCount || slot.bare[header->nodeid] == 0) return false;
  if (header->len < sizeof *header + sizeof *in) return false;
  if (header->opcode == FUSE_GETXATTR) {
    constexpr char kCapability[] = "security.capability";
    if (header->len != sizeof *header + sizeof *in + sizeof kCapability) return false;
    if (std::memcmp(in + 1, kCapability, sizeof kCapability) != 0) return false;
    replyError(slot, header->unique, ENODATA);
    return true;
  }
  struct {
    fuse_out_header head;
    fuse_getxattr_out body;
  } out = {};
  const size_t length = in->size == 0 ? sizeof out : sizeof out.head;
  const int32_t failed = postReply(slot.fd, reinterpret_cast<uint8_t*>(&out),
                                   static_cast<uint32_t>(length), header->unique);
  if (failed != 0) sendError_ = failed;
  return true;
}

bool Session::serveRead(int32_t index, Backing& node) {
  Slot& slot = slots_[index];
  const auto* const header = reinterpret_cast<const fuse_in_header*>(memory_ + kIn);
  const auto* const in = reinterpret_cast<const fuse_read_in*>(header + 1);
  if (header->len < sizeof *header + sizeof *in || in->size > kMaxIo) return false;
  const int64_t offset = static_cast<int64_t>(in->offset);
  uint8_t* const out = memory_ + kOut;
  uint8_t* const body = out + sizeof(fuse_out_header);
  uint32_t kept = 0;
  int64_t got = -1;
  if (in->size >= kLargeRead && !node.cannotTell) {
    switch (readKept(node.fd, body, in->size, offset, kept)) {
      case Kept::kAll:
        got = kept;
        break;
      case Kept::kNotAll:
        if (poolRead(index, node.fd, in->size, offset)) return true;
        break;
      case Kept::kUnknown:  // EOPNOTSUPP, or an error that the pread below meets again.
        node.cannotTell = true;
    }
  }
  if (got < 0) got = readAll(node.fd, body, in->size, offset);
  if (got < 0) {
    replyError(slot, header->unique, static_cast<int>(-got));
    return true;
  }
  slot.counters[kBytesRead] += static_cast<double>(got);
  const uint32_t length = static_cast<uint32_t>(sizeof(fuse_out_header) + got);
  const int32_t failed = postReply(slot.fd, out, length, header->unique);
  if (failed != 0) sendError_ = failed;
  return true;
}

bool Session::serveWrite(int32_t index, const Backing& node) {
  Slot& slot = slots_[index];
  const auto* const header = reinterpret_cast<const fuse_in_header*>(memory_ + kIn);
  const auto* const in = reinterpret_cast<const fuse_write_in*>(header + 1);
  if (header->len < sizeof *header + sizeof *in || (in->write_flags & FUSE_WRITE_KILL_SUIDGID) ||
      in->size != header->len - sizeof *header - sizeof *in) {
    return false;
  }
  const auto* const data = reinterpret_cast<const uint8_t*>(in + 1);
  const int64_t offset = static_cast<int64_t>(in->offset);
  const bool cached = (in->write_flags & FUSE_WRITE_CACHE) != 0;
  const bool large = in->size >= kLargeWrite;
  if (large && begun_ < slowUntil_ && poolWrite(index, node.fd, data, in->size, offset, cached)) {
    return true;
  }
  timespec mtime;
  if (slot.keepsTimes) mtime = slot.times.of(header->nodeid, node.fd);
  const int64_t put = writeAll(node.fd, data, in->size, offset, cached);
  if (slot.keepsTimes) putTime(node.fd, mtime);
  if (large) {
    clock_ = monotonicNs();
    if (clock_ - begun_ >= kSlowWriteNs) slowUntil_ = clock_ + kWriteApartNs;
  }
  // Blocks may be on their way that it has to wait for (space.h), which only the engine can do.
  if (put == -ENOSPC || put == -EDQUOT) return false;
  if (put < 0) {
    replyError(slot, header->unique, static_cast<int>(-put));
    return true;
  }
  uint8_t* const out = memory_ + kOut;
  auto* const body = reinterpret_cast<fuse_write_out*>(out + sizeof(fuse_out_header));
  body->size = static_cast<uint32_t>(put);
  body->padding = 0;
  slot.counters[kBytesWritten] += static_cast<double>(put);
  const uint32_t length = sizeof(fuse_out_header) + sizeof *body;
  const int32_t failed = postReply(slot.fd, out, length, header->unique);
  if (failed != 0) sendError_ = failed;
  return true;
}

}  // namespace stratafs
