// Random reads, writes, truncations, mappings and holes on one file, checked against a copy of its
// bytes in memory after every step: data is never lost, never stale and never from elsewhere.
#define _GNU_SOURCE
#include "client.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAPPED = 1, DROP = 2, EARLY = 4 };
enum { LIMIT = 256 * 1024 };

struct run {
  const char* path;
  int fd;     // O_RDWR
  int early;  // O_RDONLY, opened before the first change, or -1
  unsigned flags;
  uint64_t state;
  size_t size;
  char good[LIMIT];
  char temp[LIMIT];
  char log[16][80];
  int step;
  char failure[512];
};

static struct run run;

static uint32_t rnd(uint32_t below) {
  run.state = run.state * 6364136223846793005u + 1442695040888963407u;
  return below == 0 ? 0 : (uint32_t)((run.state >> 33) % below);
}

static void note(const char* what, size_t at, size_t length) {
  snprintf(run.log[run.step % 16], sizeof run.log[0], "%d %s %zu+%zu (size %zu)", run.step, what,
           at, length, run.size);
}

static bool fail(const char* what) {
  if (run.failure[0] == 0)
    snprintf(run.failure, sizeof run.failure, "step %d: %s (errno %d %s)", run.step, what, errno,
             strerror(errno));
  return false;
}

static bool same(const char* bytes, size_t at, size_t length, const char* how) {
  for (size_t i = 0; i < length; i++)
    if (bytes[i] != run.good[at + i]) {
      char text[128];
      snprintf(text, sizeof text, "%s: byte %zu is %02x, should be %02x", how, at + i,
               (unsigned char)bytes[i], (unsigned char)run.good[at + i]);
      errno = 0;
      return fail(text);
    }
  return true;
}

static void range(size_t* at, size_t* length, size_t limit) {
  *at = rnd((uint32_t)limit);
  *length = 1 + rnd(rnd(4) == 0 ? 65536 : 6000);
  if (*at + *length > limit) *length = limit - *at;
}

static void grow(size_t end) {
  if (end > run.size) run.size = end;
}

static bool do_read(void) {
  size_t at, length;
  if (run.size == 0) return true;
  range(&at, &length, run.size);
  bool early = run.early >= 0 && rnd(2) == 0;
  note(early ? "read by the early descriptor" : "read", at, length);
  ssize_t n = pread(early ? run.early : run.fd, run.temp, length, (off_t)at);
  if (n != (ssize_t)length) return fail(n < 0 ? "read" : "short read");
  return same(run.temp, at, length, early ? "early descriptor" : "read");
}

static bool do_write(void) {
  size_t at, length;
  range(&at, &length, LIMIT);
  note("write", at, length);
  for (size_t i = 0; i < length; i++)
    run.temp[i] = (char)rnd(256);
  if (pwrite(run.fd, run.temp, length, (off_t)at) != (ssize_t)length) return fail("write");
  memcpy(run.good + at, run.temp, length);
  grow(at + length);
  return true;
}

static bool do_truncate(void) {
  size_t size = rnd(8) == 0 ? 0 : rnd(LIMIT);
  note("truncate", 0, size);
  if (ftruncate(run.fd, (off_t)size) < 0) return fail("ftruncate");
  if (size < run.size) memset(run.good + size, 0, run.size - size);
  run.size = size;
  return true;
}

static bool do_map_read(void) {
  size_t at, length;
  if (run.size == 0) return true;
  range(&at, &length, run.size);
  bool early = run.early >= 0 && rnd(2) == 0;
  note("mapped read", at, length);
  char* map = mmap(NULL, run.size, PROT_READ, MAP_SHARED, early ? run.early : run.fd, 0);
  if (map == MAP_FAILED) return fail("mmap");
  bool good = same(map + at, at, length, early ? "early mapping" : "mapping");
  munmap(map, run.size);
  return good;
}

static bool do_map_write(void) {
  size_t at, length;
  if (run.size == 0) return true;
  range(&at, &length, run.size);
  note("mapped write", at, length);
  char* map = mmap(NULL, run.size, PROT_READ | PROT_WRITE, MAP_SHARED, run.fd, 0);
  if (map == MAP_FAILED) return fail("mmap for writing");
  for (size_t i = 0; i < length; i++)
    run.good[at + i] = map[at + i] = (char)rnd(256);
  bool good = rnd(2) == 0 || msync(map, run.size, MS_SYNC) == 0;
  munmap(map, run.size);
  return good || fail("msync");
}

static bool do_hole(void) {
  size_t at, length;
  if (run.size == 0) return true;
  range(&at, &length, run.size);
  bool zero = rnd(3) == 0;
  note(zero ? "zero range" : "punch hole", at, length);
  int mode = (zero ? FALLOC_FL_ZERO_RANGE : FALLOC_FL_PUNCH_HOLE) | FALLOC_FL_KEEP_SIZE;
  if (fallocate(run.fd, mode, (off_t)at, (off_t)length) < 0)
    return errno == EOPNOTSUPP || fail("fallocate of a hole");
  memset(run.good + at, 0, length);
  return true;
}

