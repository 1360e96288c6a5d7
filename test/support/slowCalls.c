/*
 * Preloaded into a host: a call waits while the file $STRATAFS_GATE/CALL is there (30 s at most), and says
 * so in $STRATAFS_GATE/seen. CALL: ftruncate, fallocate, fstatfs, and close, of a removed regular file that
 * was opened with O_PATH: the one that is kept until all others are closed.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define NEXT(name) ((typeof(&name))dlsym(RTLD_NEXT, #name))

static int held(const char* call, char* path, size_t size) {
  const char* gate = getenv("STRATAFS_GATE");
  if (gate == NULL) return 0;
  snprintf(path, size, "%s/%s", gate, call);
  return access(path, F_OK) == 0;
}

static void pass(const char* call) {
  char path[512], seen[512], line[64];
  if (!held(call, path, sizeof path)) return;
  snprintf(seen, sizeof seen, "%s/seen", getenv("STRATAFS_GATE"));
  int fd = open(seen, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  int length = snprintf(line, sizeof line, "%s\n", call);
  if (write(fd, line, length) != length) abort();
  NEXT(close)(fd);
  for (int i = 0; i < 6000 && access(path, F_OK) == 0; i++) usleep(5000);
}

int ftruncate(int fd, off_t size) {
  pass("ftruncate");
  return NEXT(ftruncate)(fd, size);
}

int ftruncate64(int fd, off64_t size) {
  pass("ftruncate");
  return NEXT(ftruncate64)(fd, size);
}

int fallocate(int fd, int mode, off_t offset, off_t size) {
  pass("fallocate");
  return NEXT(fallocate)(fd, mode, offset, size);
}

int fallocate64(int fd, int mode, off64_t offset, off64_t size) {
  pass("fallocate");
  return NEXT(fallocate64)(fd, mode, offset, size);
}

int fstatfs(int fd, struct statfs* info) {
  pass("fstatfs");
  return NEXT(fstatfs)(fd, info);
}

int fstatfs64(int fd, struct statfs64* info) {
  pass("fstatfs");
  return NEXT(fstatfs64)(fd, info);
}

int close(int fd) {
  char path[512];
  struct stat info;
  if (held("close", path, sizeof path) && fstat(fd, &info) == 0 && S_ISREG(info.st_mode) &&
      info.st_nlink == 0 && (fcntl(fd, F_GETFL) & O_PATH) != 0)
    pass("close");
  return NEXT(close)(fd);
}
