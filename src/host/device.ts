/**
 * Opens /dev/fuse and mounts it, with mount(2), or with fusermount3 where mount(2) needs privilege that we
 * lack. Where the kernel allows it (5.2), the mount is made detached, served, and then moved to its place. So
 * it appears complete, and an earlier failure leaves nothing. Calls that walk a path run on another thread.
 */
import { readFileSync } from 'node:fs';
import { display } from '../base/bytes.js';
import { E, errnoText, NO_THREAD, UserError } from '../base/errno.js';
import { STATX } from '../protocol/layout.js';
import { AT_EMPTY_PATH, AT_FDCWD, MNT_DETACH, O_RDWR } from '../sys/constants.js';
import { SCRATCH } from '../sys/memory.js';
import { deviceAt, MOUNT_TYPE } from '../sys/mountTable.js';
import type { Native } from '../sys/native.js';
import type { MountPlan } from '../options/plan.js';
import { MS } from '../options/mountFlags.js';

/** The type the mount table shows; engines and `stratafs unmount` know our mounts by it. */

/** What fusermount3 takes as words instead of MS_* (its own list, util/fusermount.c). */
const WORDS: readonly (readonly [number, string])[] = [
  [MS.RDONLY, 'ro'],
  [MS.NOSUID, 'nosuid'],
  [MS.NODEV, 'nodev'],
  [MS.NOEXEC, 'noexec'],
  [MS.SYNCHRONOUS, 'sync'],
  [MS.DIRSYNC, 'dirsync'],
  [MS.NOATIME, 'noatime'],
];
/** MS_* of the file system, as fsconfig(2) names them, and of the mount, as fsmount(2) has them. */
const SUPER: readonly (readonly [number, string])[] = [
  [MS.RDONLY, 'ro'],
  [MS.SYNCHRONOUS, 'sync'],
  [MS.DIRSYNC, 'dirsync'],
  [MS.LAZYTIME, 'lazytime'],
];
const ATTRIBUTES: readonly (readonly [number, number])[] = [
  [MS.RDONLY, 1],
  [MS.NOSUID, 2],
  [MS.NODEV, 4],
  [MS.NOEXEC, 8],
  [MS.NOATIME, 0x10],
  [MS.STRICTATIME, 0x20],
  [MS.NODIRATIME, 0x80],
];
/** Of /dev/fuse, a misc device (include/linux/miscdevice.h). */
const FUSE_MAJOR = 10;
const FUSE_MINOR = 229;
/** No file system has it: for one whose device the kernel does not tell (before 6.17). */
const UNKNOWN_DEVICE = '0:0';
/** No request is made for it: the root's attributes are as the kernel knows them. */
const AT_STATX_DONT_SYNC = 0x4000;

/** What fusermount3 said, as one line for a sentence. */
const programText = (text: string): string => display(text.trim().replace(/\s*\n\s*/g, '; '));

/** A mount that has been made, and the /dev/fuse descriptor that serves it. */
export interface Made {
  readonly fd: number;
  /** The mount while it is nowhere; -1 when it is in its place already. */
  readonly mountFd: number;
}

function parameters(plan: MountPlan, fd: number): string[] {
  return [
    `fd=${fd}`,
    'rootmode=40000',
    `user_id=${process.geteuid?.() ?? 0}`,
    `group_id=${process.getegid?.() ?? 0}`,
    'default_permissions',
    ...(plan.allowOther ? ['allow_other'] : []),
  ];
}

/** Out of sight; a negative errno where that cannot be. */
function detachedMount(native: Native, plan: MountPlan, fd: number): number {
  // Their form differs between mount(2) and fsconfig(2).
  if (plan.labels.length > 0) return -E.ENOSYS;
  const attributes = ATTRIBUTES.filter(([flag]) => (plan.flags & flag) !== 0);
  return native.createMount(
    [
      `source=${plan.source}`,
      'subtype=stratafs',
      ...parameters(plan, fd),
      ...SUPER.filter(([flag]) => (plan.flags & flag) !== 0).map(([, word]) => word),
    ],
    attributes.reduce((all, [, attribute]) => all | attribute, 0),
  );
}

async function kernelMount(
  native: Native,
  plan: MountPlan,
  target: string,
): Promise<Made | number> {
  const fd = native.openat2(AT_FDCWD, '/dev/fuse', O_RDWR, 0, 0);
  if (fd < 0) return fd;
  const mountFd = detachedMount(native, plan, fd);
  if (mountFd >= 0) return { fd, mountFd };
  const data = [...parameters(plan, fd), ...plan.labels].join(',');
  const result = await native.mountPath(plan.source, target, MOUNT_TYPE, plan.flags, data);
  if (result >= 0) return { fd, mountFd: -1 };
  native.close(fd);
  return result;
}

