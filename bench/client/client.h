/* What the parts of the measuring client share. Each function that fails says why and exits. */
#pragma once
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* common.c */

/* Says what failed and why (errno), and ends with status 3. */
_Noreturn void die(const char *what, const char *name);

/* CLOCK_MONOTONIC in nanoseconds. */
long long now(void);

/* Prints one time as a list, as all modes answer. */
void print_time(long long ns);

/* Opens PATH in place of the descriptor FD. */
void redirect(int fd, const char *path, int flags);

struct names {
  char **name;
  size_t count;
};

/* The names in the file LIST, one a line. */
struct names read_list(const char *list);

/* names.c: one access to one name. */
void do_stat(const char *name);
void do_open(const char *name);
void do_missing(const char *name);
void passes(const char *list, int n, void (*work)(const char *));

/* work.c */
void do_append(const char *file, int count, int bytes);
void do_poke(const char *file, long long offset);
void do_files(const char *directory, int count);
void do_clients(int clients, const char *work, const char *name, int count);

/* memory.c */
void do_memory(long pages, long huge);

/* userns.c */
void do_userns(void);
