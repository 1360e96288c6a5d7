// Locks, and descriptors opened again.
#define _GNU_SOURCE
#include "client.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#define NUM(i) number(args, i)

// reopen SLOT FROM FLAGS: opens the file of slot FROM once more, by /proc/self/fd.
static int run_reopen(const struct args* args) {
  char path[32];
  snprintf(path, sizeof path, "/proc/self/fd/%d", slot_fd(args, 1));
  int fd = open(path, (int)NUM(2) | O_CLOEXEC);
  if (fd < 0) return errno;
  return slot_put(NUM(0), fd);
}
// fexec SLOT: runs the program that is open there and answers its exit status.
static int run_fexec(const struct args* args) {
  int fd = slot_fd(args, 0), state = 0;
  pid_t pid = fork();
  if (pid < 0) return errno;
  if (pid == 0) {
    char* argv[] = {"program", NULL};
    char* none[] = {NULL};
    execveat(fd, "", argv, none, AT_EMPTY_PATH);
    _exit(errno == EACCES ? 126 : 127);
  }
  if (waitpid(pid, &state, 0) < 0) return errno;
  put_number(WIFEXITED(state) ? WEXITSTATUS(state) : -WTERMSIG(state));
  return 0;
}
// flock SLOT OPERATION
static int run_flock(const struct args* args) {
  return flock(slot_fd(args, 0), (int)NUM(1)) < 0 ? errno : 0;
}
// setlk SLOT TYPE START LENGTH: fcntl(F_SETLK).
static int run_setlk(const struct args* args) {
  struct flock lock = {.l_type = (short)NUM(1), .l_whence = SEEK_SET, .l_start = NUM(2), .l_len = NUM(3)};
  return fcntl(slot_fd(args, 0), F_SETLK, &lock) < 0 ? errno : 0;
}

const struct command again_commands[] = {
    {"reopen", 3, run_reopen}, {"fexec", 1, run_fexec}, {"flock", 2, run_flock},
    {"setlk", 4, run_setlk},   {NULL, 0, NULL},
};
