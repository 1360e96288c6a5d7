/** Unmounts. Paths are resolved mount points, latin1. */
import { writeFile } from 'node:fs/promises';
import { display } from '../base/bytes.js';
import { E, errnoText } from '../base/errno.js';
import type { Native } from '../sys/native.js';
import { detach } from './device.js';
import { placesOf } from '../sys/mountTable.js';
import { within } from './within.js';

/** A mount whose layers do not answer is detached after this: what it holds is written when they do. */
const PATIENCE_MS = 15_000;

type Log = (line: string) => void;

/**
 * Syncs and unmounts what is mounted at `place`, detaching it when it is busy. True when nothing of
 * it is left in use here. Off the calling thread: the file system syncs on its last unmount.
 */
export async function unmountPlace(native: Native, place: string, log: Log): Promise<boolean> {
  const synced = (await within(PATIENCE_MS, native.syncPath(place))) ?? -E.ETIMEDOUT;
  // ENOTCONN: the connection was aborted; there is nothing left to sync it with.
  if (synced < 0 && synced !== -E.ENOTCONN)
    log(`cannot sync ${display(place)}: ${errnoText(synced)}`);
  let result = (await within(PATIENCE_MS, native.unmountPath(place, 0))) ?? -E.ETIMEDOUT;
  if (result >= 0) return true;
  if (result === -E.EPERM && (await native.programUnmount(place, false))[0] >= 0) return true;
  result = await detach(native, place);
  if (result < 0) log(`cannot unmount ${display(place)}: ${errnoText(result)}`);
  return false;
}

/** Cuts the connection of a mount whose engine is gone: its callers would wait for ever. */
export async function abortConnection(native: Native, device: string, log: Log): Promise<void> {
  const path = `/sys/fs/fuse/connections/${device.split(':')[1]}/abort`;
  try {
    await writeFile(path, '1');
  } catch (error) {
    // Where fusectl is not mounted the connection ends with its last descriptor: with this process.
    log(`cannot write ${path}: ${String(error)}`);
  }
  for (const place of placesOf(device)) {
    const result = await detach(native, place);
    if (result < 0) log(`cannot unmount ${display(place)}: ${errnoText(result)}`);
  }
}
