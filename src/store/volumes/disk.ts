/**
 * A limit for a volume's changes: they lie in a file system of that size, in a sparse file. Quotas of
 * the disk's own file system would need it to be mounted with them, which it usually is not.
 */
import { execFile } from 'node:child_process';
import { closeSync, ftruncateSync, mkdirSync, openSync } from 'node:fs';
import { promisify } from 'node:util';
import { toLatin1 } from '../../base/bytes.js';
import { UserError } from '../../base/errno.js';
import { deviceAt } from '../../sys/mountTable.js';
import { administersMachine } from '../../sys/userns.js';

const run = promisify(execFile);

async function command(program: string, args: readonly string[], what: string): Promise<void> {
  try {
    await run(program, args);
  } catch (error) {
    const missing = error instanceof Error && 'code' in error && error.code === 'ENOENT';
    if (missing) throw new UserError(`size= needs ${program}: install e2fsprogs and mount`);
    const said = error instanceof Error && 'stderr' in error ? String(error.stderr) : '';
    throw new UserError(`${what}: ${said.trim().split('\n')[0] || String(error)}`);
  }
}

/** Throws UserError where no limit can be kept. */
export function checkDisk(): void {
  if (administersMachine()) return;
  throw new UserError('size= needs root: only root may mount the file system that keeps the limit');
}

/** Makes the file system of `size` bytes, in `directory`. */
export async function makeDisk(directory: string, size: number): Promise<void> {
  const image = `${directory}/disk.img`;
  const fd = openSync(image, 'wx', 0o600);
  try {
    ftruncateSync(fd, size);
  } finally {
    closeSync(fd);
  }
  mkdirSync(`${directory}/disk`);
  // No blocks for root alone, no lost+found beside the upper's owner: all of it is the volume's.
  await command(
    'mkfs.ext4',
    ['-q', '-F', '-m', '0', image],
    'cannot make the file system of a volume',
  );
}

/** Mounts it; nothing happens when it is mounted already. */
export async function mountDisk(directory: string): Promise<void> {
  const place = `${directory}/disk`;
  if (deviceAt(toLatin1(place)) !== undefined) return;
  await command('mount', ['-o', 'loop', `${directory}/disk.img`, place], `cannot mount ${place}`);
}

export async function unmountDisk(directory: string): Promise<void> {
  const place = `${directory}/disk`;
  if (deviceAt(toLatin1(place)) === undefined) return;
  await command('umount', [place], `cannot unmount ${place}`);
}