function programMount(
  native: Native,
  plan: MountPlan,
  target: string,
): Promise<readonly [number, string]> {
  const source = plan.source.replace(/[\\,]/g, '\\$&');
  const options = [
    ...WORDS.filter(([flag]) => (plan.flags & flag) !== 0).map(([, word]) => word),
    `fsname=${source}`,
    'subtype=stratafs',
    'default_permissions',
    ...(plan.allowOther ? ['allow_other'] : []),
    ...plan.labels,
  ].join(',');
  return native.programMount(target, options);
}

function refusal(target: string, errno: number): string {
  if (errno === E.ENOENT || errno === E.ENODEV || errno === E.ENXIO) {
    return `cannot open /dev/fuse: ${errnoText(errno)}; load the fuse module`;
  }
  return `cannot mount on ${display(target)}: ${errnoText(errno)}`;
}

/** Throws UserError for a descriptor that is no open /dev/fuse. */
export function checkGiven(native: Native, fd: number): void {
  const flags = AT_EMPTY_PATH | AT_STATX_DONT_SYNC;
  const what = `mount point /dev/fd/${fd}`;
  if (native.statx(fd, '', flags, 0, SCRATCH) < 0) {
    throw new UserError(
      `${what} is no open descriptor: whoever opens /dev/fuse must leave it open`,
    );
  }
  const view = new DataView(native.memory);
  const at = (field: number): number => view.getUint32(SCRATCH + field, true);
  if (at(STATX.rdev_major) === FUSE_MAJOR && at(STATX.rdev_minor) === FUSE_MINOR) return;
  throw new UserError(`${what} is not /dev/fuse: open it, mount with fd=${fd}, and hand it on`);
}

/** Makes the mount for `target`, a resolved directory. Throws UserError, with nothing mounted. */
export async function makeMount(native: Native, plan: MountPlan, target: string): Promise<Made> {
  if (plan.givenFd !== undefined) return { fd: plan.givenFd, mountFd: -1 };
  const made = await kernelMount(native, plan, target);
  if (typeof made !== 'number') return made;
  if (made !== -E.EPERM && made !== -E.EACCES) throw new UserError(refusal(target, -made));
  const [fd, text] = await programMount(native, plan, target);
  if (fd >= 0) return { fd, mountFd: -1 };
  const said = fd === -E.ENOENT ? 'fusermount3 is not installed' : programText(text);
  throw new UserError(
    `cannot mount on ${display(target)}: ${errnoText(-made)}; ${said || errnoText(fd)}`,
  );
}

/**
 * Puts a mount that is served in its place. Returns its device, "major:minor". Throws UserError, with
 * nothing mounted.
 */
export async function placeMount(
  native: Native,
  plan: MountPlan,
  target: string,
  { fd, mountFd }: Made,
): Promise<string> {
  if (plan.givenFd !== undefined) return connectionOf(fd) ?? UNKNOWN_DEVICE;
  if (mountFd >= 0) {
    const result = await native.attachMount(mountFd, target);
    if (result < 0) throw new UserError(refusal(target, -result));
  }
  try {
    if (plan.propagation !== 0) await setPropagation(native, plan.propagation, target);
    const device =
      mountFd >= 0 ? deviceOf(native, mountFd) : (connectionOf(fd) ?? deviceAt(target));
    if (device === undefined) {
      throw new UserError(`${display(target)} was unmounted at once: try again`);
    }
    return device;
  } catch (error) {
    await detach(native, mountFd >= 0 ? `/proc/self/fd/${mountFd}` : target);
    throw error;
  }
}

function deviceOf(native: Native, mountFd: number): string | undefined {
  const flags = AT_EMPTY_PATH | AT_STATX_DONT_SYNC;
  if (native.statx(mountFd, '', flags, 0, SCRATCH) < 0) return undefined;
  const view = new DataView(native.memory);
  const [major, minor] = [STATX.dev_major, STATX.dev_minor].map((at) =>
    view.getUint32(SCRATCH + at, true),
  );
  return `${major}:${minor}`;
}

/** The connection that a descriptor serves, from which the device has its minor number (6.17; else unknown). */
function connectionOf(fd: number): string | undefined {
  const info = readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1');
  const connection = /^fuse_connection:\s*(\d+)$/m.exec(info)?.[1];
  return connection === undefined ? undefined : `0:${connection}`;
}

async function setPropagation(native: Native, flags: number, target: string): Promise<void> {
  const result = await native.mountPath('none', target, '', flags, '');
  if (result >= 0) return;
  throw new UserError(
    `cannot set the propagation of ${display(target)}: ${errnoText(result)}; leave that option out`,
  );
}

/** Takes a mount off at once, also when it is in use: for the way back out of a failed start. */
export async function detach(native: Native, target: string): Promise<number> {
  let result = await native.unmountPath(target, MNT_DETACH);
  // Better to wait here than to leave a mount that nobody serves.
  if (result === NO_THREAD) result = native.umount2(target, MNT_DETACH);
  return result === -E.EPERM ? (await native.programUnmount(target, true))[0] : result;
}
