// Operations on names.
#define _GNU_SOURCE
#include "client.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#define PATH(i) (args->word[i])
#define NUM(i) number(args, i)

static int status(int result) {
  return result < 0 ? errno : 0;
}

static char buffer[1 << 16];

// type+mode nlink uid gid rdev size mtime.ns ino
static int put_stat(const struct stat* st) {
  char text[64];
  put_octal(st->st_mode);
  put_number((long long)st->st_nlink);
  put_number(st->st_uid);
  put_number(st->st_gid);
  put_number((long long)st->st_rdev);
  put_number(st->st_size);
  snprintf(text, sizeof text, " %lld.%09ld", (long long)st->st_mtim.tv_sec, st->st_mtim.tv_nsec);
  put_raw(text);
  put_number((long long)st->st_ino);
  return 0;
}

static int run_lstat(const struct args* args) {
  struct stat st;
  return lstat(PATH(0), &st) < 0 ? errno : put_stat(&st);
}
static int run_stat(const struct args* args) {
  struct stat st;
  return stat(PATH(0), &st) < 0 ? errno : put_stat(&st);
}
static int run_fstat(const struct args* args) {
  struct stat st;
  return fstat(slot_fd(args, 0), &st) < 0 ? errno : put_stat(&st);
}
// statx PATH -> mask has btime (0/1), btime.ns, ctime.ns, atime.ns, blocks
static int run_statx(const struct args* args) {
  struct statx sx;
  char text[160];
  if (statx(AT_FDCWD, PATH(0), AT_SYMLINK_NOFOLLOW, STATX_ALL | STATX_BTIME, &sx) < 0) return errno;
  snprintf(text, sizeof text, " %d %lld.%09u %lld.%09u %lld.%09u %llu",
           (sx.stx_mask & STATX_BTIME) != 0, (long long)sx.stx_btime.tv_sec, sx.stx_btime.tv_nsec,
           (long long)sx.stx_ctime.tv_sec, sx.stx_ctime.tv_nsec, (long long)sx.stx_atime.tv_sec,
           sx.stx_atime.tv_nsec, (unsigned long long)sx.stx_blocks);
  put_raw(text);
  return 0;
}
static int run_mkdir(const struct args* args) {
  return status(mkdir(PATH(0), (mode_t)NUM(1)));
}
static int run_rmdir(const struct args* args) {
  return status(rmdir(PATH(0)));
}
static int run_unlink(const struct args* args) {
  return status(unlink(PATH(0)));
}
static int run_rename(const struct args* args) {
  return status(renameat2(AT_FDCWD, PATH(0), AT_FDCWD, PATH(1), (unsigned)NUM(2)));
}
static int run_link(const struct args* args) {
  return status(linkat(AT_FDCWD, PATH(0), AT_FDCWD, PATH(1), 0));
}
// Gives an O_TMPFILE file a name.
static int run_linkfd(const struct args* args) {
  char self[64];
  snprintf(self, sizeof self, "/proc/self/fd/%d", slot_fd(args, 0));
  return status(linkat(AT_FDCWD, self, AT_FDCWD, PATH(1), AT_SYMLINK_FOLLOW));
}
static int run_symlink(const struct args* args) {
  return status(symlink(PATH(0), PATH(1)));
}
static int run_readlink(const struct args* args) {
  ssize_t n = readlink(PATH(0), buffer, sizeof buffer);
  if (n < 0) return errno;
  put_word(buffer, (size_t)n);
  return 0;
}
static int run_mknod(const struct args* args) {
  return status(mknod(PATH(0), (mode_t)NUM(1), makedev((unsigned)NUM(2), (unsigned)NUM(3))));
}
static int run_chmod(const struct args* args) {
  return status(chmod(PATH(0), (mode_t)NUM(1)));
}
static int run_chown(const struct args* args) {
  return status(lchown(PATH(0), (uid_t)NUM(1), (gid_t)NUM(2)));
}
static int run_fchmod(const struct args* args) {
  return status(fchmod(slot_fd(args, 0), (mode_t)NUM(1)));
}
static int run_fchown(const struct args* args) {
  return status(fchown(slot_fd(args, 0), (uid_t)NUM(1), (gid_t)NUM(2)));
}
static void times(const struct args* args, struct timespec both[2]) {
  both[0] = (struct timespec){.tv_sec = NUM(1), .tv_nsec = (long)NUM(2)};
  both[1] = (struct timespec){.tv_sec = NUM(3), .tv_nsec = (long)NUM(4)};
}
static int run_utimens(const struct args* args) {
  struct timespec both[2];
  times(args, both);
  return status(utimensat(AT_FDCWD, PATH(0), both, AT_SYMLINK_NOFOLLOW));
}
static int run_futimens(const struct args* args) {
  struct timespec both[2];
  times(args, both);
  return status(futimens(slot_fd(args, 0), both));
}
static int run_truncate(const struct args* args) {
  return status(truncate(PATH(0), NUM(1)));
}
static int run_access(const struct args* args) {
  return status(faccessat(AT_FDCWD, PATH(0), (int)NUM(1), AT_EACCESS));
}