static bool do_allocate(void) {
  size_t at, length;
  range(&at, &length, LIMIT);
  bool keep = rnd(2) == 0;
  note(keep ? "allocate, size kept" : "allocate", at, length);
  if (fallocate(run.fd, keep ? FALLOC_FL_KEEP_SIZE : 0, (off_t)at, (off_t)length) < 0)
    return errno == EOPNOTSUPP || fail("fallocate");
  if (!keep) grow(at + length);
  return true;
}

static bool do_copy(void) {
  size_t at, length;
  if (run.size < 2) return true;
  range(&at, &length, run.size / 2);
  size_t to_limit = LIMIT - length, to = at + length + rnd((uint32_t)(to_limit - at - length));
  note("copy_file_range", to, length);
  off_t in = (off_t)at, out = (off_t)to;
  ssize_t n = copy_file_range(run.fd, &in, run.fd, &out, length, 0);
  if (n < 0) return fail("copy_file_range");
  memcpy(run.good + to, run.good + at, (size_t)n);
  if (n > 0) grow(to + (size_t)n);
  return true;
}

static bool do_sync(void) {
  note("fsync", 0, 0);
  return (rnd(2) == 0 ? fsync(run.fd) : fdatasync(run.fd)) == 0 || fail("fsync");
}

static bool do_reopen(void) {
  note("close and open", 0, 0);
  if (close(run.fd) < 0) return fail("close");
  run.fd = open(run.path, O_RDWR | O_CLOEXEC);
  return run.fd >= 0 || fail("open");
}

static bool do_drop(void) {
  note("drop caches", 0, 0);
  if (fsync(run.fd) < 0) return fail("fsync");
  if (posix_fadvise(run.fd, 0, 0, POSIX_FADV_DONTNEED) != 0) return fail("fadvise");
  if ((run.flags & DROP) == 0 || rnd(8) != 0) return true;
  int fd = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);
  if (fd < 0 || write(fd, "3", 1) != 1) return fail("drop_caches");
  close(fd);
  return true;
}

static bool check_all(void) {
  struct stat st;
  if (fstat(run.fd, &st) < 0) return fail("fstat");
  if ((size_t)st.st_size != run.size) {
    char text[96];
    snprintf(text, sizeof text, "size is %lld, should be %zu", (long long)st.st_size, run.size);
    return fail(text);
  }
  ssize_t n = pread(run.fd, run.temp, LIMIT, 0);
  if (n != (ssize_t)run.size) return fail("read of the whole file");
  return same(run.temp, 0, run.size, "whole file");
}

static bool step(void) {
  uint32_t dice = rnd(100);
  if (dice < 22) return do_read();
  if (dice < 44) return do_write();
  if (dice < 52) return do_truncate();
  if (dice < 62) return (run.flags & MAPPED) == 0 ? do_read() : do_map_read();
  if (dice < 74) return (run.flags & MAPPED) == 0 ? do_write() : do_map_write();
  if (dice < 80) return do_hole();
  if (dice < 83) return do_allocate();
  if (dice < 87) return do_copy();
  if (dice < 91) return do_sync();
  if (dice < 95) return do_reopen();
  if (dice < 97) return do_drop();
  return check_all();
}

static void put_failure(void) {
  put_word(run.failure, strlen(run.failure));
  for (int i = run.step > 15 ? run.step - 15 : 0; i <= run.step; i++)
    put_word(run.log[i % 16], strlen(run.log[i % 16]));
}

// fsx PATH STEPS SEED FLAGS -> nothing, or what failed and the last steps
static int run_fsx(const struct args* args) {
  memset(&run, 0, sizeof run);
  run.path = args->word[0];
  run.state = (uint64_t)number(args, 2) * 2654435761u + 12345;
  run.flags = (unsigned)number(args, 3);
  run.early = (run.flags & EARLY) == 0 ? -1 : open(run.path, O_RDONLY | O_CLOEXEC);
  run.fd = open(run.path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (run.fd < 0) return errno;
  ssize_t n = pread(run.fd, run.good, LIMIT, 0);
  bool good = n >= 0 || fail("first read");
  run.size = n < 0 ? 0 : (size_t)n;
  for (; good && run.step < number(args, 1); run.step++)
    good = step();
  good = good && check_all() && do_reopen() && check_all();
  if (run.fd >= 0 && close(run.fd) < 0) good = fail("last close");
  if (run.early >= 0) close(run.early);
  if (!good) put_failure();
  return 0;
}

const struct command fsx_commands[] = {{"fsx", 4, run_fsx}, {NULL, 0, NULL}};
