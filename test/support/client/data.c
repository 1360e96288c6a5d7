// Operations on open files and mappings.
#define _GNU_SOURCE
#include "client.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define NUM(i) number(args, i)

// 0 stands for "closed", so that the table needs no initialising: descriptors are kept plus one.
static int files[SLOTS];
static struct {
  char* at;
  size_t length;
} maps[SLOTS];
// Aligned for O_DIRECT.
static char buffer[IO_MAX] __attribute__((aligned(4096)));

static int status(int result) {
  return result < 0 ? errno : 0;
}

int slot_fd(const struct args* args, int index) {
  long long slot = NUM(index);
  return slot >= 0 && slot < SLOTS ? files[slot] - 1 : -1;
}

int slot_put(long long slot, int fd) {
  if (slot < 0 || slot >= SLOTS) {
    close(fd);
    return EBADF;
  }
  if (files[slot] != 0) close(files[slot] - 1);
  files[slot] = fd + 1;
  return 0;
}

static int run_open(const struct args* args) {
  long long slot = NUM(0);
  if (slot < 0 || slot >= SLOTS) return EBADF;
  int fd = open(args->word[1], (int)NUM(2) | O_CLOEXEC, (mode_t)NUM(3));
  return fd < 0 ? errno : slot_put(slot, fd);
}
static int run_close(const struct args* args) {
  int fd = slot_fd(args, 0);
  if (fd < 0) return EBADF;
  files[NUM(0)] = 0;
  return status(close(fd));
}
// Short data is answered itself, long data as its hash.
static void put_data(const char* bytes, size_t length) {
  put_number((long long)length);
  if (length <= 256)
    put_word(bytes, length);
  else
    put_hash(bytes, length);
}
static size_t bounded(long long length) {
  return length < 0 ? 0 : length > IO_MAX ? IO_MAX : (size_t)length;
}
// read SLOT OFFSET LENGTH; an offset below zero means the file's position.
static int run_read(const struct args* args) {
  int fd = slot_fd(args, 0);
  size_t length = bounded(NUM(2));
  ssize_t n = NUM(1) < 0 ? read(fd, buffer, length) : pread(fd, buffer, length, NUM(1));
  if (n < 0) return errno;
  put_data(buffer, (size_t)n);
  return 0;
}
static int put_count(ssize_t n) {
  if (n < 0) return errno;
  put_number((long long)n);
  return 0;
}
static ssize_t write_at(int fd, long long offset, const char* bytes, size_t length) {
  return offset < 0 ? write(fd, bytes, length) : pwrite(fd, bytes, length, offset);
}
static int run_write(const struct args* args) {
  return put_count(write_at(slot_fd(args, 0), NUM(1), args->word[2], args->length[2]));
}
// fill SLOT OFFSET LENGTH SEED: bytes that the seed determines.
static int run_fill(const struct args* args) {
  size_t length = bounded(NUM(2));
  uint64_t state = (uint64_t)NUM(3) * 0x9e3779b97f4a7c15u + 1;
  for (size_t i = 0; i < length; i++) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    buffer[i] = (char)(state >> 56);
  }
  return put_count(write_at(slot_fd(args, 0), NUM(1), buffer, length));
}
static int run_ftruncate(const struct args* args) {
  return status(ftruncate(slot_fd(args, 0), NUM(1)));
}
static int run_fallocate(const struct args* args) {
  return status(fallocate(slot_fd(args, 0), (int)NUM(1), NUM(2), NUM(3)));
}
static int run_lseek(const struct args* args) {
  off_t at = lseek(slot_fd(args, 0), NUM(1), (int)NUM(2));
  if (at < 0) return errno;
  put_number(at);
  return 0;
}
// copyrange IN OFFSET OUT OFFSET LENGTH
static int run_copyrange(const struct args* args) {
  off_t from = NUM(1), to = NUM(3);
  return put_count(
      copy_file_range(slot_fd(args, 0), &from, slot_fd(args, 2), &to, (size_t)NUM(4), 0));
}
static int run_fsync(const struct args* args) {
  return status(fsync(slot_fd(args, 0)));
}
static int run_fdatasync(const struct args* args) {
  return status(fdatasync(slot_fd(args, 0)));
}
static int run_syncfs(const struct args* args) {
  return status(syncfs(slot_fd(args, 0)));
}
static int run_getflags(const struct args* args) {
  int flags = 0;
  if (ioctl(slot_fd(args, 0), FS_IOC_GETFLAGS, &flags) < 0) return errno;
  put_number(flags);
  return 0;
}
static int run_setflags(const struct args* args) {
  int flags = (int)NUM(1);
  return status(ioctl(slot_fd(args, 0), FS_IOC_SETFLAGS, &flags));
}
// ioctl SLOT REQUEST: any request, with a zeroed argument.
static int run_ioctl(const struct args* args) {
  char zero[4096] = {0};
  return status(ioctl(slot_fd(args, 0), (unsigned long)NUM(1), zero));
}

