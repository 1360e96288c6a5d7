// Processes that keep a file system from being unmounted, as fuser(1) sees them. It asks the file
// system nothing, as its server may be gone.
#pragma once

#include <cstddef>
#include <string>

namespace stratafs {

// A line "PID HOW NAME" for each process, `most` at most. HOW: cwd, root, exe, fd, map, or mount
// (another mount namespace has it). Processes of others show only to who may see them.
std::string holdersOf(unsigned major, unsigned minor, size_t most);

}  // namespace stratafs
