// A user namespace of an ordinary user, for tests of what works without privilege.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/mount.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client.h"

static void must(int result, const char* what) {
  if (result >= 0) return;
  perror(what);
  _exit(2);
}

static void write_map(pid_t pid, const char* name, const char* map) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  must(fd, path);
  must((int)write(fd, map, strlen(map)), path);
  close(fd);
}

// Makes a directory and those above it, as far as they are below `top`.
static void make_below(const char* top, const char* path) {
  char part[4096];
  for (size_t at = strlen(top) + 1; at <= strlen(path); at++) {
    if (path[at] != '/' && path[at] != 0) continue;
    snprintf(part, sizeof part, "%.*s", (int)at, path);
    must(mkdir(part, 0755), part);
  }
}

// A repository in a home directory that only its owner may enter (root's, say) is where it was, in
// a home with nothing else in it, for what is run in the namespaces.
static void expose(const char* repository) {
  char home[4096];
  struct stat info;
  must(unshare(CLONE_NEWNS), "unshare");
  must(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), "mount");
  for (size_t at = 1; repository[at] != 0; at++) {
    if (repository[at] != '/') continue;
    snprintf(home, sizeof home, "%.*s", (int)at, repository);
    must(stat(home, &info), home);
    if (info.st_mode & S_IXOTH) continue;
    const unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC;
    const int tree = (int)syscall(SYS_open_tree, AT_FDCWD, repository, flags);
    must(tree, "open_tree");
    must(mount("home", home, "tmpfs", 0, "mode=755"), home);
    make_below(home, repository);
    must((int)syscall(SYS_move_mount, tree, "", AT_FDCWD, repository, MOVE_MOUNT_F_EMPTY_PATH),
         "move_mount");
    return;
  }
}

// Becomes the user, makes the namespaces, and waits for the maps and then for the end of stdin.
static void hold(uid_t user, const char* repository, int ready, int mapped) {
  char byte = 0;
  expose(repository);
  must(setgroups(0, NULL), "setgroups");
  must(setresgid(user, user, user), "setresgid");
  must(setresuid(user, user, user), "setresuid");
  must(unshare(CLONE_NEWUSER | CLONE_NEWNS), "unshare");
  // A process that changed its user has a /proc of root's, where nobody could write the maps.
  must(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0), "prctl");
  must((int)write(ready, &byte, 1), "pipe");
  must((int)read(mapped, &byte, 1), "pipe");
  must(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), "mount");
  must((int)write(ready, &byte, 1), "pipe");
  while (read(STDIN_FILENO, &byte, 1) > 0)
    continue;
  _exit(0);
}

// --userns USER FIRST COUNT REPOSITORY: makes the namespaces of an ordinary user, in which 0 is
// USER and 1 and so on are FIRST and so on outside; prints the process that holds them, which ends
// with stdin.
int hold_userns(char** argv) {
  char map[96];
  int ready[2], mapped[2];
  char byte = 0;
  const char* const user = argv[0];
  snprintf(map, sizeof map, "0 %s 1\n1 %s %s\n", user, argv[1], argv[2]);
  must(pipe(ready), "pipe");
  must(pipe(mapped), "pipe");
  pid_t pid = fork();
  must(pid, "fork");
  if (pid == 0) hold((uid_t)atoi(user), argv[3], ready[1], mapped[0]);
  close(ready[1]);
  if (read(ready[0], &byte, 1) == 1) {
    write_map(pid, "uid_map", map);
    write_map(pid, "gid_map", map);
    must((int)write(mapped[1], &byte, 1), "pipe");
    if (read(ready[0], &byte, 1) == 1) {
      printf("%d\n", (int)pid);
      fflush(stdout);
    }
  }
  int state = 0;
  waitpid(pid, &state, 0);
  return WIFEXITED(state) ? WEXITSTATUS(state) : 2;
}
