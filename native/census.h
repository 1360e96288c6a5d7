// Tests whether any object of a layer has an xattr that a client would see.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

namespace stratafs {

// Walks the tree of `root` (O_PATH will do). Names that begin with `marks` are the overlay's own,
// but for those escaped once more. 0: no object has another; 1: one has; -errno: not known, because
// of a failure, of `cancelled` (ECANCELED) or of the time that it would take (ETIME).
int32_t census(int root, const std::string& marks, const std::atomic<bool>& cancelled);

}  // namespace stratafs
