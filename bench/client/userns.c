/*
 * A user and mount namespace to do a trial in: no right outside it, no trusted.* xattrs. IDs are
 * mapped to themselves, so that the fixture's files have owners there without a second copy.
 */

#include "client.h"

#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>

static void write_map(pid_t pid, const char *which) {
  char path[64];
  static const char map[] = "0 0 4294967295\n";
  snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, which);
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0 || write(fd, map, sizeof map - 1) != sizeof map - 1) die("cannot write", path);
  close(fd);
}

/* Prints [pid] of the process that holds the namespaces; they end with our stdin. */
void do_userns(void) {
  int ready[2];
  char byte = 0;
  if (pipe(ready) < 0) die("cannot make", "a pipe");
  pid_t pid = fork();
  if (pid < 0) die("cannot", "fork");
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0) die("cannot make", "a user namespace");
    if (write(ready[1], &byte, 1) != 1) die("cannot tell", "that the namespace is made");
    for (;;) pause();
  }
  close(ready[1]);
  if (read(ready[0], &byte, 1) != 1) exit(3);
  write_map(pid, "uid_map");
  write_map(pid, "gid_map");
  print_time(pid);
  fflush(stdout);
  while (read(0, &byte, 1) > 0) continue;
  kill(pid, SIGKILL);
}
