/*
 * The measuring client: a process of its own that does one kind of work and prints how long it
 * took, in nanoseconds, as one line of JSON. In C, so that no runtime's start is measured.
 *
 *   client exec N COMMAND...          run COMMAND N times (stdout to /dev/null): [ns, ...]
 *   client stat LIST N                N passes of lstat over the names in LIST: [ns, ...]
 *   client open LIST N                the same with open, read to the end, close
 *   client missing LIST N             the same with lstat, where each must fail with ENOENT
 *   client mount exits|stays PROBE TIMEOUT_MS ERRORS COMMAND...
 *                                     start COMMAND; time until lstat(PROBE) answers: {ns, pid}
 *   client whiteout NAME...           make 0:0 character devices
 *   client opaque DIR...              set trusted.overlay.opaque=y
 *
 * Names in LIST are relative to the working directory, one a line.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

static void die(const char *what, const char *name) {
  fprintf(stderr, "%s %s: %s\n", what, name, strerror(errno));
  exit(3);
}

static long long now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void redirect(int fd, const char *path, int flags) {
  int to = open(path, flags | O_CLOEXEC, 0644);
  if (to < 0 || dup2(to, fd) < 0) die("cannot redirect to", path);
}

static void run_command(char **argv) {
  pid_t pid = fork();
  if (pid < 0) die("cannot fork for", argv[0]);
  if (pid == 0) {
    redirect(0, "/dev/null", O_RDONLY);
    redirect(1, "/dev/null", O_WRONLY);
    execvp(argv[0], argv);
    die("cannot run", argv[0]);
  }
  int status;
  if (waitpid(pid, &status, 0) < 0) die("cannot wait for", argv[0]);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return;
  fprintf(stderr, "%s ended with status %d\n", argv[0],
          WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
  exit(3);
}

struct names {
  char **name;
  size_t count;
};

static struct names read_list(const char *path) {
  struct stat st;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0 || fstat(fd, &st) < 0) die("cannot read", path);
  char *text = malloc(st.st_size + 1);
  if (!text || read(fd, text, st.st_size) != st.st_size) die("cannot read", path);
  close(fd);
  text[st.st_size] = 0;
  struct names names = {malloc(sizeof(char *) * (st.st_size / 2 + 1)), 0};
  for (char *s = strtok(text, "\n"); s; s = strtok(NULL, "\n")) names.name[names.count++] = s;
  return names;
}

static void do_stat(const char *name) {
  struct stat st;
  if (lstat(name, &st) < 0) die("cannot stat", name);
}

static void do_open(const char *name) {
  static char buffer[65536];
  ssize_t n;
  int fd = open(name, O_RDONLY | O_CLOEXEC);
  if (fd < 0) die("cannot open", name);
  while ((n = read(fd, buffer, sizeof buffer)) > 0) continue;
  if (n < 0) die("cannot read", name);
  if (close(fd) < 0) die("cannot close", name);
}

static void do_missing(const char *name) {
  struct stat st;
  if (lstat(name, &st) == 0) errno = EEXIST;
  if (errno != ENOENT) die("unexpected answer for the missing name", name);
}

static void passes(const char *list, int n, void (*work)(const char *)) {
  struct names names = read_list(list);
  printf("[");
  for (int i = 0; i < n; i++) {
    long long start = now();
    for (size_t k = 0; k < names.count; k++) work(names.name[k]);
    printf("%s%lld", i ? "," : "", now() - start);
  }
  printf("]\n");
}

/* A server that "exits" is live when its command has returned 0; one that "stays" when the probe
 * answers. Its stdio never keeps our caller's pipes open. */
static void do_mount(char **argv) {
  int stays = strcmp(argv[0], "stays") == 0;
  const char *probe = argv[1];
  long long limit = atoll(argv[2]) * 1000000LL;
  int status = 0;
  struct stat st;
  long long start = now();
  pid_t pid = fork();
  if (pid < 0) die("cannot fork for", argv[4]);
  if (pid == 0) {
    setsid();
    redirect(0, "/dev/null", O_RDONLY);
    redirect(1, "/dev/null", O_WRONLY);
    redirect(2, argv[3], O_WRONLY | O_CREAT | O_TRUNC);
    execvp(argv[4], argv + 4);
    die("cannot run", argv[4]);
  }
  for (;;) {
    pid_t ended = waitpid(pid, &status, WNOHANG);
    if (ended == pid && (stays || status != 0)) exit(4);
    if ((ended == pid || stays) && lstat(probe, &st) == 0) break;
    if (ended == pid) die("the mount command succeeded, but there is no", probe);
    if (now() - start > limit) {
      kill(pid, SIGKILL);
      fprintf(stderr, "no answer after %s ms\n", argv[2]);
      exit(3);
    }
    usleep(100);
  }
  printf("{\"ns\":%lld,\"pid\":%d}\n", now() - start, stays ? pid : 0);
}

int main(int argc, char **argv) {
  if (argc < 3) return 2;
  const char *mode = argv[1];
  if (!strcmp(mode, "exec") && argc > 3) {
    int n = atoi(argv[2]);
    printf("[");
    for (int i = 0; i < n; i++) {
      long long start = now();
      run_command(argv + 3);
      printf("%s%lld", i ? "," : "", now() - start);
      fflush(stdout);
    }
    printf("]\n");
  } else if (!strcmp(mode, "stat") && argc == 4) {
    passes(argv[2], atoi(argv[3]), do_stat);
  } else if (!strcmp(mode, "open") && argc == 4) {
    passes(argv[2], atoi(argv[3]), do_open);
  } else if (!strcmp(mode, "missing") && argc == 4) {
    passes(argv[2], atoi(argv[3]), do_missing);
  } else if (!strcmp(mode, "mount") && argc > 6) {
    do_mount(argv + 2);
  } else if (!strcmp(mode, "whiteout")) {
    for (int i = 2; i < argc; i++)
      if (mknod(argv[i], S_IFCHR, makedev(0, 0)) < 0) die("cannot make the whiteout", argv[i]);
  } else if (!strcmp(mode, "opaque")) {
    for (int i = 2; i < argc; i++)
      if (setxattr(argv[i], "trusted.overlay.opaque", "y", 1, 0) < 0) die("cannot mark", argv[i]);
  } else {
    return 2;
  }
  return 0;
}
