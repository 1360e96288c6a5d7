/* What the parts of the measuring client share. */
#include "client.h"

void die(const char *what, const char *name) {
  fprintf(stderr, "%s %s: %s\n", what, name, strerror(errno));
  exit(3);
}

long long now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

void print_time(long long ns) {
  printf("[%lld]\n", ns);
}

void redirect(int fd, const char *path, int flags) {
  int to = open(path, flags | O_CLOEXEC, 0644);
  if (to < 0 || dup2(to, fd) < 0) die("cannot redirect to", path);
}

struct names read_list(const char *path) {
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
