/*
 * The measuring client: a process of its own that does one kind of work and prints how long it
 * took, in nanoseconds, as one line of JSON. In C, so that no runtime's start is measured.
 *
 *   client DIR exec N COMMAND...      run COMMAND N times (stdout to /dev/null): [ns, ...]
 *   client DIR stat LIST N            N passes of lstat over the names in LIST: [ns, ...]
 *   client DIR open LIST N            the same with open, read to the end, close
 *   client DIR missing LIST N         the same with lstat, where each must fail with ENOENT
 *   client DIR append FILE N BYTES    N appends: [ns]
 *   client DIR poke FILE OFFSET       open, write one byte, close: [ns]
 *   client DIR files NEW N            make NEW with N empty files in it: [ns]
 *   client DIR clients N read LIST PASSES | create NAME COUNT
 *                                     N processes at once, from the start to the last one's end: [ns]
 *   client DIR mount exits|stays PROBE TIMEOUT_MS ERRORS COMMAND...
 *                                     start COMMAND; time until lstat(PROBE) answers: {ns, pid}
 *   client DIR whiteout NAME...       make 0:0 character devices
 *   client DIR opaque NAME...         set trusted.overlay.opaque=y
 *   client DIR memory PAGES HUGE      take so many MiB of memory, and give it back: [ns]
 *   client DIR userns                 hold a user and mount namespace until stdin ends: [pid]
 *
 * It works in DIR; names in LIST are relative to that, one a line.
 */
#include "client.h"

#include <signal.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>

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

static void run_times(int n, char **command) {
  printf("[");
  for (int i = 0; i < n; i++) {
    long long start = now();
    // What is printed so far must not be in the child's buffer, too.
    fflush(stdout);
    run_command(command);
    printf("%s%lld", i ? "," : "", now() - start);
  }
  printf("]\n");
}

int main(int argc, char **argv) {
  if (argc < 3) return 2;
  if (chdir(argv[1]) < 0) die("cannot enter", argv[1]);
  const char *mode = argv[2];
  char **arg = argv + 3;
  int args = argc - 3;
  if (!strcmp(mode, "exec") && args > 1) {
    run_times(atoi(arg[0]), arg + 1);
  } else if (!strcmp(mode, "stat") && args == 2) {
    passes(arg[0], atoi(arg[1]), do_stat);
  } else if (!strcmp(mode, "open") && args == 2) {
    passes(arg[0], atoi(arg[1]), do_open);
  } else if (!strcmp(mode, "missing") && args == 2) {
    passes(arg[0], atoi(arg[1]), do_missing);
  } else if (!strcmp(mode, "append") && args == 3) {
    do_append(arg[0], atoi(arg[1]), atoi(arg[2]));
  } else if (!strcmp(mode, "poke") && args == 2) {
    do_poke(arg[0], atoll(arg[1]));
  } else if (!strcmp(mode, "files") && args == 2) {
    do_files(arg[0], atoi(arg[1]));
  } else if (!strcmp(mode, "clients") && args == 4) {
    do_clients(atoi(arg[0]), arg[1], arg[2], atoi(arg[3]));
  } else if (!strcmp(mode, "mount") && args > 4) {
    do_mount(arg);
  } else if (!strcmp(mode, "whiteout")) {
    for (int i = 0; i < args; i++)
      if (mknod(arg[i], S_IFCHR, makedev(0, 0)) < 0) die("cannot make the whiteout", arg[i]);
  } else if (!strcmp(mode, "opaque")) {
    for (int i = 0; i < args; i++)
      if (setxattr(arg[i], "trusted.overlay.opaque", "y", 1, 0) < 0) die("cannot mark", arg[i]);
  } else if (!strcmp(mode, "memory") && args == 2) {
    do_memory(atol(arg[0]), atol(arg[1]));
  } else if (!strcmp(mode, "userns")) {
    do_userns();
  } else {
    return 2;
  }
  return 0;
}
