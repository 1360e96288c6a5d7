// Commands about users: supplementary groups and idmapped mounts.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/mount.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client.h"

// groups GID...: the supplementary groups of the next operations; run it before "ident".
static int run_groups(const struct args* args) {
  gid_t list[MAX_ARGS];
  for (int i = 0; i < args->count; i++)
    list[i] = (gid_t)number(args, i);
  return setgroups((size_t)args->count, list) < 0 ? errno : 0;
}

static int write_map(pid_t pid, const char* name, const char* map) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return errno;
  int error = write(fd, map, strlen(map)) < 0 ? errno : 0;
  close(fd);
  return error;
}

// A descriptor of a user namespace with one range; -1 with errno set.
static int user_namespace(const char* map) {
  int ready[2];
  if (pipe(ready) < 0) return -1;
  pid_t pid = fork();
  if (pid == 0) {
    char byte = unshare(CLONE_NEWUSER) < 0 ? (char)errno : 0;
    if (write(ready[1], &byte, 1) < 0) _exit(1);
    pause();
    _exit(0);
  }
  char failed = 0;
  int fd = -1;
  if (pid > 0 && read(ready[0], &failed, 1) == 1) {
    errno = failed;
    if (failed == 0) errno = write_map(pid, "uid_map", map);
    if (errno == 0) errno = write_map(pid, "gid_map", map);
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/ns/user", (int)pid);
    if (errno == 0) fd = open(path, O_RDONLY | O_CLOEXEC);
  }
  int error = errno;
  if (pid > 0) {
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
  }
  close(ready[0]);
  close(ready[1]);
  errno = error;
  return fd;
}

// idmap TARGET FS SHOWN COUNT: a clone of this directory's mount on TARGET (absolute) that shows
// the file system's ids from FS on as those from SHOWN on; of this directory when it is no mount's
// root.
static int run_idmap(const struct args* args) {
  char map[96];
  snprintf(map, sizeof map, "%lld %lld %lld\n", number(args, 1), number(args, 2), number(args, 3));
  int user = user_namespace(map);
  if (user < 0) return errno;
  int tree = (int)syscall(SYS_open_tree, AT_FDCWD, ".", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
  struct mount_attr attr = {.attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (unsigned)user};
  int error = 0;
  if (tree < 0 || syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &attr, sizeof attr) < 0 ||
      syscall(SYS_move_mount, tree, "", AT_FDCWD, args->word[0], MOVE_MOUNT_F_EMPTY_PATH) < 0)
    error = errno;
  close(user);
  if (tree >= 0) close(tree);
  return error;
}

const struct command user_commands[] = {
    {"groups", 0, run_groups},
    {"idmap", 4, run_idmap},
    {NULL, 0, NULL},
};
