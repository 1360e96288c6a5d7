/**
 * The differences from kernel overlayfs that are meant, each with its reason; everything else is a
 * failure. Names and fields that no two runs share (inode numbers, the present time, sizes and link
 * counts of directories) are taken out by `comparable`, with the reason there.
 */
import type { Operation } from './operations.js';

export interface Accepted {
  readonly reason: string;
  /** Results as `comparable` gives them: an errno's name or the answer's words. */
  readonly matches: (operation: Operation, subject: string, reference: string) => boolean;
  /** True when the two trees go different ways afterwards: the rest is not compared. */
  readonly diverges: boolean;
}

export const ACCEPTED: readonly Accepted[] = [];

/** Index of mtime in the client's answer to lstat, stat and fstat; then comes the inode number. */
const MODE = 0;
const NLINK = 1;
const SIZE = 5;
const MTIME = 6;

const isDirectory = (mode: string): boolean => (parseInt(mode, 8) & 0o170000) === 0o040000;

/** A time of this run, whichever it is, is "now"; times that operations set are compared exactly. */
export function timeClass(mtime: string, started: number): string {
  return Number(mtime.split('.')[0]) >= started && Number(mtime.split('.')[0]) < started + 86_400
    ? 'now'
    : mtime;
}

function comparableStat(words: readonly string[], started: number): string[] {
  const shown = [...words.slice(0, MTIME), timeClass(words[MTIME] ?? '', started)];
  if (isDirectory(words[MODE] ?? '')) {
    // Kernel overlayfs answers 1 for the links of a merged directory, and the size of whichever
    // directory lies uppermost.
    shown[NLINK] = '-';
    shown[SIZE] = '-';
  }
  return shown;
}

/** The part of an answer that two drivers must agree on. */
export function comparable(
  operation: Operation,
  words: readonly string[],
  started: number,
): string {
  switch (operation[0]) {
    case 'lstat':
    case 'stat':
    case 'fstat':
      return comparableStat(words, started).join(' ');
    case 'listxattr':
      return words.toSorted().join(' ');
    case 'statfs':
      // Free space changes while the tests run.
      return words.slice(0, 4).join(' ');
    default:
      return words.join(' ');
  }
}