static int run_setxattr(const struct args* args) {
  return status(lsetxattr(PATH(0), PATH(1), PATH(2), args->length[2], (int)NUM(3)));
}
static int run_removexattr(const struct args* args) {
  return status(lremovexattr(PATH(0), PATH(1)));
}
static int put_value(ssize_t length) {
  if (length < 0) return errno;
  put_word(buffer, (size_t)length);
  return 0;
}
// getxattr PATH KEY [SIZE]: with a size the buffer is that small, and the answer is the length.
static int run_getxattr(const struct args* args) {
  if (args->count == 2) return put_value(lgetxattr(PATH(0), PATH(1), buffer, sizeof buffer));
  ssize_t length = lgetxattr(PATH(0), PATH(1), buffer, (size_t)NUM(2));
  if (length < 0) return errno;
  put_number(length);
  return 0;
}
static int run_fgetxattr(const struct args* args) {
  return put_value(fgetxattr(slot_fd(args, 0), PATH(1), buffer, sizeof buffer));
}
static int run_fsetxattr(const struct args* args) {
  return status(fsetxattr(slot_fd(args, 0), PATH(1), PATH(2), args->length[2], (int)NUM(3)));
}
// listsize PATH SIZE: the length of the list, in a buffer of that size.
static int run_listsize(const struct args* args) {
  ssize_t n = llistxattr(PATH(0), buffer, (size_t)NUM(1));
  if (n < 0) return errno;
  put_number(n);
  return 0;
}
static int run_listxattr(const struct args* args) {
  ssize_t n = llistxattr(PATH(0), buffer, sizeof buffer);
  if (n < 0) return errno;
  for (char* name = buffer; name < buffer + n; name += strlen(name) + 1)
    put_word(name, strlen(name));
  return 0;
}
static int run_statfs(const struct args* args) {
  struct statfs fs;
  if (statfs(PATH(0), &fs) < 0) return errno;
  put_number((long long)fs.f_bsize);
  put_number((long long)fs.f_blocks);
  put_number((long long)fs.f_files);
  put_number((long long)fs.f_namelen);
  put_number((long long)fs.f_bavail);
  return 0;
}

// Whose rights the next operations have; the capabilities go with root and come back with it.
static int run_ident(const struct args* args) {
  if (seteuid(0) < 0 || setegid((gid_t)NUM(1)) < 0) return errno;
  return status(seteuid((uid_t)NUM(0)));
}
static int run_umask(const struct args* args) {
  umask((mode_t)NUM(0));
  return 0;
}
// Runs the program PATH without arguments and answers its exit status.
static int run_exec(const struct args* args) {
  int state = 0;
  pid_t pid = fork();
  if (pid < 0) return errno;
  if (pid == 0) {
    char* argv[] = {PATH(0), NULL};
    char* none[] = {NULL};
    execve(PATH(0), argv, none);
    _exit(errno == EACCES ? 126 : 127);
  }
  if (waitpid(pid, &state, 0) < 0) return errno;
  put_number(WIFEXITED(state) ? WEXITSTATUS(state) : -WTERMSIG(state));
  return 0;
}

const struct command name_commands[] = {
    {"lstat", 1, run_lstat},         {"stat", 1, run_stat},
    {"fstat", 1, run_fstat},         {"statx", 1, run_statx},
    {"mkdir", 2, run_mkdir},         {"rmdir", 1, run_rmdir},
    {"unlink", 1, run_unlink},       {"rename", 2, run_rename},
    {"link", 2, run_link},           {"linkfd", 2, run_linkfd},
    {"symlink", 2, run_symlink},     {"readlink", 1, run_readlink},
    {"mknod", 4, run_mknod},         {"chmod", 2, run_chmod},
    {"chown", 3, run_chown},         {"fchmod", 2, run_fchmod},
    {"fchown", 3, run_fchown},       {"utimens", 5, run_utimens},
    {"futimens", 5, run_futimens},   {"truncate", 2, run_truncate},
    {"access", 2, run_access},       {"setxattr", 3, run_setxattr},
    {"getxattr", 2, run_getxattr},   {"fgetxattr", 2, run_fgetxattr},
    {"fsetxattr", 3, run_fsetxattr}, {"removexattr", 2, run_removexattr},
    {"listxattr", 1, run_listxattr}, {"statfs", 1, run_statfs},
    {"ident", 2, run_ident},         {"umask", 1, run_umask},
    {"exec", 1, run_exec},           {"listsize", 2, run_listsize},
    {NULL, 0, NULL},
};
