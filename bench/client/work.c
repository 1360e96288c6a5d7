/* Writes of one kind, and several clients at once. */

#include "client.h"

#include <sys/wait.h>

/* COUNT appends of BYTES each, as a log is written. */
void do_append(const char *file, int count, int bytes) {
  char *line = malloc(bytes);
  if (!line) die("no memory for", file);
  memset(line, 'x', bytes);
  long long start = now();
  int fd = open(file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) die("cannot open", file);
  for (int i = 0; i < count; i++)
    if (write(fd, line, bytes) != bytes) die("cannot append to", file);
  if (close(fd) < 0) die("cannot close", file);
  print_time(now() - start);
}

/* Changes one byte: what a copy-up costs. The change is in the file when close has returned. */
void do_poke(const char *file, long long offset) {
  long long start = now();
  int fd = open(file, O_WRONLY | O_CLOEXEC);
  if (fd < 0) die("cannot open", file);
  if (pwrite(fd, "x", 1, offset) != 1) die("cannot write to", file);
  if (close(fd) < 0) die("cannot close", file);
  print_time(now() - start);
}

/* COUNT empty files in a new directory. */
void do_files(const char *directory, int count) {
  if (mkdir(directory, 0755) < 0 || chdir(directory) < 0) die("cannot make", directory);
  long long start = now();
  for (int i = 0; i < count; i++) {
    char name[16];
    snprintf(name, sizeof name, "%08d", i);
    int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0) die("cannot make", name);
    close(fd);
  }
  print_time(now() - start);
}

/* One of the clients that read: its passes begin at different names. */
static void read_all(struct names names, int client, int clients, int count) {
  for (int pass = 0; pass < count; pass++)
    for (size_t k = 0; k < names.count; k++) {
      const char *name = names.name[(k + names.count * client / clients) % names.count];
      do_stat(name);
      do_open(name);
    }
}

/* One of the clients that write: COUNT files of 4 KiB in a directory of its own, then away again. */
static void create_all(const char *directory, int client, int count) {
  char name[4096];
  static char block[4096];
  snprintf(name, sizeof name, "%s-%d", directory, client);
  if (mkdir(name, 0755) < 0 || chdir(name) < 0) die("cannot make", name);
  for (int i = 0; i < count; i++) {
    snprintf(name, sizeof name, "%d", i);
    int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0 || write(fd, block, sizeof block) != sizeof block) die("cannot write", name);
    if (close(fd) < 0) die("cannot close", name);
  }
  for (int i = 0; i < count; i++) {
    snprintf(name, sizeof name, "%d", i);
    if (unlink(name) < 0) die("cannot remove", name);
  }
}

/* Starts all clients at the closing of a pipe; the time is that until the last has ended. */
void do_clients(int clients, const char *work, const char *name, int count) {
  int reads = strcmp(work, "read") == 0;
  struct names names = reads ? read_list(name) : (struct names){NULL, 0};
  int gate[2];
  char byte;
  if (pipe(gate) < 0) die("cannot make a pipe for", work);
  for (int i = 0; i < clients; i++) {
    pid_t pid = fork();
    if (pid < 0) die("cannot fork for", work);
    if (pid > 0) continue;
    close(gate[1]);
    if (read(gate[0], &byte, 1) != 0) die("cannot wait for", work);
    if (reads)
      read_all(names, i, clients, count);
    else
      create_all(name, i, count);
    exit(0);
  }
  long long start = now();
  close(gate[1]);
  for (int i = 0; i < clients; i++) {
    int status;
    if (wait(&status) < 0) die("cannot wait for", work);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) exit(3);
  }
  print_time(now() - start);
}
