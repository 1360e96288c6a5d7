// The process's budget of descriptors that threads keep open for later. A thread that gets no
// descriptor calls the others: each closes its own, because no thread may close another's.
#pragma once

#include <cstdint>

namespace stratafs::budget {

// Adds to the number of descriptors that are kept, and of the threads that keep some; the new
// number.
int32_t keep(int32_t delta);
// The thread behind `wakeFd` keeps descriptors from now on; how many threads do.
int32_t join(int wakeFd);
// The thread ends.
void leave(int wakeFd);
// How often one has called; with `now` also the thread behind `wakeFd`, which wakes all others.
int32_t call(bool now, int wakeFd);
// Waits until fewer than `kept` are kept, at most `ms` milliseconds; how many are.
int32_t wait(int32_t kept, uint32_t ms);

}  // namespace stratafs::budget