// mmap MAP SLOT LENGTH PROT FLAGS
static int run_mmap(const struct args* args) {
  long long map = NUM(0);
  if (map < 0 || map >= SLOTS || maps[map].at != NULL) return EBADF;
  size_t length = (size_t)NUM(2);
  void* at = mmap(NULL, length, (int)NUM(3), (int)NUM(4), slot_fd(args, 1), 0);
  if (at == MAP_FAILED) return errno;
  maps[map].at = at;
  maps[map].length = length;
  return 0;
}
static char* mapped(const struct args* args, size_t length) {
  long long map = NUM(0), at = NUM(1);
  if (map < 0 || map >= SLOTS || maps[map].at == NULL || at < 0) return NULL;
  return (size_t)at + length <= maps[map].length ? maps[map].at + at : NULL;
}
static int run_mread(const struct args* args) {
  size_t length = bounded(NUM(2));
  const char* from = mapped(args, length);
  if (from == NULL) return EFAULT;
  put_data(from, length);
  return 0;
}
static int run_mwrite(const struct args* args) {
  char* to = mapped(args, args->length[2]);
  if (to == NULL) return EFAULT;
  memcpy(to, args->word[2], args->length[2]);
  return 0;
}
static int run_msync(const struct args* args) {
  char* at = mapped(args, 0);
  return at == NULL ? EFAULT : status(msync(at, maps[NUM(0)].length, MS_SYNC));
}
// resident MAP 0: how many of its pages are in memory.
static int run_resident(const struct args* args) {
  char* at = mapped(args, 0);
  if (at == NULL) return EFAULT;
  size_t pages = maps[NUM(0)].length / 4096;
  unsigned char* found = malloc(pages);
  if (found == NULL) return ENOMEM;
  int error = status(mincore(at, pages * 4096, found));
  long long count = 0;
  for (size_t i = 0; error == 0 && i < pages; i++) count += found[i] & 1;
  free(found);
  if (error == 0) put_number(count);
  return error;
}
static int run_munmap(const struct args* args) {
  char* at = mapped(args, 0);
  if (at == NULL) return EFAULT;
  maps[NUM(0)].at = NULL;
  return status(munmap(at, maps[NUM(0)].length));
}
static int drop(const char* what) {
  int fd = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return errno;
  int error = write(fd, what, 1) == 1 ? 0 : errno;
  close(fd);
  return error;
}
static int run_dropcaches(const struct args* args) {
  (void)args;
  sync();
  return drop("3");
}
// The kernel forgets names and inodes that nobody has open; twice, as a child goes before its
// parent.
static int run_forget(const struct args* args) {
  (void)args;
  uid_t was = geteuid();
  if (seteuid(0) < 0) return errno;
  int error = drop("2");
  if (error == 0) error = drop("2");
  return seteuid(was) < 0 ? errno : error;
}

const struct command data_commands[] = {
    {"open", 4, run_open},
    {"close", 1, run_close},
    {"read", 3, run_read},
    {"write", 3, run_write},
    {"fill", 4, run_fill},
    {"ftruncate", 2, run_ftruncate},
    {"fallocate", 4, run_fallocate},
    {"lseek", 3, run_lseek},
    {"copyrange", 5, run_copyrange},
    {"fsync", 1, run_fsync},
    {"fdatasync", 1, run_fdatasync},
    {"syncfs", 1, run_syncfs},
    {"getflags", 1, run_getflags},
    {"setflags", 2, run_setflags},
    {"ioctl", 2, run_ioctl},
    {"mmap", 5, run_mmap},
    {"mread", 3, run_mread},
    {"mwrite", 3, run_mwrite},
    {"msync", 2, run_msync},
    {"resident", 2, run_resident},
    {"munmap", 2, run_munmap},
    {"dropcaches", 0, run_dropcaches},
    {"forget", 0, run_forget},
    {NULL, 0, NULL},
};
