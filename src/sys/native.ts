/**
 * The addon's whole surface, as one interface. No other file loads the .node file.
 *
 * Conventions, for every function unless it says otherwise:
 * - It returns a number >= 0, or -errno. It never throws for an expected failure.
 * - Names and paths are latin1 strings, one character a byte, so that any file name survives (a name never
 *   holds NUL or "/"). A parameter called `name` has one component.
 * - 64-bit file offsets and lengths are passed as two unsigned 32-bit halves (`lo`, `hi`), because a size can
 *   exceed 2^53.
 * - `at` is a byte offset into `memory`, the thread's shared memory; results are left there.
 */
import { openSync } from 'node:fs';
import { createRequire } from 'node:module';
import { getEnvironmentData, setEnvironmentData } from 'node:worker_threads';
import { nativeFile } from './installed.js';

export interface Native {
  /** This thread's shared memory: request (IN), reply (OUT) and scratch regions, see memory.ts. */
  readonly memory: ArrayBuffer;

  // --- descriptors -------------------------------------------------------------------------
  /** openat2(2). O_CLOEXEC is always added. `resolve` is RESOLVE_*. */
  openat2(dirfd: number, path: string, flags: number, mode: number, resolve: number): number;
  close(fd: number): number;
  /** open_tree(2); with OPEN_TREE_CLONE a private mount of `path`. O_CLOEXEC is always added. */
  openTree(dirfd: number, path: string, flags: number): number;
  /** mount_setattr(2) on the mount behind `fd` (AT_EMPTY_PATH): MOUNT_ATTR_* to set and to clear. */
  mountSetattr(fd: number, set: number, clear: number): number;

  // --- names -------------------------------------------------------------------------------
  /** statx(2); a 256-byte struct statx lands at `at`. An empty name with AT_EMPTY_PATH means dirfd itself. */
  statx(dirfd: number, name: string, flags: number, mask: number, at: number): number;
  mknodat(dirfd: number, name: string, mode: number, major: number, minor: number): number;
  mkdirat(dirfd: number, name: string, mode: number): number;
  linkat(
    olddirfd: number,
    oldname: string,
    newdirfd: number,
    newname: string,
    flags: number,
  ): number;
  symlinkat(target: string, dirfd: number, name: string): number;
  /** Writes the target, without a NUL, at `at`; returns its length. An empty name reads the O_PATH link `dirfd`. */
  readlinkat(dirfd: number, name: string, at: number, size: number): number;
  renameat2(
    olddirfd: number,
    oldname: string,
    newdirfd: number,
    newname: string,
    flags: number,
  ): number;
  unlinkat(dirfd: number, name: string, flags: number): number;
  /**
   * unlinkat(2) of what is no directory; the pool gives the blocks of a large file back, as the slot's work
   * (-1: nobody's), unless there is too much of it.
   */
  unlinkApart(slot: number, dirfd: number, name: string): number;
  /** 1 while blocks of removed files are on their way back to their file system, in any thread; 0. */
  freesPending(): number;
  /** faccessat2(2) with the effective ids, following no symlink; `mode` is R_OK | W_OK | X_OK. */
  faccessat(dirfd: number, name: string, mode: number): number;
  /** `uid`/`gid` of -1 leave that id alone. */
  fchownat(dirfd: number, name: string, uid: number, gid: number, flags: number): number;
  /** fchmodat2(2) where the kernel has it (6.6), else a detour over /proc/self/fd; never follows a symlink. */
  fchmodat(dirfd: number, name: string, mode: number): number;
  /** Nanoseconds may be UTIME_NOW (0x3fffffff) or UTIME_OMIT (0x3ffffffe). Seconds may be negative. */
  utimensat(
    dirfd: number,
    name: string,
    atimeSec: number,
    atimeNsec: number,
    mtimeSec: number,
    mtimeNsec: number,
    flags: number,
  ): number;
  /** getdents64(2): linux_dirent64 records land at `at`; returns their bytes, 0 at the end. */
  getdents64(fd: number, at: number, size: number): number;
  /** lseek(2); the resulting offset (u64) lands at `at`. */
  lseek(fd: number, lo: number, hi: number, whence: number, at: number): number;

