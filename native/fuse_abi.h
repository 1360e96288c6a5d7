// The FUSE wire up to protocol 7.45, on top of any <linux/fuse.h> (Debian 12 has 7.38). Its names
// are in a namespace of their own, so that a newer header does not clash. Values:
// include/uapi/linux/fuse.h of Linux 6.18.
#pragma once

#include <linux/fuse.h>
#include <sys/ioctl.h>

#include <cstdint>

namespace stratafs::abi {

inline constexpr uint32_t kMinor = 45;

// Opcodes after 7.38.
inline constexpr uint32_t kOpStatx = 52;            // 7.39
inline constexpr uint32_t kOpCopyFileRange64 = 53;  // 7.45

// INIT flags; bits 32 and up travel in flags2.
inline constexpr uint64_t kInitSecurityCtx = 1ULL << 32;
inline constexpr uint64_t kInitCreateSuppGroup = 1ULL << 34;
inline constexpr uint64_t kInitHasExpireOnly = 1ULL << 35;
inline constexpr uint64_t kInitDirectIoAllowMmap = 1ULL << 36;
inline constexpr uint64_t kInitPassthrough = 1ULL << 37;
inline constexpr uint64_t kInitNoExportSupport = 1ULL << 38;
inline constexpr uint64_t kInitHasResend = 1ULL << 39;
inline constexpr uint64_t kInitAllowIdmap = 1ULL << 40;
inline constexpr uint64_t kInitOverIoUring = 1ULL << 41;
inline constexpr uint64_t kInitRequestTimeout = 1ULL << 42;

inline constexpr uint32_t kFopenPassthrough = 1U << 7;  // 7.40
inline constexpr uint32_t kExtGroups = 32;              // FUSE_EXT_GROUPS, 7.38
inline constexpr uint64_t kUniqueResend = 1ULL << 63;   // 7.40

// Notifications after 7.38.
inline constexpr int32_t kNotifyResend = 7;
inline constexpr int32_t kNotifyIncEpoch = 8;
inline constexpr int32_t kNotifyPrune = 9;

struct init_in {
  uint32_t major;
  uint32_t minor;
  uint32_t max_readahead;
  uint32_t flags;
  uint32_t flags2;
  uint32_t unused[11];
};

struct init_out {
  uint32_t major;
  uint32_t minor;
  uint32_t max_readahead;
  uint32_t flags;
  uint16_t max_background;
  uint16_t congestion_threshold;
  uint32_t max_write;
  uint32_t time_gran;
  uint16_t max_pages;
  uint16_t map_alignment;
  uint32_t flags2;
  uint32_t max_stack_depth;
  uint16_t request_timeout;
  uint16_t unused[11];
};
static_assert(sizeof(init_in) == 64 && sizeof(init_in) == sizeof(::fuse_init_in));
static_assert(sizeof(init_out) == 64 && sizeof(init_out) == sizeof(::fuse_init_out));

struct open_out {
  uint64_t fh;
  uint32_t open_flags;
  int32_t backing_id;
};
static_assert(sizeof(open_out) == 16);

struct sx_time {
  int64_t tv_sec;
  uint32_t tv_nsec;
  int32_t reserved;
};

struct statx {
  uint32_t mask;
  uint32_t blksize;
  uint64_t attributes;
  uint32_t nlink;
  uint32_t uid;
  uint32_t gid;
  uint16_t mode;
  uint16_t spare0[1];
  uint64_t ino;
  uint64_t size;
  uint64_t blocks;
  uint64_t attributes_mask;
  sx_time atime;
  sx_time btime;
  sx_time ctime;
  sx_time mtime;
  uint32_t rdev_major;
  uint32_t rdev_minor;
  uint32_t dev_major;
  uint32_t dev_minor;
  uint64_t spare2[14];
};
static_assert(sizeof(statx) == 256);

struct statx_in {
  uint32_t getattr_flags;
  uint32_t reserved;
  uint64_t fh;
  uint32_t sx_flags;
  uint32_t sx_mask;
};

struct statx_out {
  uint64_t attr_valid;
  uint32_t attr_valid_nsec;
  uint32_t flags;
  uint64_t spare[2];
  statx stat;
};
static_assert(sizeof(statx_in) == 24 && sizeof(statx_out) == 288);

struct copy_file_range_out {
  uint64_t bytes_copied;
};

struct ext_header {
  uint32_t size;
  uint32_t type;
};

struct supp_groups {
  uint32_t nr_groups;
  uint32_t groups[];
};

struct backing_map {
  int32_t fd;
  uint32_t flags;
  uint64_t padding;
};
static_assert(sizeof(backing_map) == 16);

struct notify_prune_out {
  uint32_t count;
  uint32_t padding;
  uint64_t spare;
};

inline constexpr unsigned long kIocBackingOpen = _IOW(229, 1, backing_map);
inline constexpr unsigned long kIocBackingClose = _IOW(229, 2, uint32_t);
inline constexpr unsigned long kIocSyncInit = _IO(229, 3);

}  // namespace stratafs::abi
