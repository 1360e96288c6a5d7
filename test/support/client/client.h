// The test client: file operations on a mount, in a process that is neither the mount's server nor
// the test runner. It reads one command a line on stdin and answers one line each on stdout:
// "ok VALUE..." or "err ERRNO". Words are separated by spaces; bytes other than [!-~] and "%" are
// written %XX, an empty word is "%". Paths are relative to the directory given as the argument.
#ifndef STRATAFS_TEST_CLIENT_H
#define STRATAFS_TEST_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SLOTS = 64, MAX_ARGS = 16, IO_MAX = 1 << 20 };

struct args {
  int count;
  char* word[MAX_ARGS];
  size_t length[MAX_ARGS];
};

// --- client.c: answers and words
void put_raw(const char* text);
void put_bytes(const void* bytes, size_t length);
void put_word(const void* bytes, size_t length);
void put_number(long long value);
void put_octal(unsigned value);
void put_hash(const void* bytes, size_t length);
void put_separator(char separator);
long long number(const struct args* args, int index);
uint64_t hash_bytes(uint64_t hash, const void* bytes, size_t length);
extern const uint64_t HASH_START;

// A handler puts the words of its answer and returns 0, or returns an errno (its words are
// dropped).
typedef int handler(const struct args* args);
struct command {
  const char* name;
  int least;
  handler* run;
};

// --- tables of commands, each ended by a null name
extern const struct command name_commands[];
extern const struct command data_commands[];
extern const struct command dir_commands[];
extern const struct command tree_commands[];
extern const struct command fsx_commands[];
extern const struct command again_commands[];
extern const struct command user_commands[];

// --- userns.c
int hold_userns(char** argv);

// --- data.c: the open files
int slot_fd(const struct args* args, int index);
// Puts an open file in a slot, in place of what was there; 0 or an errno.
int slot_put(long long slot, int fd);

#endif
