/**
 * The differences from kernel overlayfs that are meant, each with its reason; everything else is a
 * failure. Names and fields that no two runs share (inode numbers, the present time, sizes and link
 * counts of directories) are taken out by `comparable`, with the reason there.
 */
import type { Features } from '../support/mount.js';
import type { Ignore, Manifest } from '../support/tree.js';
import { type Operation, isReaderSlot } from './operations.js';

export interface Accepted {
  readonly reason: string;
  /** Answers as `comparable` gives them: an errno's name, or "ok" and the answer's words. */
  readonly matches: (
    operation: Operation,
    subject: string,
    reference: string,
    features: Features,
  ) => boolean;
  /** True when the two trees go different ways afterwards: the rest is not compared. */
  readonly diverges: boolean;
}

/** Places in the client's answer to lstat, stat and fstat; after mtime comes the inode number. */
const MODE = 0;
const NLINK = 1;
const SIZE = 5;
const MTIME = 6;

/** The answers agree in all words but one. */
function sameBut(place: number, subject: string, reference: string): boolean {
  const without = (answer: string): string =>
    answer
      .split(' ')
      .toSpliced(1 + place, 1)
      .join(' ');
  return without(subject) === without(reference);
}

/** A redirect of more than 256 bytes: the kernel's limit. */
const LONG_PATH = 200;

export const ACCEPTED: readonly Accepted[] = [
  {
    reason:
      'A file whose metadata alone is in the upper, and whose redirect would be too long, is moved or linked with its data; kernel overlayfs answers EXDEV.',
    matches: ([name, from = '', to = ''], subject, reference) =>
      (name === 'rename' || name === 'link') &&
      String(from).length + String(to).length > LONG_PATH &&
      subject.startsWith('ok') &&
      reference === 'EXDEV',
    diverges: true,
  },
  {
    reason:
      'Data that is copied up after the metadata leaves the mtime as it was; kernel overlayfs sets the present time. (With metacopy=off nothing of this kind is accepted.)',
    matches: ([name], subject, reference, features) =>
      features === 'full' &&
      ['lstat', 'stat', 'fstat'].includes(name) &&
      reference.split(' ')[1 + MTIME] === 'now' &&
      (reference.split(' ')[1 + MODE] ?? '').startsWith('10') &&
      sameBut(MTIME, subject, reference),
    diverges: false,
  },
  {
    reason:
      'A descriptor of a removed lower object has 0 links; kernel overlayfs shows those that the lower has.',
    matches: ([name], subject, reference) =>
      name === 'fstat' &&
      subject.split(' ')[1 + NLINK] === '0' &&
      reference.startsWith('ok') &&
      sameBut(NLINK, subject, reference),
    diverges: false,
  },
  {
    reason:
      'A descriptor that was opened for reading before the copy-up sees what is written after it, in the cached plane, and keeps the lower bytes in the passthrough plane; in kernel overlayfs it depends.',
    matches: ([name, slot], subject, reference) =>
      (name === 'read' || name === 'lseek') &&
      isReaderSlot(slot) &&
      subject !== 'EBADF' &&
      reference !== 'EBADF',
    diverges: false,
  },
];

/** The same for trees: the field is the mtime of a regular file, which the reference made present. */
export function isKeptMtime(subject: Manifest, reference: Manifest): Ignore {
  return (path, field) =>
    (field === 'mtime' || field === 'ns') &&
    (subject.get(path)?.get('mode') ?? '').startsWith('10') &&
    reference.get(path)?.get('mtime') === 'now';
}

const isDirectory = (mode: string): boolean => (parseInt(mode, 8) & 0o170000) === 0o040000;

/** A time of this run, whichever it is, is "now"; times that operations set are compared exactly. */
export function timeClass(mtime: string, started: number): string {
  return Number(mtime.split('.')[0]) >= started && Number(mtime.split('.')[0]) < started + 86_400
    ? 'now'
    : mtime;
}

function comparableStat(words: readonly string[], countLinks: boolean, started: number): string[] {
  const shown = [...words.slice(0, MTIME), timeClass(words[MTIME] ?? '', started)];
  if (isDirectory(words[MODE] ?? '')) {
    // Kernel overlayfs answers 1 for the links of a merged directory, and the size of whichever
    // directory lies uppermost.
    shown[NLINK] = '-';
    shown[SIZE] = '-';
  }
  if (!countLinks) shown[NLINK] = '-';
  return shown;
}

/** The part of an answer that two drivers must agree on. */
export function comparable(
  operation: Operation,
  words: readonly string[],
  countLinks: boolean,
  started: number,
): string {
  switch (operation[0]) {
    case 'lstat':
    case 'stat':
    case 'fstat':
      return comparableStat(words, countLinks, started).join(' ');
    case 'listxattr':
      return words.toSorted().join(' ');
    case 'statfs':
      // Free space changes while the tests run.
      return words.slice(0, 4).join(' ');
    default:
      return words.join(' ');
  }
}
