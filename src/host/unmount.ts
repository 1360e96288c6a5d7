/** Taking mounts off. Paths are resolved mount points, latin1. */
import { writeFileSync } from 'node:fs';
import { display } from '../base/bytes.js';
import { E, errnoText } from '../base/errno.js';
import { MNT_DETACH } from '../sys/constants.js';
import { SCRATCH } from '../sys/memory.js';
import type { Native } from '../sys/native.js';
import { detach } from './device.js';
import { placesOf } from '../sys/mountTable.js';

type Log = (line: string) => void;

/**
 * Syncs and unmounts what is mounted at `place`, detaching it when it is busy. True when nothing of
 * it is left in use here. Off the calling thread: the file system syncs on its last unmount.
 */
export async function unmountPlace(native: Native, place: string, log: Log): Promise<boolean> {
  const synced = await native.syncPath(place);
  // ENOTCONN: the connection was aborted; there is nothing left to sync it with.
  if (synced < 0 && synced !== -E.ENOTCONN)
    log(`cannot sync ${display(place)}: ${errnoText(synced)}`);
  let result = await native.unmountPath(place, 0);
  if (result >= 0) return true;
  if (result === -E.EPERM) {
    if (native.fusermountUnmount(place, false, SCRATCH) >= 0) return true;
    result = detach(native, place);
  } else {
    result = await native.unmountPath(place, MNT_DETACH);
  }
  if (result < 0) log(`cannot unmount ${display(place)}: ${errnoText(result)}`);
  return false;
}

/** Cuts the connection of a mount whose engine is gone: its callers would wait for ever. */
export function abortConnection(native: Native, device: string, log: Log): void {
  const path = `/sys/fs/fuse/connections/${device.split(':')[1]}/abort`;
  try {
    writeFileSync(path, '1');
  } catch (error) {
    // Where fusectl is not mounted the connection ends with its last descriptor: with this process.
    log(`cannot write ${path}: ${String(error)}`);
  }
  for (const place of placesOf(device)) {
    const result = detach(native, place);
    if (result < 0) log(`cannot unmount ${display(place)}: ${errnoText(result)}`);
  }
}
