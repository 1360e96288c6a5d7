#include "times.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace stratafs {

void putTime(int fd, const timespec& mtime) {
  if (mtime.tv_nsec == UTIME_OMIT) return;
  const timespec times[] = {{0, UTIME_OMIT}, mtime};
  static_cast<void>(::futimens(fd, static_cast<const timespec*>(times)));
}

HeldTime::~HeldTime() {
  ::close(fd_);
}

void HeldTime::put() {
  const std::lock_guard lock(mutex_);
  putTime(fd_, mtime_);
}

void HeldTime::set(const timespec& mtime) {
  const std::lock_guard lock(mutex_);
  mtime_ = mtime;
}

std::shared_ptr<HeldTime> Times::held(uint64_t node) const {
  if (held_.empty()) return nullptr;
  const auto found = held_.find(node);
  return found == held_.end() ? nullptr : found->second.lock();
}

timespec Times::of(uint64_t node, int fd) const {
  // While others write to the file, what it has is nobody's.
  if (const auto time = held(node)) return time->onLoop();
  struct stat now;
  return ::fstat(fd, &now) < 0 ? timespec{0, UTIME_OMIT} : now.st_mtim;
}

std::shared_ptr<HeldTime> Times::hold(uint64_t node, int fd) {
  if (auto time = held(node)) return time;
  std::erase_if(held_, [](const auto& each) { return each.second.expired(); });
  const timespec mtime = of(node, fd);
  const int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
  if (own < 0) return nullptr;
  auto time = std::make_shared<HeldTime>(own, mtime);
  held_[node] = time;
  return time;
}

void Times::set(uint64_t node, const timespec& mtime) {
  if (const auto time = held(node)) time->set(mtime);
}

}  // namespace stratafs
