// The setuid helper that mounts and unmounts FUSE for users without privilege.
#pragma once

#include <cstdint>
#include <string>

namespace stratafs::sys {

// Runs fusermount3 (or fusermount); the /dev/fuse descriptor that it hands over, or -errno, with
// what it printed on stderr in `message`. -EPERM when it refuses: `message` says why.
int32_t runFusermount(const std::string& target, const std::string& options, std::string& message);
// The same with -u, and -z when `lazy`. 0 or -errno.
int32_t runFusermountOff(const std::string& target, bool lazy, std::string& message);

}  // namespace stratafs::sys
