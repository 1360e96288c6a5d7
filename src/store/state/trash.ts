/**
 * Deleting directories: first one rename into `trash/`, which is what counts, then the slow part. A
 * crash in between leaves only what the next deletion removes.
 */
import { lstatSync, renameSync, rmSync } from 'node:fs';
import { names, unlessMissing } from './files.js';
import { bytes } from '../../sys/paths.js';
import { newId } from './ids.js';

/** Removes a directory or file of the store; nothing happens when it does not exist. */
export function discard(root: string, path: string): void {
  const target = `${root}/trash/${newId().slice(0, 24)}`;
  const moved = unlessMissing(() => {
    renameSync(bytes(path), bytes(target));
    return true;
  });
  if (moved) rmSync(bytes(target), { recursive: true, force: true, maxRetries: 2 });
}

/** Deletes what crashed deletions left; returns how many there were. */
export function emptyTrash(root: string): number {
  const left = names(`${root}/trash`);
  for (const name of left) {
    const path = bytes(`${root}/trash/${name}`);
    // Another command may be deleting the same.
    if (unlessMissing(() => lstatSync(path))) rmSync(path, { recursive: true, force: true });
  }
  return left.length;
}
