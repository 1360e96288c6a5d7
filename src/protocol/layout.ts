/**
 * Byte offsets of the FUSE wire structs the engine reads and writes; `size` is the whole struct.
 * A unit test compares every row with the compiled header (Native.layout()). Little-endian only.
 */
export const IN_HEADER = {
  size: 40,
  len: 0,
  opcode: 4,
  unique: 8,
  nodeid: 16,
  uid: 24,
  gid: 28,
  pid: 32,
  total_extlen: 36,
} as const;
export const OUT_HEADER = { size: 16, len: 0, error: 4, unique: 8 } as const;
export const ATTR = {
  size: 88,
  ino: 0,
  size_: 8,
  blocks: 16,
  atime: 24,
  mtime: 32,
  ctime: 40,
  atimensec: 48,
  mtimensec: 52,
  ctimensec: 56,
  mode: 60,
  nlink: 64,
  uid: 68,
  gid: 72,
  rdev: 76,
  blksize: 80,
  flags: 84,
} as const;
export const ENTRY_OUT = {
  size: 128,
  nodeid: 0,
  generation: 8,
  entry_valid: 16,
  attr_valid: 24,
  entry_valid_nsec: 32,
  attr_valid_nsec: 36,
  attr: 40,
} as const;
export const ATTR_OUT = {
  size: 104,
  attr_valid: 0,
  attr_valid_nsec: 8,
  dummy: 12,
  attr: 16,
} as const;
export const GETATTR_IN = { size: 16, getattr_flags: 0, fh: 8 } as const;
export const SETATTR_IN = {
  size: 88,
  valid: 0,
  fh: 8,
  size_: 16,
  lock_owner: 24,
  atime: 32,
  mtime: 40,
  ctime: 48,
  atimensec: 56,
  mtimensec: 60,
  ctimensec: 64,
  mode: 68,
  uid: 76,
  gid: 80,
} as const;
export const MKNOD_IN = { size: 16, mode: 0, rdev: 4, umask: 8 } as const;
export const MKDIR_IN = { size: 8, mode: 0, umask: 4 } as const;
export const RENAME_IN = { size: 8, newdir: 0 } as const;
export const RENAME2_IN = { size: 16, newdir: 0, flags: 8 } as const;
export const LINK_IN = { size: 8, oldnodeid: 0 } as const;
export const CREATE_IN = { size: 16, flags: 0, mode: 4, umask: 8, open_flags: 12 } as const;
export const OPEN_IN = { size: 8, flags: 0, open_flags: 4 } as const;
export const OPEN_OUT = { size: 16, fh: 0, open_flags: 8, backing_id: 12 } as const;
export const RELEASE_IN = { size: 24, fh: 0, flags: 8, release_flags: 12 } as const;
export const READ_IN = {
  size: 40,
  fh: 0,
  offset: 8,
  size_: 16,
  read_flags: 20,
  flags: 32,
} as const;
export const WRITE_IN = {
  size: 40,
  fh: 0,
  offset: 8,
  size_: 16,
  write_flags: 20,
  flags: 32,
} as const;
export const FSYNC_IN = { size: 16, fh: 0, fsync_flags: 8 } as const;
export const SETXATTR_IN = { size: 16, size_: 0, flags: 4, setxattr_flags: 8 } as const;
/** What a kernel sends when SETXATTR_EXT was not negotiated. */
export const COMPAT_SETXATTR_IN_SIZE = 8;
export const GETXATTR_IN = { size: 8, size_: 0 } as const;
export const INIT_IN = {
  size: 64,
  major: 0,
  minor: 4,
  max_readahead: 8,
  flags: 12,
  flags2: 16,
} as const;
/** What a kernel before 5.17 sends: up to `flags`. */
export const LEAST_INIT_IN_SIZE = 16;
export const INIT_OUT = {
  size: 64,
  major: 0,
  minor: 4,
  max_readahead: 8,
  flags: 12,
  max_background: 16,
  congestion_threshold: 18,
  max_write: 20,
  time_gran: 24,
  max_pages: 28,
  map_alignment: 30,
  flags2: 32,
  max_stack_depth: 36,
} as const;
export const IOCTL_IN = {
  size: 32,
  fh: 0,
  flags: 8,
  cmd: 12,
  arg: 16,
  in_size: 24,
  out_size: 28,
} as const;
export const IOCTL_OUT = { size: 16, result: 0, flags: 4, in_iovs: 8, out_iovs: 12 } as const;
export const FALLOCATE_IN = { size: 32, fh: 0, offset: 8, length: 16, mode: 24 } as const;
export const LSEEK_IN = { size: 24, fh: 0, offset: 8, whence: 16 } as const;
export const FLUSH_IN = { size: 24 } as const;
export const ACCESS_IN = { size: 8 } as const;
export const POLL_IN = { size: 24 } as const;
export const INTERRUPT_IN = { size: 8, unique: 0 } as const;
export const COPY_FILE_RANGE_IN = {
  size: 56,
  fh_in: 0,
  off_in: 8,
  nodeid_out: 16,
  fh_out: 24,
  off_out: 32,
  len: 40,
  flags: 48,
} as const;
export const FORGET_IN = { size: 8, nlookup: 0 } as const;
export const BATCH_FORGET_IN = { size: 8, count: 0 } as const;
export const FORGET_ONE = { size: 16, nodeid: 0, nlookup: 8 } as const;
export const DIRENT = { size: 24, ino: 0, off: 8, namelen: 16, type: 20 } as const;
export const DIRENTPLUS = { size: 152, entry_out: 0, dirent: 128 } as const;
export const NOTIFY_INVAL_INODE_OUT = { size: 24, ino: 0, off: 8, len: 16 } as const;
export const STATX_IN = { size: 24, getattr_flags: 0, fh: 8, sx_flags: 16, sx_mask: 20 } as const;
export const STATX_OUT = {
  size: 288,
  attr_valid: 0,
  attr_valid_nsec: 8,
  flags: 12,
  stat: 32,
} as const;
export const KSTATFS = {
  size: 80,
  blocks: 0,
  bfree: 8,
  bavail: 16,
  files: 24,
  ffree: 32,
  bsize: 40,
  namelen: 44,
  frsize: 48,
} as const;
/** fuse_statx and the kernel's struct statx agree in every field up to dev_minor. */
export const STATX = {
  size: 256,
  mask: 0,
  blksize: 4,
  attributes: 8,
  nlink: 16,
  uid: 20,
  gid: 24,
  mode: 28,
  ino: 32,
  size_: 40,
  blocks: 48,
  attributes_mask: 56,
  atime: 64,
  btime: 80,
  ctime: 96,
  mtime: 112,
  rdev_major: 128,
  rdev_minor: 132,
  dev_major: 136,
  dev_minor: 140,
} as const;