  // --- xattrs (never follow a symlink; setxattrat(2) family of 6.13, else /proc/self/fd/N[/name]) ---
  /** An empty `name` means the object `dirfd` itself (O_PATH allowed). Size 0 asks for the length. */
  getxattr(dirfd: number, name: string, key: string, at: number, size: number): number;
  setxattr(
    dirfd: number,
    name: string,
    key: string,
    at: number,
    size: number,
    flags: number,
  ): number;
  listxattr(dirfd: number, name: string, at: number, size: number): number;
  removexattr(dirfd: number, name: string, key: string): number;

  // --- data --------------------------------------------------------------------------------
  pread(fd: number, at: number, size: number, lo: number, hi: number): number;
  pwrite(fd: number, at: number, size: number, lo: number, hi: number): number;
  ftruncate(fd: number, lo: number, hi: number): number;
  fallocate(
    fd: number,
    mode: number,
    offLo: number,
    offHi: number,
    lenLo: number,
    lenHi: number,
  ): number;
  /** copy_file_range(2) of at most `len` (a plain number, <= 2^30); returns the bytes copied. */
  copyFileRange(
    fdIn: number,
    inLo: number,
    inHi: number,
    fdOut: number,
    outLo: number,
    outHi: number,
    len: number,
  ): number;
  /**
   * Copies all of `fdIn` (`size` bytes, as halves) to the empty file `fdOut`: FICLONE, else the data
   * ranges found by SEEK_DATA/SEEK_HOLE with copy_file_range, else pread/pwrite; the final size is
   * set by ftruncate, so holes stay holes. Returns 0 or -errno (ENOSPC, EDQUOT, EIO, EFBIG ...).
   */
  copyData(fdIn: number, fdOut: number, sizeLo: number, sizeHi: number): number;
  /**
   * posix_fadvise(2), POSIX_FADV_WILLNEED for the first `size` bytes: the disk is asked, not
   * waited for; squashfs unpacks at once.
   */
  willNeed(fd: number, size: number): number;
  fsync(fd: number): number;
  fdatasync(fd: number): number;
  syncfs(fd: number): number;
  /** fstatfs(2): struct statfs (120 bytes on 64-bit) lands at `at`. O_PATH descriptors are fine. */
  fstatfs(fd: number, at: number): number;
  /** ioctl(2) with a pointer to `memory[at]`. */
  ioctl(fd: number, request: number, at: number): number;
  /** name_to_handle_at(2): u32 handle_bytes, i32 handle_type, then the handle, at `at` (136 bytes). */
  nameToHandleAt(dirfd: number, name: string, at: number, flags: number): number;
  /** open_by_handle_at(2) of the handle stored as above at `at`; `mountFd` must not be O_PATH. */
  openByHandleAt(mountFd: number, at: number, flags: number): number;
  /** umask(2) of the whole process. */
  umask(mask: number): number;
  /** flock(2). */
  flock(fd: number, operation: number): number;
  /** The soft limit of RLIMIT_NOFILE after raising it to the hard one. */
  raiseNofile(): number;
  /** setpriority(2) of the calling thread alone. */
  niceThread(value: number): number;

  // --- one budget of descriptors for all threads of the process (native/budget.h) ----------------
  /** Adds to the number of descriptors that all threads keep open for later; returns it. */
  budgetKept(delta: number): number;
  /** This thread keeps some from now on; returns how many threads do. */
  budgetJoin(): number;
  /** How often a thread has got no more descriptors; `now`: also this one, and all others wake up. */
  budgetCall(now: boolean): number;
  /** Waits until all threads together keep fewer than `kept`, at most `ms`; returns how many they keep. */
  budgetWait(kept: number, ms: number): number;

  // --- mounts ------------------------------------------------------------------------------
  mount(source: string, target: string, type: string, flags: number, data: string): number;
  umount2(target: string, flags: number): number;

  // --- the host (native/peer.cc) -------------------------------------------------------------
  /** The user ID of the process at the other end of a connected unix socket (SO_PEERCRED). */
  peerUid(fd: number): number;
  /** What that process may do, as text (native/identity.h); -errno when it cannot be told. */
  peerIdentity(fd: number): string | number;
  /** Sends `text` to the datagram socket at `path` (`@NAME`: an abstract one); 0 or -errno. */
  sendDatagram(path: string, text: string): number;
  /** Connects to the SOCK_SEQPACKET socket at `path`: a descriptor whose reads are packets, or -errno. */
  connectPackets(path: string): number;
  /** shutdown(2). */
  shutdownSocket(fd: number, how: number): number;
  /** clock_gettime(2), CLOCK_REALTIME, in nanoseconds; Date.now() has milliseconds. */
  timeOfDay(): bigint;
  /** _exit(2): ends the process without waiting for threads that sit in a system call. */
  exitNow(code: number): never;

