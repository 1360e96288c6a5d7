/**
 * Files of a root file system that others have made: every path is resolved with that root as "/", so no
 * symlink in it leads out (openat2(2), RESOLVE_IN_ROOT), and what is opened is no FIFO or device.
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { toLatin1 } from '../../base/bytes.js';
import {
  O_DIRECTORY,
  O_NONBLOCK,
  O_PATH,
  O_RDONLY,
  RESOLVE_IN_ROOT,
  RESOLVE_NO_MAGICLINKS,
} from '../../sys/constants.js';
import { loadNative } from '../../sys/native.js';

const HOW = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;

/** Opens what `path` is inside `root` (UTF-8); the descriptor, which is the caller's to close, or -errno. */
export function openInside(root: string, path: string, flags: number): number {
  const directory = openSync(root, O_PATH | O_DIRECTORY);
  try {
    return loadNative().openat2(directory, toLatin1(path === '' ? '.' : path), flags, 0, HOW);
  } finally {
    closeSync(directory);
  }
}

/** Runs `act` with a descriptor of what `path` is inside `root`; with -errno when it cannot be opened. */
function withInside<T>(root: string, path: string, flags: number, act: (fd: number) => T): T {
  const fd = openInside(root, path, flags);
  try {
    return act(fd);
  } finally {
    if (fd >= 0) closeSync(fd);
  }
}

/** Text of a file inside `root`, of `most` bytes at most; '' when there is none. */
export function readInside(root: string, path: string, most = 1 << 20): string {
  return withInside(root, path, O_RDONLY | O_NONBLOCK, (fd) => {
    if (fd < 0 || !fstatSync(fd).isFile()) return '';
    const buffer = Buffer.alloc(Math.min(most, fstatSync(fd).size));
    let length = 0;
    for (let n = 1; n > 0 && length < buffer.length; length += n) {
      n = readSync(fd, buffer, length, buffer.length - length, null);
    }
    return buffer.toString('utf8', 0, length);
  });
}
