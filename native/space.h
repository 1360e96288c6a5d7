// Blocks of removed files that a thread of a pool is about to give back to their file system. Until
// it has, there is less room than whoever has removed a file may count on: who gets ENOSPC waits
// for it and tries again, and statfs counts it in.
#pragma once

#include <sys/types.h>

#include <cstdint>

namespace stratafs::space {

// `sectors` of 512 bytes on file system `device` are on their way, or are there.
void begin(dev_t device, uint64_t sectors);
void end(dev_t device, uint64_t sectors);
bool pending();
uint64_t pendingSectors(dev_t device);
// Waits until as much has ended as is pending now, at most `ms`; false when nothing was pending.
bool await(uint32_t ms);

}  // namespace stratafs::space