  /**
   * fsync(2) of every regular file and directory beneath the directory `fd` and of itself, off this
   * thread and several at a time; `fd` stays open until it is done. 0 or the first -errno.
   */
  syncTree(fd: number): Promise<number>;

  // --- the host's paths (native/host_paths.cc): each promise is of a call on a thread of its own, as
  // --- it may hang; NO_THREAD when none can be had
  /** syncfs(2) of the file system at `path`; 0 or -errno. */
  syncPath(path: string): Promise<number>;
  /** umount2(2): the last unmount of a file system writes what is dirty. */
  unmountPath(path: string, flags: number): Promise<number>;
  /**
   * One line for each path, following symlinks: an errno, or `DEV INO IS_DIRECTORY TYPE`, all decimal,
   * where TYPE is f_type of statfs(2). `progress[0]` counts the paths that have answered.
   */
  probePaths(paths: readonly string[], progress: Int32Array): Promise<readonly [number, string]>;
  /**
   * Processes that use the file system `major`:`minor`: a line `PID HOW NAME` for each, `most` at most, where
   * HOW is cwd, root, exe, fd, map or mount. Asks the file system nothing.
   */
  holders(major: number, minor: number, most: number): Promise<readonly [number, string]>;
  /** Opens a directory and takes flock(2) `how | LOCK_NB` on it; the descriptor, or -errno. */
  lockPath(path: string, how: number): Promise<number>;
  /**
   * A FUSE mount that is nowhere yet (fsopen, fsconfig, fsmount): `parameters` as `key=value` or `key`,
   * MOUNT_ATTR_*. The mount's descriptor, or -errno. Not a promise: it walks no path.
   */
  createMount(parameters: readonly string[], attributes: number): number;
  /** move_mount(2) of that mount to `target`. */
  attachMount(mountFd: number, target: string): Promise<number>;
  /** mount(2). */
  mountPath(
    source: string,
    target: string,
    type: string,
    flags: number,
    data: string,
  ): Promise<number>;
  /**
   * Has the kernel write the dirty pages of nodes 1 to `last` of the mount that `deviceFd` serves, while
   * its engine answers the WRITEs. 0 or -errno.
   */
  flushNodes(deviceFd: number, last: number): Promise<number>;
  /**
   * Mounts through `fusermount3` (then `fusermount`): runs it with `-o options -- target` and receives
   * the device descriptor over its socket. That descriptor or -errno, and what it said on stderr.
   */
  programMount(target: string, options: string): Promise<readonly [number, string]>;
  /** `fusermount3 -u [-z] target`; 0 or -errno, and what it said. */
  programUnmount(target: string, lazy: boolean): Promise<readonly [number, string]>;

