/**
 * Decides which errnos mean that something is absent, for each question asked of a layer. No other file
 * decides this. Any other errno is a failure: it goes to the caller, and refuses a mount. Each predicate
 * takes what a native call returned (0 or more, or -errno), and is false for a success.
 *
 * Sources are named by function: fs/namei.c, fs/xattr.c, fs/fhandle.c, fs/exportfs/expfs.c and fs/overlayfs
 * of Linux.
 */
import { E } from '../base/errno.js';

/** A question's absences. */
type Absence = (code: number) => boolean;

const among = (...errnos: readonly number[]): Absence => {
  const codes = new Set(errnos.map((errno) => -errno));
  return (code) => code < 0 && codes.has(code);
};

// --- names ---------------------------------------------------------------------------------

/** No object has the name in the directory (lookup of one component). */
export const noName = among(E.ENOENT);

/**
 * No layer below has the name: besides, it may be longer than this file system's names can be; it comes
 * from another layer, or from a redirect (ovl_lookup_single).
 */
export const noNameBelow = among(E.ENOENT, E.ENAMETOOLONG);

/** The entry just listed is gone: removed meanwhile, on a network file system also on the server. */
export const vanished = among(E.ENOENT, E.ESTALE);

/**
 * A data-only layer has no file at the path of a metadata-only copy: a component is missing, is no
 * directory, is a symlink (ELOOP of RESOLVE_NO_SYMLINKS), lies on another mount (EXDEV of
 * RESOLVE_NO_XDEV, EREMOTE of ovl_lookup_data_layer) or has a name too long for the file system.
 */
export const noDataFile = among(E.ENOENT, E.ENOTDIR, E.ELOOP, E.EXDEV, E.ENAMETOOLONG);

// --- xattrs --------------------------------------------------------------------------------

/**
 * Reading or listing: the object has no such xattr, or its file system has none of this kind
 * (ovl_get_redirect_xattr, ovl_get_fh). Not EPERM: xattr_permission answers that to writers alone.
 */
export const noXattr = among(E.ENODATA, E.EOPNOTSUPP);

/** The same for an xattr of a user's kind, of a file that its reader may not read (ovl_check_metacopy_xattr). */
export const noUserXattr = among(E.ENODATA, E.EOPNOTSUPP, E.EACCES);

/**
 * Writing: an object of this kind can have no such xattr. `user.*` exists on files and directories
 * alone (EPERM of xattr_permission; ovl_set_origin_fh ignores it), or the file system has none.
 */
export const takesNoXattr = among(E.EPERM, E.EOPNOTSUPP);

/**
 * Writing a `trusted.*` xattr to a directory that is ours: there is no right to (EPERM of
 * xattr_permission: CAP_SYS_ADMIN in the initial user namespace), or the file system has none.
 */
export const takesNoTrusted = among(E.EPERM, E.EOPNOTSUPP);

/**
 * Writing a redirect: the object takes none, or none so long (EPERM, EOPNOTSUPP of xattr_permission and
 * the file system; E2BIG, ERANGE of file systems with small xattrs). Kernel overlayfs takes any error for
 * that (ovl_set_redirect); a full or broken disk would then have mv(1) copy a tree.
 */
export const takesNoRedirect = among(E.EPERM, E.EOPNOTSUPP, E.E2BIG, E.ERANGE);

// --- file handles --------------------------------------------------------------------------

/**
 * The file system gives no handle that fits (EOPNOTSUPP, EOVERFLOW of do_sys_name_to_handle), or a
 * filter of system calls keeps handles from this process (EPERM, ENOSYS of seccomp(2)).
 */
export const noHandle = among(E.EOPNOTSUPP, E.EOVERFLOW, E.EPERM, E.ENOSYS);

/**
 * Nothing is behind the handle: its file is gone (ESTALE, which exportfs_decode_fh makes of whatever
 * the file system said but ENOMEM), or it is damaged (EINVAL of handle_to_path).
 */
export const staleHandle = among(E.ESTALE, E.EINVAL);

/** Handles cannot be opened by this process: no CAP_DAC_READ_SEARCH (may_decode_fh), or a filter. */
export const noHandleRight = among(E.EPERM, E.ENOSYS);

/**
 * A capability is not there that alone would allow what is asked: EACCES of inode_permission, EPERM of
 * may_open for O_NOATIME.
 */
export const denied = among(E.EACCES, E.EPERM);

// --- what a file system or a process can do --------------------------------------------------

/** chattr(1)'s flags, the file system's UUID: it has none (ovl_copy_fileattr; vfs_ioctl's ENOTTY). */
export const noIoctl = among(E.ENOTTY, E.EINVAL, E.EOPNOTSUPP, E.ENOSYS);

/** Device nodes are not to be had here: no right to make them, or a file system without them. */
export const refusesDevices = among(E.EPERM, E.EACCES, E.EOPNOTSUPP, E.ENOSYS, E.EINVAL);

/** The layer's mount cannot be cloned: no CAP_SYS_ADMIN, or it is of another namespace (open_tree(2)). */
export const noClone = among(E.EPERM, E.EINVAL);

/** The flags of a cloned mount are locked in this user namespace (mount_setattr(2)). */
export const lockedFlags = among(E.EPERM);
