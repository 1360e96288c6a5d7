#include "arena.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

namespace stratafs {

namespace {

// What an array buffer of Node 20 can hold (buffer.constants.MAX_LENGTH).
constexpr double kMaxBytes = 4294967296.0;

// The memfd, shared by the mappings that arenaGrow() makes of it.
struct Memfd {
  const int fd;
  explicit Memfd(int descriptor) : fd(descriptor) {}
  Memfd(const Memfd&) = delete;
  Memfd& operator=(const Memfd&) = delete;
  ~Memfd() { close(fd); }
};

struct Arena {
  std::shared_ptr<Memfd> file;
  void* base = MAP_FAILED;
  size_t bytes = 0;

  Arena() = default;
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;
  ~Arena() { release(); }

  void release() {
    if (base != MAP_FAILED) munmap(std::exchange(base, MAP_FAILED), bytes);
    file.reset();
  }

  // Makes the memfd where there is none yet. False with errno.
  bool map(size_t size) {
    if (!file) {
      const int fd = memfd_create("stratafs-arena", MFD_CLOEXEC);
      if (fd < 0) return false;
      file = std::make_shared<Memfd>(fd);
    }
    bytes = size;
    if (ftruncate(file->fd, static_cast<off_t>(size)) < 0) return false;
    base = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, file->fd, 0);
    return base != MAP_FAILED;
  }
};

void finalize(napi_env, void*, void* hint) {
  delete static_cast<Arena*>(hint);
}

// Tells an arena's array buffer from any other.
constexpr napi_type_tag kTag = {0x5374726174614673, 0x4172656e61000001};

// The arena behind a buffer that arena() made and arenaFree() has not freed, or null.
Arena* behind(const Napi::CallbackInfo& info) {
  bool tagged = false;
  if (info.Length() < 1 || !info[0].IsArrayBuffer() ||
      napi_check_object_type_tag(info.Env(), info[0], &kTag, &tagged) != napi_ok || !tagged) {
    return nullptr;
  }
  void* arena = nullptr;
  if (napi_unwrap(info.Env(), info[0], &arena) != napi_ok) return nullptr;
  return static_cast<Arena*>(arena)->file ? static_cast<Arena*>(arena) : nullptr;
}

Napi::Value refuse(Napi::Env env, const std::string& why) {
  Napi::Error::New(env, why).ThrowAsJavaScriptException();
  return env.Undefined();
}

// An array buffer over a mapping of `size` bytes of `file`, or of a memfd of its own.
Napi::Value create(Napi::Env env, Napi::Value size, std::shared_ptr<Memfd> file, size_t least) {
  const double bytes = size.IsNumber() ? size.As<Napi::Number>().DoubleValue() : 0;
  auto owned = std::make_unique<Arena>();
  owned->file = std::move(file);
  errno = EINVAL;
  // Never smaller than a mapping there is: touching that one behind the end would be a SIGBUS.
  if (!(bytes >= 1 && bytes <= kMaxBytes && bytes >= static_cast<double>(least)) ||
      !owned->map(static_cast<size_t>(bytes))) {
    return refuse(
        env, "cannot make an arena of " + std::to_string(bytes) + " bytes: " + strerror(errno));
  }
  napi_value buffer = nullptr;
  // The array buffer owns the arena from here on; Node finalizes it also when it cannot make it,
  // and has thrown then.
  Arena* const arena = owned.release();
  if (napi_create_external_arraybuffer(env, arena->base, arena->bytes, finalize, arena, &buffer) !=
      napi_ok) {
    return env.Undefined();
  }
  napi_wrap(env, buffer, arena, nullptr, nullptr, nullptr);
  napi_type_tag_object(env, buffer, &kTag);
  return Napi::Value(env, buffer);
}

}  // namespace

Napi::Value arena(const Napi::CallbackInfo& info) {
  return create(info.Env(), info[0], nullptr, 0);
}

Napi::Value arenaGrow(const Napi::CallbackInfo& info) {
  const Arena* const old = behind(info);
  if (old == nullptr) return refuse(info.Env(), "arenaGrow: not an arena, or freed");
  return create(info.Env(), info[1], old->file, old->bytes);
}

Napi::Value arenaFree(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Arena* const arena = behind(info);
  if (arena == nullptr) return Napi::Number::New(env, -EBADF);
  if (napi_detach_arraybuffer(env, info[0]) != napi_ok) return Napi::Number::New(env, -EBUSY);
  arena->release();
  return Napi::Number::New(env, 0);
}

Napi::Value arenaTrim(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Arena* const arena = behind(info);
  if (arena == nullptr) return Napi::Number::New(env, -EBADF);
  if (info.Length() < 3 || !info[1].IsNumber() || !info[2].IsNumber()) {
    return Napi::Number::New(env, -EINVAL);
  }
  const int64_t from = info[1].As<Napi::Number>().Int64Value();
  const int64_t to = info[2].As<Napi::Number>().Int64Value();
  if (from < 0 || to < from || static_cast<uint64_t>(to) > arena->bytes) {
    return Napi::Number::New(env, -EINVAL);
  }
  const int64_t page = sysconf(_SC_PAGESIZE);
  const int64_t first = (from + page - 1) / page * page;
  const int64_t last = to / page * page;
  if (first >= last) return Napi::Number::New(env, 0);
  char* const base = static_cast<char*>(arena->base);
  const int done = madvise(base + first, static_cast<size_t>(last - first), MADV_REMOVE);
  return Napi::Number::New(env, done < 0 ? -errno : 0);
}

}  // namespace stratafs