  // --- the session -------------------------------------------------------------------------
  /** Adds a /dev/fuse descriptor (set O_NONBLOCK here) to this thread's loop; returns its slot. */
  attach(fd: number): number;
  /** Removes a slot and closes its descriptor. */
  detach(slot: number): number;
  /**
   * Writes the reply (OUT region, `length` bytes, 0 = none) to `slot`, then waits for the next
   * request of any slot and reads it to the IN region. Spins adaptively before it blocks
   * (docs/design.md). READ and WRITE on a node with a backing descriptor are answered inside.
   * Returns the slot number (0..65535) of the request, or NEXT_WAKE when `wake` was called, or
   * NEXT_ENDED - slot when that slot's connection has ended (unmounted or aborted); detach it.
   */
  next(slot: number, length: number): number;
  /**
   * Writes `length` bytes at `at` to the slot's device: a notification or a late reply. A late reply
   * that the kernel refuses is answered with EIO, as in `next`. -ENOENT: the request or the entry is
   * gone, which is fine.
   */
  send(slot: number, at: number, length: number): number;
  // --- the I/O pool (native/README.md); threads start with the first job ------------------------
  /**
   * Answers the request in IN, an fsync of what `fd` is, later; the descriptor stays the caller's and
   * may be closed at once. -EAGAIN: the pool takes no more, answer it here.
   */
  poolSync(slot: number, fd: number, dataOnly: boolean): number;
  /** As poolSync, for a COPY_FILE_RANGE to the file of `nodeOut`. */
  poolRange(
    slot: number,
    fdIn: number,
    inLo: number,
    inHi: number,
    nodeOut: number,
    fdOut: number,
    outLo: number,
    outHi: number,
    size: number,
  ): number;
  /**
   * `copyData` in the pool, then fsync with `sync`; `keepSize`: the target has its size already. Both
   * descriptors stay open until it is done. Returns the job's number (> 0), -EAGAIN (copy here), or
   * -ENOTCONN (the slot has ended).
   */
  poolCopy(
    slot: number,
    fdIn: number,
    fdOut: number,
    sizeLo: number,
    sizeHi: number,
    sync: boolean,
    keepSize: boolean,
  ): number;
  /**
   * Has the kernel write the dirty pages of `size` bytes of a node at an offset (0: up to the end) and
   * drop its pages there (FUSE_NOTIFY_INVAL_INODE). The WRITEs come to this thread meanwhile. Returns the
   * job's number, -EAGAIN or -ENOTCONN, as poolCopy.
   */
  poolFlush(
    slot: number,
    node: number,
    lo: number,
    hi: number,
    sizeLo: number,
    sizeHi: number,
  ): number;
  /**
   * Looks whether an object of the layer with this root has an xattr that is not the overlay's own
   * (`marks`: how those begin). Returns the job's number, -EAGAIN or -ENOTCONN, as poolCopy. Its result: 0 for
   * none, 1, or -errno for not known. The descriptor may be closed at once.
   */
  poolCensus(slot: number, root: number, marks: string): number;
  /**
   * LISTXATTR and GETXATTR of security.capability, of nodes with `bits[node]` 1, are answered inside
   * `next`: there is none. The array is read as long as the slot is attached, or until the next one.
   */
  shareBare(slot: number, bits: Uint8Array): void;
  /**
   * ftruncate(2) of `fd`, the file of `node`, which keeps its modification time with `keepTime` (as between
   * holdTime and putHeldTime). The descriptor may be closed at once. Returns as poolCopy.
   */
  poolTruncate(
    slot: number,
    node: number,
    fd: number,
    lo: number,
    hi: number,
    keepTime: boolean,
  ): number;
  /** Waits for the blocks that are on their way; a moment, when there are none. Returns as poolCopy. */
  poolRoom(slot: number): number;
  /** Answers the request in IN with fallocate(2) of `fd`, the file of `node`. 0, or -errno: do it here. */
  poolAllocate(
    slot: number,
    node: number,
    fd: number,
    mode: number,
    lo: number,
    hi: number,
    sizeLo: number,
    sizeHi: number,
  ): number;
  /** Answers the request in IN with fstatfs(2) of `fd`. 0, or -errno: do it here. */
  poolStatfs(slot: number, fd: number): number;
  /** Lets a copy end early, with -ECANCELED, unless it is done already. */
  poolCancel(job: number): number;
  /**
   * The number of a job with a number that is done, its result (i32) at `at`; 0: none. `next` returns
   * NEXT_WAKE when there is one; look also after NEXT_ENDED, which comes after all jobs of its slot.
   */
  poolDone(at: number): number;
  /** The request in IN will be answered by `send`; returns when it was read, for `resumed`. */
  park(): number;
  /** A parked request of `opcode` has been answered. */
  resumed(slot: number, opcode: number, begun: number): void;
  /**
   * The errno (> 0) of the last reply that could not be written, then forgets it; 0 = none. Its
   * caller got EIO instead. ENOENT (the request was aborted) does not count.
   */
  lastSendError(): number;
  /** The errno (> 0) that ended a slot otherwise than by an unmount or an abort; 0 = none. */
  lastReadError(): number;
  /**
   * Makes `fd` the descriptor that answers READ (and, when `writable`, WRITE) of `nodeid` inside
   * `next`; -1 forgets it. The descriptor stays the caller's. WRITE with FUSE_WRITE_KILL_SUIDGID
   * always goes to the engine.
   */
  setBacking(slot: number, nodeid: number, fd: number, writable: boolean): void;
  /**
   * The kernel keeps the modification times of the slot's regular files (writeback cache): from now
   * on WRITE inside `next` and the pool's jobs leave those of the files they write to.
   */
  keepTimes(slot: number): void;
  /**
   * A change of the data of `fd`, the file of `nodeid`, begins; at its end comes `putHeldTime`,
   * and no second one between.
   */
  holdTime(slot: number, nodeid: number, fd: number): void;
  /** Gives `fd` the modification time it had at `holdTime`, or, while the pool writes to it, is to have. */
  putHeldTime(fd: number): void;
  /** The file of `nodeid` is about to be given this modification time, which the pool must not undo. */
  timeSet(slot: number, nodeid: number, seconds: number, nanoseconds: number): void;
  /**
   * Registers the regular file `fd` (O_PATH will do) with the slot's connection, for passthrough:
   * its backing id (> 0), or -errno: EPERM without CAP_SYS_ADMIN in the initial user namespace,
   * ELOOP when its file system is stacked too deep. The descriptor stays the caller's
   * (FUSE_DEV_IOC_BACKING_OPEN).
   */
  passthroughOpen(slot: number, fd: number): number;
  /** Gives a backing id up; files open on it keep it (FUSE_DEV_IOC_BACKING_CLOSE). */
  passthroughClose(slot: number, id: number): number;
  /**
   * What a slot did so far, requests and how long they took: a live view the loop counts in;
   * tally.ts says what is where.
   */
  counters(slot: number): Float64Array;
  /** The eventfd that makes this thread's `next` return NEXT_WAKE. */
  wakeFd(): number;
  /** Writes to a wake eventfd; any thread may call it. */
  wake(fd: number): number;
  /** Makes `next` return NEXT_WAKE after `ms` milliseconds, once; of several calls before that the soonest counts. */
  wakeAfter(ms: number): number;

