#define _GNU_SOURCE
#include "client.h"

#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char* out;
static size_t out_used, out_size;

static void reserve(size_t more) {
  if (out_used + more <= out_size) return;
  while (out_used + more > out_size)
    out_size = out_size == 0 ? 65536 : out_size * 2;
  out = realloc(out, out_size);
  if (out == NULL) abort();
}

void put_bytes(const void* bytes, size_t length) {
  reserve(length);
  memcpy(out + out_used, bytes, length);
  out_used += length;
}

void put_raw(const char* text) {
  put_bytes(text, strlen(text));
}
void put_separator(char separator) {
  put_bytes(&separator, 1);
}

// Percent-encodes; "," and "=" too, as the manifest separates with them.
static void encode(const void* bytes, size_t length) {
  static const char digits[] = "0123456789ABCDEF";
  const unsigned char* from = bytes;
  reserve(length * 3);
  for (size_t i = 0; i < length; i++) {
    unsigned char c = from[i];
    if (c > ' ' && c < 0x7f && c != '%' && c != ',' && c != '=') {
      out[out_used++] = (char)c;
    } else {
      out[out_used++] = '%';
      out[out_used++] = digits[c >> 4];
      out[out_used++] = digits[c & 15];
    }
  }
}

void put_word(const void* bytes, size_t length) {
  put_separator(' ');
  if (length == 0) put_raw("%");
  encode(bytes, length);
}

void put_number(long long value) {
  char text[32];
  snprintf(text, sizeof text, " %lld", value);
  put_raw(text);
}

void put_octal(unsigned value) {
  char text[32];
  snprintf(text, sizeof text, " %o", value);
  put_raw(text);
}

const uint64_t HASH_START = 0xcbf29ce484222325u;

// FNV-1a over 64-bit words, then bytes: enough to tell contents apart, and quick.
uint64_t hash_bytes(uint64_t hash, const void* bytes, size_t length) {
  const unsigned char* at = bytes;
  for (; length >= 8; length -= 8, at += 8) {
    uint64_t word;
    memcpy(&word, at, 8);
    hash = (hash ^ word) * 0x100000001b3u;
    hash ^= hash >> 29;
  }
  for (; length > 0; length--, at++)
    hash = (hash ^ *at) * 0x100000001b3u;
  return hash;
}

void put_hash(const void* bytes, size_t length) {
  char text[32];
  snprintf(text, sizeof text, " #%016" PRIx64, hash_bytes(HASH_START, bytes, length));
  put_raw(text);
}

long long number(const struct args* args, int index) {
  return index < args->count ? strtoll(args->word[index], NULL, 0) : 0;
}

static int digit(char c) {
  return c <= '9' ? c - '0' : (c & 0x5f) - 'A' + 10;
}

static size_t decode(char* word) {
  char* to = word;
  if (strcmp(word, "%") == 0) {
    *word = 0;
    return 0;
  }
  for (const char* from = word; *from != 0; from++) {
    if (*from == '%' && from[1] != 0 && from[2] != 0) {
      *to++ = (char)(digit(from[1]) << 4 | digit(from[2]));
      from += 2;
    } else {
      *to++ = *from;
    }
  }
  *to = 0;
  return (size_t)(to - word);
}

static const struct command* find(const char* name) {
  static const struct command* const tables[] = {name_commands, data_commands, dir_commands,
                                                 tree_commands, fsx_commands,  user_commands,
                                                 again_commands};
  for (size_t t = 0; t < sizeof tables / sizeof *tables; t++)
    for (const struct command* c = tables[t]; c->name != NULL; c++)
      if (strcmp(c->name, name) == 0) return c;
  return NULL;
}

static void flush_line(void) {
  put_separator('\n');
  for (size_t done = 0; done < out_used;) {
    ssize_t n = write(STDOUT_FILENO, out + done, out_used - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) exit(1);
    done += (size_t)n;
  }
}

static void answer(char* line) {
  struct args args = {0};
  char* save = NULL;
  char* name = strtok_r(line, " \n", &save);
  out_used = 0;
  put_raw("ok");
  const struct command* command = name == NULL ? NULL : find(name);
  if (command == NULL) {
    fprintf(stderr, "client: unknown command %s\n", name == NULL ? "" : name);
    exit(2);
  }
  for (char* word; args.count < MAX_ARGS && (word = strtok_r(NULL, " \n", &save)) != NULL;) {
    args.word[args.count] = word;
    args.length[args.count++] = decode(word);
  }
  if (args.count < command->least) {
    fprintf(stderr, "client: %s takes %d arguments\n", name, command->least);
    exit(2);
  }
  int error = command->run(&args);
  if (error != 0) {
    out_used = 0;
    put_raw("err");
    put_number(error);
  }
  flush_line();
}

int main(int argc, char** argv) {
  if (argc == 6 && strcmp(argv[1], "--userns") == 0) return hold_userns(argv + 2);
  if (argc != 2 || chdir(argv[1]) != 0) {
    fprintf(stderr, "client: cannot enter %s: %s\n", argc > 1 ? argv[1] : "", strerror(errno));
    return 2;
  }
  umask(0);
  if (geteuid() == 0 && setgroups(0, NULL) != 0) {
    perror("client: setgroups");
    return 2;
  }
  char* line = NULL;
  size_t size = 0;
  while (getline(&line, &size, stdin) > 0)
    answer(line);
  return 0;
}
