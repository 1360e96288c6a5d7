/** Types of files, in words. */
import { S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG } from '../../base/mode.js';

export type FileKind = 'file' | 'directory' | 'symlink' | 'device' | 'fifo' | 'socket';

const KINDS = new Map<number, FileKind>([
  [S_IFREG, 'file'],
  [S_IFDIR, 'directory'],
  [S_IFLNK, 'symlink'],
  [S_IFCHR, 'device'],
  [S_IFBLK, 'device'],
  [S_IFIFO, 'fifo'],
]);

export const kindOf = (mode: number): FileKind => KINDS.get(mode & S_IFMT) ?? 'socket';
