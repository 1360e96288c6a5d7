#include "sync_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "bind.h"

namespace stratafs {

namespace {

// Beyond eight fsyncs at once a disk gets no faster; what waits holds a descriptor each.
constexpr size_t kThreads = 8;
constexpr size_t kWaiting = 128;

// One thread walks and starts the write-back of each file, others wait for it. An fsync that comes
// later finds its metadata in a journal that an earlier one has committed.
class TreeSync {
 public:
  explicit TreeSync(int root) : root_(root) {}

  // 0 or the first -errno.
  int32_t run() {
    pthread_t threads[kThreads];
    size_t started = 0;
    while (started < kThreads && pthread_create(&threads[started], nullptr, work, this) == 0) {
      ++started;
    }
    alone_ = started == 0;
    walk(root_);
    {
      std::lock_guard lock(mutex_);
      walked_ = true;
    }
    filled_.notify_all();
    for (size_t i = 0; i < started; ++i)
      pthread_join(threads[i], nullptr);
    return error_;
  }

 private:
  static void* work(void* self) {
    static_cast<TreeSync*>(self)->consume();
    return nullptr;
  }

  void consume() {
    std::unique_lock lock(mutex_);
    for (;;) {
      filled_.wait(lock, [this] { return !waiting_.empty() || walked_; });
      if (waiting_.empty()) return;
      const int fd = waiting_.back();
      waiting_.pop_back();
      lock.unlock();
      emptied_.notify_one();
      sync(fd);
      lock.lock();
    }
  }

  void sync(int fd) {
    if (TEMP_FAILURE_RETRY(::fsync(fd)) < 0) fail(errno);
    ::close(fd);
  }

  void fail(int error) {
    std::lock_guard lock(mutex_);
    if (error_ == 0) error_ = -error;
  }

  bool failed() {
    std::lock_guard lock(mutex_);
    return error_ != 0;
  }

  void hand(int fd) {
    if (alone_) return sync(fd);
    std::unique_lock lock(mutex_);
    emptied_.wait(lock, [this] { return waiting_.size() < kWaiting; });
    waiting_.push_back(fd);
    lock.unlock();
    filled_.notify_one();
  }

  // `fd` becomes the list's, or is handed over in the end.
  void walk(int dir) {
    const int fd = ::openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return fail(errno);
    std::vector<std::string> directories;
    if (!list(fd, directories)) {
      ::close(fd);
      return;
    }
    for (const std::string& name : directories) {
      const int below = ::openat(fd, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
      if (below < 0) {
        fail(errno);
        break;
      }
      walk(below);
      ::close(below);
    }
    hand(fd);
  }

  bool list(int fd, std::vector<std::string>& directories) {
    const auto buffer = std::make_unique<char[]>(kListing);
    for (;;) {
      const long bytes = ::syscall(SYS_getdents64, fd, buffer.get(), kListing);
      if (bytes < 0) fail(errno);
      if (bytes <= 0) return bytes == 0;
      for (long at = 0; at < bytes;) {
        const auto* const entry = reinterpret_cast<const dirent64*>(buffer.get() + at);
        at += entry->d_reclen;
        if (std::strcmp(entry->d_name, ".") == 0 || std::strcmp(entry->d_name, "..") == 0) continue;
        if (entry->d_type == DT_DIR) directories.emplace_back(entry->d_name);
        if (entry->d_type == DT_REG) file(fd, entry->d_name);
        if (entry->d_type == DT_UNKNOWN) unknown(fd, entry->d_name, directories);
      }
      if (failed()) return false;
    }
  }

  void file(int dir, const char* name) {
    // O_NONBLOCK: whatever took its place meanwhile, the open returns.
    const int fd = ::openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) return fail(errno);
    ::sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
    hand(fd);
  }

  void unknown(int dir, const char* name, std::vector<std::string>& directories) {
    struct stat st;
    if (::fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0) return fail(errno);
    if (S_ISDIR(st.st_mode)) directories.emplace_back(name);
    if (S_ISREG(st.st_mode)) file(dir, name);
  }

  static constexpr size_t kListing = 32768;

  const int root_;
  bool alone_ = false;
  std::mutex mutex_;
  std::condition_variable filled_;
  std::condition_variable emptied_;
  std::vector<int> waiting_;
  bool walked_ = false;
  int32_t error_ = 0;
};

class SyncTreeWorker : public Napi::AsyncWorker {
 public:
  SyncTreeWorker(Napi::Env env, int root)
      : AsyncWorker(env), root_(root), done_(Napi::Promise::Deferred::New(env)) {}
  Napi::Promise promise() const { return done_.Promise(); }

 protected:
  void Execute() override { result_ = TreeSync(root_).run(); }
  void OnOK() override { done_.Resolve(Napi::Number::New(Env(), result_)); }

 private:
  int root_;
  Napi::Promise::Deferred done_;
  int32_t result_ = 0;
};

Napi::Value syncTree(const Napi::CallbackInfo& info) {
  auto* const worker = new SyncTreeWorker(info.Env(), info[0].ToNumber().Int32Value());
  const Napi::Promise promise = worker->promise();
  worker->Queue();  // Deletes the worker when its promise is settled.
  return promise;
}

}  // namespace

void defineSyncTree(napi_env env, napi_value exports) {
  const napi_property_descriptor table[] = {wrapped<syncTree>("syncTree")};
  napi_define_properties(env, exports, 1, table);
}

}  // namespace stratafs
