// The manifest of a tree: everything about every name that a user can see.
#define _GNU_SOURCE
#include "client.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

struct link {
  dev_t dev;
  ino_t ino;
};
static struct link* links;
static size_t link_count, link_size;
static char buffer[1 << 18];

struct name {
  char* text;
  unsigned char type;
  ino_t ino;
};

static int by_name(const void* a, const void* b) {
  return strcmp(((const struct name*)a)->text, ((const struct name*)b)->text);
}

static void field(const char* key, const char* text) {
  put_separator(',');
  put_raw(key);
  put_separator('=');
  put_raw(text);
}

static void field_number(const char* key, long long value, const char* format) {
  char text[32];
  snprintf(text, sizeof text, format, value);
  field(key, text);
}

// Hard links of one file get the same number, in the order of the walk.
static size_t link_group(const struct stat* st) {
  for (size_t i = 0; i < link_count; i++)
    if (links[i].dev == st->st_dev && links[i].ino == st->st_ino) return i;
  if (link_count == link_size) {
    link_size = link_size * 2 + 64;
    links = realloc(links, link_size * sizeof *links);
  }
  links[link_count] = (struct link){st->st_dev, st->st_ino};
  return link_count++;
}

static void put_content(int parent, const char* name) {
  uint64_t hash = HASH_START;
  int fd = openat(parent, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
  ssize_t n = fd < 0 ? -1 : 0;
  while (fd >= 0 && (n = read(fd, buffer, sizeof buffer)) > 0)
    hash = hash_bytes(hash, buffer, (size_t)n);
  char text[32];
  if (n < 0)
    snprintf(text, sizeof text, "error-%d", errno);
  else
    snprintf(text, sizeof text, "%016" PRIx64, hash);
  if (fd >= 0) close(fd);
  field("data", text);
}

static int by_text(const void* a, const void* b) {
  return strcmp(*(char* const*)a, *(char* const*)b);
}

// O_PATH descriptors take no xattr calls, their /proc names do; the l-calls stop at a symlink.
static void put_xattrs(int parent, const char* name) {
  static char names[1 << 16], value[1 << 16];
  char *sorted[512], path[64 + 256];
  int count = 0;
  if (parent == AT_FDCWD)
    snprintf(path, sizeof path, "%s", name);
  else
    snprintf(path, sizeof path, "/proc/self/fd/%d/%s", parent, name);
  ssize_t n = llistxattr(path, names, sizeof names);
  if (n < 0) {
    if (errno != ENOTSUP) field_number("xattr-error", errno, "%lld");
    return;
  }
  for (char* at = names; at < names + n && count < 512; at += strlen(at) + 1)
    sorted[count++] = at;
  qsort(sorted, (size_t)count, sizeof *sorted, by_text);
  for (int i = 0; i < count; i++) {
    ssize_t length = lgetxattr(path, sorted[i], value, sizeof value);
    put_separator(',');
    // As a word, less the space before it.
    put_raw("x:");
    put_word(sorted[i], strlen(sorted[i]));
    put_separator('=');
    if (length < 0)
      put_number(-errno);
    else
      put_word(value, (size_t)length);
  }
}

static unsigned char type_of(mode_t mode) {
  return (unsigned char)((mode & S_IFMT) >> 12);
}

static void put_entry(int parent, const char* path, const struct name* name,
                      const struct stat* st) {
  put_separator('\t');
  put_word(path, strlen(path));
  field_number("mode", st->st_mode, "%llo");
  field_number("uid", st->st_uid, "%lld");
  field_number("gid", st->st_gid, "%lld");
  field_number("mtime", st->st_mtim.tv_sec, "%lld");
  field_number("ns", st->st_mtim.tv_nsec, "%lld");
  if (name->type != type_of(st->st_mode)) field_number("d_type", name->type, "%lld");
  if (name->ino != st->st_ino) field("d_ino", "differs");
  if (!S_ISDIR(st->st_mode)) {
    field_number("ino", (long long)st->st_ino, "%lld");
    field_number("size", st->st_size, "%lld");
    field_number("nlink", (long long)st->st_nlink, "%lld");
    if (st->st_nlink > 1) field_number("link", (long long)link_group(st), "%lld");
  }
  if (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode))
    field_number("rdev", (long long)st->st_rdev, "%lld");
  if (S_ISLNK(st->st_mode)) {
    ssize_t n = readlinkat(parent, name->text, buffer, sizeof buffer);
    put_raw(",to=");
    put_word(buffer, n < 0 ? 0 : (size_t)n);
  }
  if (S_ISREG(st->st_mode)) put_content(parent, name->text);
  put_xattrs(parent, name->text);
}

static int list(int fd, struct name** names, size_t* count) {
  DIR* dir = fdopendir(fd);
  if (dir == NULL) return errno;
  size_t size = 0;
  const struct dirent* entry;
  for (errno = 0; (entry = readdir(dir)) != NULL; errno = 0) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    if (*count == size) *names = realloc(*names, (size = size * 2 + 64) * sizeof **names);
    (*names)[(*count)++] = (struct name){strdup(entry->d_name), entry->d_type, entry->d_ino};
  }
  int error = errno;
  closedir(dir);
  if (*count > 0) qsort(*names, *count, sizeof **names, by_name);
  return error;
}

static int walk(int parent, const char* name, const char* path) {
  struct name* names = NULL;
  size_t count = 0;
  int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return errno;
  int error = list(dup(fd), &names, &count);
  for (size_t i = 0; i < count; i++) {
    struct stat st;
    char below[4096];
    snprintf(below, sizeof below, "%s%s%s", path, *path == 0 ? "" : "/", names[i].text);
    if (fstatat(fd, names[i].text, &st, AT_SYMLINK_NOFOLLOW) < 0) {
      put_separator('\t');
      put_word(below, strlen(below));
      field_number("stat-error", errno, "%lld");
    } else {
      put_entry(fd, below, &names[i], &st);
      int inner = S_ISDIR(st.st_mode) ? walk(fd, names[i].text, below) : 0;
      if (inner != 0) field_number("list-error", inner, "%lld");
    }
    free(names[i].text);
  }
  free(names);
  close(fd);
  return error;
}

// manifest PATH: entries separated by tabs
static int run_manifest(const struct args* args) {
  struct stat st;
  link_count = 0;
  if (lstat(args->word[0], &st) < 0) return errno;
  struct name top = {args->word[0], type_of(st.st_mode), st.st_ino};
  put_entry(AT_FDCWD, ".", &top, &st);
  return S_ISDIR(st.st_mode) ? walk(AT_FDCWD, args->word[0], "") : 0;
}

const struct command tree_commands[] = {{"manifest", 1, run_manifest}, {NULL, 0, NULL}};
