/** Constants of the Linux system calls the engine makes (x86-64 and arm64 agree on these but where noted). */
import { constants as fs } from 'node:fs';

export const O_RDONLY = 0;
export const O_WRONLY = 1;
export const O_RDWR = 2;
export const O_ACCMODE = 3;
export const O_TRUNC = fs.O_TRUNC;
export const O_CREAT = fs.O_CREAT;
export const O_EXCL = fs.O_EXCL;
export const O_NOFOLLOW = fs.O_NOFOLLOW;
export const O_APPEND = fs.O_APPEND;
export const O_DIRECTORY = fs.O_DIRECTORY;
export const O_NONBLOCK = fs.O_NONBLOCK;
export const O_NOATIME = fs.O_NOATIME;
export const O_PATH = 0o10000000;

export const SEEK_DATA = 3;
export const AT_FDCWD = -100;
export const AT_SYMLINK_NOFOLLOW = 0x100;
export const AT_REMOVEDIR = 0x200;
export const AT_EMPTY_PATH = 0x1000;

export const RESOLVE_NO_XDEV = 0x01;
export const RESOLVE_NO_MAGICLINKS = 0x02;
const RESOLVE_NO_SYMLINKS = 0x04;
const RESOLVE_BENEATH = 0x08;
export const RESOLVE_IN_ROOT = 0x10;
/** How every path inside a layer is resolved: never out of it, over no link of any kind. */
export const RESOLVE_LAYER = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS;

export const STATX_BASIC_STATS = 0x7ff;
export const STATX_BTIME = 0x800;
export const STATX_INO = 0x100;
export const STATX_SIZE = 0x200;
export const STATX_TYPE = 0x1;
export const STATX_MODE = 0x2;

export const RENAME_NOREPLACE = 1;
export const RENAME_EXCHANGE = 2;
export const RENAME_WHITEOUT = 4;

export const UTIME_NOW = 0x3fffffff;
export const UTIME_OMIT = 0x3ffffffe;

export const R_OK = 4;

export const XATTR_CREATE = 1;

export const OPEN_TREE_CLONE = 1;
export const MOUNT_ATTR_RDONLY = 0x1;
export const MOUNT_ATTR_NOATIME = 0x10;
export const MOUNT_ATTR__ATIME = 0x70;

export const MNT_DETACH = 2;

export const FALLOC_FL_KEEP_SIZE = 1;
export const FALLOC_FL_PUNCH_HOLE = 2;

export const FS_IOC_GETFLAGS = 0x80086601;
export const FS_IOC_SETFLAGS = 0x40086602;
export const FS_IOC_FSGETXATTR = 0x801c581f;
export const FS_IOC_FSSETXATTR = 0x401c5820;
/** _IOR(0x94, 31, struct btrfs_ioctl_fs_info_args). */
export const BTRFS_IOC_FS_INFO = 0x8400941f;
/** _IOR(0x15, 0, struct fsuuid2), Linux 6.9. */
export const FS_IOC_GETFSUUID = 0x80111500;