  // --- arena -------------------------------------------------------------------------------
  /**
   * A memfd of `bytes` (at most 2^32; sparse: pages exist when touched), mapped shared. Throws when
   * it cannot be made. The mapping goes when the array buffer is collected and the event loop turns,
   * which it does not in a thread that sits in `next`: arenaFree does it at once.
   */
  arena(bytes: number): ArrayBuffer;
  /**
   * Extends the memfd behind `buffer` to `bytes` and maps it whole once more: the result shows the
   * same memory; `buffer` stays valid until it is freed or collected. Throws as `arena` does.
   */
  arenaGrow(buffer: ArrayBuffer, bytes: number): ArrayBuffer;
  /**
   * Unmaps this mapping now, and closes the memfd when it was the last one; the buffer is detached
   * (its views become empty).
   */
  arenaFree(buffer: ArrayBuffer): number;
  /** Gives the pages wholly inside [from, to) of an arena back (MADV_REMOVE). */
  arenaTrim(buffer: ArrayBuffer, from: number, to: number): number;

  // --- tests -------------------------------------------------------------------------------
  /**
   * "struct.field" -> offset and "struct" -> size, as this compiler lays out <linux/fuse.h> and
   * native/fuse_abi.h (names without "fuse_"; the host's structs as "sys_statx", "sys_statfs",
   * "sys_dirent64"); "memory.REGION" -> native/memory.h; "const.NAME" -> constants after 7.38.
   */
  layout(): Record<string, number>;
}

/** `next`: `wake` was called on this thread's eventfd. */
export const NEXT_WAKE = -1;
/** `next`: returned as NEXT_ENDED - slot when a connection ended. */
export const NEXT_ENDED = -1000;

/** Loads the addon; each thread gets an instance, with a memory of its own. */
/** The addon's open file, for threads that are started later: the install may be replaced meanwhile. */
const ADDON = 'stratafs-addon';

export function loadNative(): Native {
  const kept = getEnvironmentData(ADDON);
  if (typeof kept === 'string') {
    // The same inode, so the same library as in the first thread.
    const module = { exports: {} };
    process.dlopen(module, kept);
    return module.exports as Native;
  }
  return createRequire(import.meta.url)(nativeFile('stratafs_native.node')) as Native;
}

/** As loadNative; threads started from now on load the same file, whatever its name leads to by then. */
export function loadNativeForAll(): Native {
  const file = openSync(nativeFile('stratafs_native.node'), 'r');
  setEnvironmentData(ADDON, `/proc/self/fd/${file}`);
  return loadNative();
}
