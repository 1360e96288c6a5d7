/**
 * The differences from kernel overlayfs that are meant, each with its reason; everything else is a
 * failure. Names and fields that no two runs share (inode numbers, the present time, sizes and link
 * counts of directories) are taken out by `comparable`, with the reason there.
 */
import type { Features } from '../support/mount.js';
import type { Ignore, Manifest } from '../support/tree.js';
import { type Operation, isReaderSlot, RENAME } from './operations.js';

/** What else is known of the run. */
export interface Context {
  readonly features: Features;
  /** A rename over a directory that is not empty was refused before. */
  readonly refusedRename: boolean;
  /** Directories whose redirect leads to nothing. */
  readonly lost: readonly string[];
}

/** `path` is one of the directories `lost`, or lies in one. */
export const isLost = (lost: readonly string[], path: unknown): boolean =>
  lost.some((dir) => path === dir || String(path).startsWith(`${dir}/`));

const copiesMetadata = ({ features }: Context): boolean =>
  features === 'full' || features === 'defaults' || features === 'unindexed';

export interface Accepted {
  readonly reason: string;
  /** Answers as `comparable` gives them: an errno's name, or "ok" and the answer's words. */
  readonly matches: (
    operation: Operation,
    subject: string,
    reference: string,
    context: Context,
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
      'A directory whose redirect leads to nothing is EIO, as its data is in a layer that is not mounted; kernel overlayfs shows an empty directory.',
    matches: ([name, first, second], subject, _, { lost }) =>
      subject === 'EIO' && isLost(lost, name === 'open' ? second : first),
    diverges: false,
  },
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
      'A client can make whiteouts, and leave them with RENAME_WHITEOUT, so that another union has its upper here; kernel overlayfs refuses both.',
    matches: ([name, , , flags, ...device], subject, reference) =>
      subject.startsWith('ok') &&
      ((name === 'mknod' && device.at(0) === 0 && reference === 'EPERM') ||
        (name === 'rename' && (Number(flags) & RENAME.WHITEOUT) !== 0 && reference === 'EINVAL')),
    diverges: true,
  },
  {
    reason:
      'Data that is copied up after the metadata leaves the mtime as it was; kernel overlayfs sets the present time. (With metacopy=off nothing of this kind is accepted.)',
    matches: ([name], subject, reference, context) =>
      copiesMetadata(context) &&
      ['lstat', 'stat', 'fstat'].includes(name) &&
      reference.split(' ')[1 + MTIME] === 'now' &&
      (reference.split(' ')[1 + MODE] ?? '').startsWith('10') &&
      sameBut(MTIME, subject, reference),
    diverges: false,
  },
  {
    reason:
      'A rename over a directory that is not empty changes nothing; in kernel overlayfs ext4 has by then put the whiteout in and taken it out again, and the directory has the present time.',
    matches: ([name], subject, reference, { refusedRename }) =>
      refusedRename &&
      ['lstat', 'stat', 'fstat'].includes(name) &&
      reference.split(' ')[1 + MTIME] === 'now' &&
      isDirectory(reference.split(' ')[1 + MODE] ?? '') &&
      sameBut(MTIME, subject, reference),
    diverges: false,
  },
  {
    reason:
      'A file opened for writing is copied up with the first change, in kernel overlayfs with the open: removing an ACL that it has not is ENODATA of a lower file, and done of an upper one.',
    matches: ([name, , key], subject, reference) =>
      name === 'removexattr' &&
      String(key).startsWith('system.posix_acl_') &&
      subject === 'ENODATA' &&
      reference === 'ok ',
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

/** The same for trees: the field is an mtime that the reference made present and the subject kept. */
export function isKeptMtime(subject: Manifest, reference: Manifest, context: Context): Ignore {
  return (path, field) => {
    const mode = subject.get(path)?.get('mode') ?? '';
    return (
      (field === 'mtime' || field === 'ns') &&
      ((copiesMetadata(context) && mode.startsWith('10')) ||
        (context.refusedRename && isDirectory(mode))) &&
      reference.get(path)?.get('mtime') === 'now'
    );
  };
}

/** A client's whiteout, which kernel overlayfs shows as it is on disk: a marked 0:1 device. */
export function isShownBare(seen: Manifest): Ignore {
  return (path, field) =>
    (field === 'rdev' || field === 'x:trusted.overlay.whiteout') &&
    seen.get(path)?.get('rdev') === '0' &&
    /^2\d{4}$/.test(seen.get(path)?.get('mode') ?? '');
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
