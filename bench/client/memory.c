/* Memory that the machine's hypervisor has taken back is brought into the machine again. */
#include "client.h"

#include <sys/mman.h>

static const size_t MIB = 1 << 20;

/* Each page written once, as pages of 4 KiB or of 2 MiB. */
static void take(size_t size, int advice) {
  if (size == 0) return;
  char *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) die("no memory", "to take");
  // A kernel without huge pages refuses the advice; then these are small ones, too.
  madvise(at, size, advice);
  for (size_t i = 0; i < size; i += 4096) at[i] = 1;
}

/*
 * PAGES MiB in small pages and HUGE MiB in huge ones, all held at once: small pages come from the
 * fragments of free memory, huge ones from its whole blocks, and a page cache wants both. The end
 * of the process gives them back.
 */
void do_memory(long pages, long huge) {
  long long start = now();
  take(pages * MIB, MADV_NOHUGEPAGE);
  take(huge * MIB, MADV_HUGEPAGE);
  print_time(now() - start);
}
