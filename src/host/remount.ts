/** `-o remount,...` of a live mount, as mount(8) passes it to its helper. */
import { display } from '../base/bytes.js';
import { errnoText, UserError } from '../base/errno.js';
import { nothingSaid } from '../options/collected.js';
import { allOptions, splitOptions } from '../options/list.js';
import { MS } from '../options/mountFlags.js';
import { optionRow } from '../options/table.js';
import { deviceAt, MOUNT_TYPE, mountsOfTypes } from '../sys/mountTable.js';
import type { Native } from '../sys/native.js';
import { realpath } from '../sys/paths.js';
import type { MountInfo } from '../wire/control.js';
import { within } from './within.js';

const MS_REMOUNT = 32;
const PATIENCE_MS = 60_000;

export const isRemount = (lists: readonly string[]): boolean =>
  splitOptions(lists).some(([name]) => name === 'remount');

/** The MS_* flags of the list; like kernel overlayfs, a remount takes no other option to heart. */
function flagsOf(lists: readonly string[], cwd: string): number {
  const into = nothingSaid(true);
  for (const [name, value] of allOptions(lists, cwd)) {
    if (name === 'remount') continue;
    const row = optionRow(name);
    // fstab has the layers too: what they are is settled.
    if (value === undefined) row?.take(into, value, cwd);
  }
  return into.flags;
}

/** Throws UserError. */
export async function remount(
  native: Native,
  mounts: readonly MountInfo[],
  { lists, cwd, mountpoint }: { lists: readonly string[]; cwd: string; mountpoint: string },
): Promise<void> {
  const shown = display(mountpoint);
  const resolved = realpath(mountpoint);
  if (typeof resolved === 'number')
    throw new UserError(`cannot read ${shown}: ${errnoText(resolved)}`);
  const device = deviceAt(resolved);
  const mount = mounts.find((each) => each.device === device);
  // One that is served in the foreground: what is changed is the kernel's alone.
  const ours = mountsOfTypes([MOUNT_TYPE]).some((row) => row.device === device);
  if (!mount && !ours) throw new UserError(`${shown} is no mount of stratafs: see stratafs mounts`);
  const flags = flagsOf(lists, cwd);
  if (mount?.readOnly === true && (flags & MS.RDONLY) === 0) {
    throw new UserError(
      `${shown} was mounted read-only: unmount it, and mount it with upperdir, workdir and rw`,
    );
  }
  const result = await within(
    PATIENCE_MS,
    native.mountPath('', resolved, '', flags | MS_REMOUNT, ''),
  );
  if (result === undefined) throw new UserError(`${shown} does not answer: look at its layers`);
  if (result < 0) throw new UserError(`cannot remount ${shown}: ${errnoText(result)}`);
}
