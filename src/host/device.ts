/** The mount itself: /dev/fuse, mount(2), and fusermount3 where that takes privilege we lack. */
import { display } from '../base/bytes.js';
import { E, errnoText, UserError } from '../base/errno.js';
import { AT_FDCWD, MNT_DETACH, O_RDWR } from '../sys/constants.js';
import { SCRATCH } from '../sys/memory.js';
import type { Native } from '../sys/native.js';
import type { MountPlan } from '../options/plan.js';
import { MS } from '../options/mountFlags.js';

/** The type the mount table shows; engines and `stratafs unmount` know our mounts by it. */
export const MOUNT_TYPE = 'fuse.stratafs';

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

/** The text fusermount3 left in shared memory, as one line for a sentence. */
function programText(native: Native): string {
  const memory = Buffer.from(native.memory);
  const end = memory.indexOf(0, SCRATCH);
  const text = memory
    .toString('latin1', SCRATCH, end)
    .trim()
    .replace(/\s*\n\s*/g, '; ');
  return display(text);
}

function kernelMount(native: Native, plan: MountPlan, target: string, allowOther: boolean): number {
  const fd = native.openat2(AT_FDCWD, '/dev/fuse', O_RDWR, 0, 0);
  if (fd < 0) return fd;
  const data = [
    `fd=${fd}`,
    'rootmode=40000',
    `user_id=${process.geteuid?.() ?? 0}`,
    `group_id=${process.getegid?.() ?? 0}`,
    'default_permissions',
    ...(allowOther ? ['allow_other'] : []),
    ...plan.labels,
  ].join(',');
  const result = native.mount(plan.source, target, MOUNT_TYPE, plan.flags, data);
  if (result >= 0) return fd;
  native.close(fd);
  return result;
}

function programMount(native: Native, plan: MountPlan, target: string): number {
  const source = plan.source.replace(/[\\,]/g, '\\$&');
  const options = [
    ...WORDS.filter(([flag]) => (plan.flags & flag) !== 0).map(([, word]) => word),
    `fsname=${source}`,
    'subtype=stratafs',
    'default_permissions',
    ...(plan.allowOther ? ['allow_other'] : []),
    ...plan.labels,
  ].join(',');
  return native.fusermount(target, options, SCRATCH);
}

function refusal(target: string, errno: number): string {
  if (errno === E.ENOENT || errno === E.ENODEV || errno === E.ENXIO) {
    return `cannot open /dev/fuse: ${errnoText(errno)}; load the fuse module`;
  }
  return `cannot mount on ${display(target)}: ${errnoText(errno)}`;
}

/**
 * Mounts on `target` (a resolved directory); returns the /dev/fuse descriptor that serves it. Throws
 * UserError, with nothing mounted.
 */
export function mountDevice(native: Native, plan: MountPlan, target: string): number {
  let fd = kernelMount(native, plan, target, plan.allowOther);
  if (fd === -E.EPERM || fd === -E.EACCES) {
    const errno = -fd;
    fd = programMount(native, plan, target);
    if (fd < 0) {
      const said = fd === -E.ENOENT ? 'fusermount3 is not installed' : programText(native);
      throw new UserError(
        `cannot mount on ${display(target)}: ${errnoText(errno)}; ${said || errnoText(fd)}`,
      );
    }
  }
  if (fd < 0) throw new UserError(refusal(target, -fd));
  if (plan.propagation !== 0) setPropagation(native, plan.propagation, target, fd);
  return fd;
}

function setPropagation(native: Native, flags: number, target: string, fd: number): void {
  const result = native.mount('none', target, '', flags, '');
  if (result >= 0) return;
  detach(native, target);
  native.close(fd);
  throw new UserError(
    `cannot set the propagation of ${display(target)}: ${errnoText(result)}; leave that option out`,
  );
}

/** Takes a mount off at once, also when it is in use: for the way back out of a failed start. */
export function detach(native: Native, target: string): number {
  const result = native.umount2(target, MNT_DETACH);
  return result === -E.EPERM ? native.fusermountUnmount(target, true, SCRATCH) : result;
}
