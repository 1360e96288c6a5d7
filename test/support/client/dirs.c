// Directory listings: whole, and by streams with telldir and seekdir.
#define _GNU_SOURCE
#include "client.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NUM(i) number(args, i)

static DIR* streams[SLOTS];

static int by_text(const void* a, const void* b) {
  return strcmp(*(char* const*)a, *(char* const*)b);
}

static bool is_dot(const char* name) {
  return name[0] == '.' && (name[1] == 0 || (name[1] == '.' && name[2] == 0));
}

// NAME TYPE for every name of the stream but "." and "..", sorted
static int put_names(DIR* dir) {
  char** lines = NULL;
  size_t count = 0, size = 0;
  const struct dirent* entry;
  for (errno = 0; (entry = readdir(dir)) != NULL; errno = 0) {
    if (is_dot(entry->d_name)) continue;
    if (count == size) lines = realloc(lines, (size = size * 2 + 64) * sizeof *lines);
    size_t length = strlen(entry->d_name);
    // The type follows the name's end, so that sorting by text sorts by name.
    lines[count] = malloc(length + 2);
    memcpy(lines[count], entry->d_name, length + 1);
    lines[count++][length + 1] = (char)('A' + entry->d_type);
  }
  int error = errno;
  if (count > 0) qsort(lines, count, sizeof *lines, by_text);
  for (size_t i = 0; i < count; i++) {
    size_t length = strlen(lines[i]);
    put_word(lines[i], length);
    put_number(lines[i][length + 1] - 'A');
    free(lines[i]);
  }
  free(lines);
  return error;
}

// readdir PATH
static int run_readdir(const struct args* args) {
  DIR* dir = opendir(args->word[0]);
  if (dir == NULL) return errno;
  int error = put_names(dir);
  closedir(dir);
  return error;
}

static DIR* stream(const struct args* args) {
  long long slot = NUM(0);
  return slot >= 0 && slot < SLOTS ? streams[slot] : NULL;
}
static int run_opendir(const struct args* args) {
  long long slot = NUM(0);
  if (slot < 0 || slot >= SLOTS || streams[slot] != NULL) return EBADF;
  streams[slot] = opendir(args->word[1]);
  return streams[slot] == NULL ? errno : 0;
}
static int run_closedir(const struct args* args) {
  DIR* dir = stream(args);
  if (dir == NULL) return EBADF;
  streams[NUM(0)] = NULL;
  return closedir(dir) < 0 ? errno : 0;
}
// dread STREAM COUNT -> NAME COOKIE INO for at most COUNT entries ("." and ".." too); the cookie is
// what telldir says after the entry
static int run_dread(const struct args* args) {
  DIR* dir = stream(args);
  if (dir == NULL) return EBADF;
  for (long long i = 0; i < NUM(1); i++) {
    errno = 0;
    const struct dirent* entry = readdir(dir);
    if (entry == NULL) return errno;
    put_word(entry->d_name, strlen(entry->d_name));
    put_number(telldir(dir));
    put_number((long long)entry->d_ino);
  }
  return 0;
}
static int run_dseek(const struct args* args) {
  DIR* dir = stream(args);
  if (dir == NULL) return EBADF;
  seekdir(dir, NUM(1));
  return 0;
}
static int run_drewind(const struct args* args) {
  DIR* dir = stream(args);
  if (dir == NULL) return EBADF;
  rewinddir(dir);
  return 0;
}
// drelist STREAM: rewinds it and answers as readdir
static int run_drelist(const struct args* args) {
  DIR* dir = stream(args);
  if (dir == NULL) return EBADF;
  rewinddir(dir);
  return put_names(dir);
}
// dseeks PATH N -> COUNT 1, when a seek to where the Nth entry (of COUNT) ended goes on with the
// entry that came next before; 0 when with another. N is taken modulo COUNT.
static int run_dseeks(const struct args* args) {
  DIR* dir = opendir(args->word[0]);
  if (dir == NULL) return errno;
  long long count = 0, at = 0;
  while (readdir(dir) != NULL)
    count++;
  at = NUM(1) % (count > 0 ? count : 1);
  rewinddir(dir);
  for (long long i = 0; i < at; i++)
    readdir(dir);
  long cookie = telldir(dir);
  const struct dirent* entry = readdir(dir);
  char* next = entry == NULL ? NULL : strdup(entry->d_name);
  while (readdir(dir) != NULL)
    continue;
  seekdir(dir, cookie);
  entry = readdir(dir);
  put_number(count);
  put_number(entry == NULL || next == NULL ? entry == NULL && next == NULL
                                           : strcmp(entry->d_name, next) == 0);
  free(next);
  closedir(dir);
  return 0;
}
// many PREFIX FROM TO: empty files PREFIXn; fewer PREFIX FROM TO STEP: unlinks every STEPth
static int run_many(const struct args* args) {
  char path[4096];
  for (long long i = NUM(1); i < NUM(2); i++) {
    snprintf(path, sizeof path, "%s%lld", args->word[0], i);
    int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
    if (fd < 0) return errno;
    close(fd);
  }
  return 0;
}
static int run_fewer(const struct args* args) {
  char path[4096];
  for (long long i = NUM(1); i < NUM(2); i += NUM(3)) {
    snprintf(path, sizeof path, "%s%lld", args->word[0], i);
    if (unlink(path) < 0) return errno;
  }
  return 0;
}

const struct command dir_commands[] = {
    {"readdir", 1, run_readdir}, {"opendir", 2, run_opendir}, {"closedir", 1, run_closedir},
    {"dread", 2, run_dread},     {"dseek", 2, run_dseek},     {"drewind", 1, run_drewind},
    {"drelist", 1, run_drelist}, {"dseeks", 2, run_dseeks},
    {"many", 3, run_many},       {"fewer", 4, run_fewer},     {NULL, 0, NULL},
};
