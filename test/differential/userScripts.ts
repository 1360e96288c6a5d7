/** Written sequences about users: supplementary groups, set-id bits, and the limits of xattrs. */
import { FALLOC, O, type Operation, opens } from './operations.js';

/** User 7 with group 8 and these supplementary groups. */
const as = (...groups: number[]): Operation[] => [
  ['ident', 0, 0],
  ['groups', ...groups],
  ['ident', 7, 8],
];
const root: readonly Operation[] = [['ident', 0, 0], ['groups']];

/** A file of group 6 whose set-group-id bit comes without the group's execute bit. */
const marked = (path: string): Operation[] => [
  ...root,
  ['chown', path, 5, 6],
  ['chmod', path, 0o6666],
  ['lstat', path],
];

/** Every kind of change of data, each by a user of these groups on a freshly marked file. */
function changes(path: string, groups: readonly number[]): Operation[] {
  const steps: Operation[] = [
    ['write', 1, 0, 'x'],
    ['truncate', path, 3],
    ['ftruncate', 1, 2],
    ['fallocate', 1, 0, 0, 100],
    ['fallocate', 1, FALLOC.KEEP_SIZE, 0, 100],
    ['copyrange', 2, 0, 1, 0, 10],
  ];
  return steps.flatMap((step): Operation[] => [
    ...marked(path),
    ...as(...groups),
    opens(1, path, O.RDWR),
    opens(2, 'd/two', O.RDONLY),
    step,
    ['fsync', 1],
    ['lstat', path],
    ['close', 1],
  ]);
}

/** Makes one of each kind in a directory that passes its group on. */
const makes = (dir: string, tag: string): Operation[] => [
  opens(0, `${dir}/${tag}-run`, O.CREAT | O.RDWR, 0o2775),
  opens(0, `${dir}/${tag}-file`, O.CREAT | O.RDWR, 0o2664),
  ['mknod', `${dir}/${tag}-pipe`, 0o012775, 0, 0],
  ['mkdir', `${dir}/${tag}-dir`, 0o2775],
  ['symlink', 'x', `${dir}/${tag}-link`],
  opens(1, dir, O.TMPFILE | O.RDWR, 0o2775),
  ['linkfd', 1, `${dir}/${tag}-tmp`],
  ...['run', 'file', 'pipe', 'dir', 'link', 'tmp'].map(
    (name): Operation => ['lstat', `${dir}/${tag}-${name}`],
  ),
];

/** Again over whiteouts, which take another way. */
const remakes = (dir: string, tag: string): Operation[] => [
  ...['run', 'file', 'pipe', 'link', 'tmp'].map(
    (name): Operation => ['unlink', `${dir}/${tag}-${name}`],
  ),
  ['rmdir', `${dir}/${tag}-dir`],
  ...makes(dir, tag),
];

const KB = (count: number): string => 'v'.repeat(count * 1024);

export const USER_SCRIPTS: Readonly<Record<string, readonly Operation[]>> = {
  'who is in the group keeps the set-group-id bit of what it changes': [
    opens(0, 'new', O.CREAT | O.RDWR, 0o666),
    ...changes('new', [6]),
    ...changes('lf', [6]),
    ...changes('h1', [9, 6, 10]),
  ],
  'who is not in the group loses it': [
    opens(0, 'new', O.CREAT | O.RDWR, 0o666),
    ...changes('new', []),
    ...changes('lf', [9, 10]),
  ],
  'a supplementary group counts in a directory that passes its group on': [
    ['chmod', 'd', 0o2770],
    ['chown', 'd', 5, 6],
    ['chmod', 'deep/x/y', 0o2777],
    ...as(6),
    ...makes('d', 'member'),
    ...makes('deep/x/y', 'other'),
    ...as(3, 6),
    ...makes('deep/x/y', 'member'),
    ['chown', 'd/member-file', -1, 6],
    ['chown', 'd/member-file', -1, 9],
    ['chmod', 'd/member-file', 0o2755],
    ['lstat', 'd/member-file'],
    ...as(),
    opens(0, 'd/stranger', O.CREAT | O.RDWR, 0o2775),
    ['readdir', 'd'],
    ...root,
    ['unlink', 'd/two'],
    ['rename', 'd/member-run', 'd/two', 0],
    ...as(6),
    ...remakes('d', 'member'),
  ],
  'an xattr is as large as the upper takes it': [
    ...[1, 4, 5, 64, 65].map((count): Operation => ['setxattr', 'lf', 'user.v', KB(count), 0]),
    ['getxattr', 'lf', 'user.v'],
    ['setxattr', 'uf', `user.${'n'.repeat(250)}`, '1', 0],
    ['setxattr', 'uf', `user.${'n'.repeat(251)}`, '1', 0],
    ['setxattr', 'uf', 'user.', '1', 0],
    ['setxattr', 'uf', '', '1', 0],
    ['setxattr', 'uf', 'nonsense', '1', 0],
    ['setxattr', 'uf', 'system.nonsense', '1', 0],
    ['setxattr', 'uf', 'user.v', '1', 3],
    ['listxattr', 'uf'],
    ...Array.from({ length: 40 }, (_, i): Operation => ['setxattr', 'uf', `user.${i}`, KB(1), 0]),
    ['listxattr', 'uf'],
    ['setxattr', 'uf', 'user.12', '', 2],
    ['removexattr', 'uf', 'user.0'],
    ['setxattr', 'uf', 'user.again', KB(1), 1],
    ['listxattr', 'uf'],
    ['setxattr', 'pipe', 'user.v', '1', 0],
    ['setxattr', 'to-lf', 'user.v', '1', 0],
    ['setxattr', 'to-lf', 'trusted.v', KB(3), 0],
    ['getxattr', 'to-lf', 'trusted.v'],
  ],
  'a value longer than the buffer is ERANGE': [
    ['setxattr', 'lf', 'user.v', KB(1), 0],
    ...[0, 1, 1023, 1024, 1025].map((size): Operation => ['getxattr', 'lf', 'user.v', size]),
    // Without a buffer (size 0) kernel overlayfs counts its own marks, too.
    ...[1, 7, 8, 100].map((size): Operation => ['listsize', 'lf', size]),
    ['getxattr', 'd', 'user.none', 0],
    ['getxattr', 'd', 'user.none', 5],
  ],
  'trusted xattrs are listed for root alone': [
    ['setxattr', 'lf', 'trusted.mine', '1', 0],
    ['listxattr', 'lf'],
    ['ident', 7, 8],
    ['listxattr', 'lf'],
    ['getxattr', 'lf', 'trusted.mine'],
    ['setxattr', 'lf', 'trusted.mine', '2', 0],
  ],
};
