/* Passes over a list of names: what no tool does without a start of its own for each. */
#include "client.h"

void do_stat(const char *name) {
  struct stat st;
  if (lstat(name, &st) < 0) die("cannot stat", name);
}

void do_open(const char *name) {
  static char buffer[65536];
  ssize_t n;
  int fd = open(name, O_RDONLY | O_CLOEXEC);
  if (fd < 0) die("cannot open", name);
  while ((n = read(fd, buffer, sizeof buffer)) > 0) continue;
  if (n < 0) die("cannot read", name);
  if (close(fd) < 0) die("cannot close", name);
}

void do_missing(const char *name) {
  struct stat st;
  if (lstat(name, &st) == 0) errno = EEXIST;
  if (errno != ENOENT) die("unexpected answer for the missing name", name);
}

void passes(const char *list, int n, void (*work)(const char *)) {
  struct names names = read_list(list);
  printf("[");
  for (int i = 0; i < n; i++) {
    long long start = now();
    for (size_t k = 0; k < names.count; k++) work(names.name[k]);
    printf("%s%lld", i ? "," : "", now() - start);
  }
  printf("]\n");
}
