/** The layers of the sweep, and every kind of change that is done to them, each as the steps that programs see. */
import { S_IFCHR, S_IFIFO } from '../../src/base/mode.js';
import { RENAME_EXCHANGE, RENAME_NOREPLACE, RENAME_WHITEOUT } from '../../src/sys/constants.js';
import { dir, type Entry, file, hardlink, symlink } from '../support/tree.js';
import type { Kernel } from './kernel.js';

/** One call of a program. */
export type Step = (k: Kernel) => void;

/** Topmost first. */
export const LOWERS: readonly (readonly Entry[])[] = [
  [
    ...[dir('m'), dir('m/k'), file('m/g', 'g'), dir('mo'), file('mo/z1', 'z1')],
    ...[dir('only'), file('only/a', 'a')],
  ],
  [
    ...[dir('d'), dir('d/s'), dir('h'), dir('h/a'), dir('h/b'), dir('e'), dir('gd'), dir('full')],
    ...[dir('full/in'), dir('mo'), dir('we'), dir('m'), file('m/below', 'below')],
    file('d/f1', 'lower f1\n'.repeat(100), { xattrs: { 'user.k': 'v' } }),
    file('d/f2', 'lower f2\n'.repeat(50), { uid: 1000, gid: 1000 }),
    ...[file('d/s/x', 'xx'), file('d/big', { size: 300_000, seed: 5 })],
    ...[file('h/a/l1', 'linked\n'.repeat(20)), hardlink('h/b/l2', 'h/a/l1')],
    ...[hardlink('h/l3', 'h/a/l1'), symlink('lnk', 'd/f1'), file('gone', 'gone lower')],
    ...[file('gd/q', 'q'), file('full/in/y', 'y'), file('t1', 'target lower')],
    ...[
      file('cu', 'copied up lower'),
      file('mo/z', 'z'),
      file('we/1', '1'),
      file('suid', 's', { mode: 0o6755 }),
    ],
  ],
];

/** What the upper has before. */
export function prepare(k: Kernel): void {
  k.mkdir('u');
  k.create('u/a', 0o644);
  k.write('u/a', 0, 'upper a');
  k.mkdir('ue');
  for (const [name, text] of [
    ['uf', 'upper file'],
    ['uf2', 'upper file two'],
  ] as const) {
    k.create(name, 0o644);
    k.write(name, 0, text);
  }
  k.unlink('gone');
  k.unlink('gd/q');
  k.rmdir('gd');
  k.setattr('cu', { mode: 0o600 });
  k.write('cu', 0, 'X');
  k.unlink('we/1');
}

const FIFO = S_IFIFO | 0o600;
const DEVICE = S_IFCHR | 0o600;
const rename = (from: string, to: string, flags = 0): Step[] => [
  (k) => {
    k.rename(from, to, flags);
  },
];
const one = (step: Step): Step[] => [step];
const write =
  (path: string, text = 'NEW DATA', offset = 0): Step =>
  (k) => {
    k.write(path, offset, text);
  };
const chmod =
  (path: string, mode = 0o600): Step =>
  (k) => {
    k.setattr(path, { mode });
  };
const truncate = (path: string, size: number): Step[] => [
  (k) => {
    k.setattr(path, { size });
  },
];

function tmpfile(): Step[] {
  let node = 0;
  return [
    (k) => {
      node = k.tmpfile('d');
    },
    (k) => {
      if (!k.engine.ov.backings) k.writeNode(node, 0, 'tmpfile');
    },
    (k) => {
      k.linkNode(node, 'd/linked');
    },
  ];
}

const CREATING: Record<string, Step[]> = {
  create: one((k) => k.create('d/new', 0o640)),
  'create over a whiteout': one((k) => k.create('gone', 0o640)),
  mkdir: one((k) => k.mkdir('d/nd')),
  'mkdir over the whiteout of a directory': one((k) => k.mkdir('gd')),
  'mkdir over the whiteout of a file': one((k) => k.mkdir('gone')),
  mknod: one((k) => k.mknod('d/fifo', FIFO)),
  'mknod over a whiteout': one((k) => k.mknod('gone', FIFO)),
  'mknod of a device': one((k) => k.mknod('d/null', DEVICE, 0x103)),
  'mknod of a whiteout': one((k) => k.mknod('d/white', DEVICE)),
  'mknod of a whiteout over one': one((k) => k.mknod('gone', DEVICE)),
  symlink: one((k) => k.symlink('zz', 'd/sl')),
  'symlink over a whiteout': one((k) => k.symlink('zz', 'gone')),
  'tmpfile and link': tmpfile(),
};

const LINKING: Record<string, Step[]> = {
  'link of a lower': one((k) => k.link('d/f1', 'd/f1l')),
  'link of a lower over a whiteout': one((k) => k.link('d/f1', 'gone')),
  'link of an upper': one((k) => k.link('uf', 'd/ufl')),
  'link of a hard link': one((k) => k.link('h/a/l1', 'h/b/l4')),
  'link of a hard link over a whiteout': one((k) => k.link('h/a/l1', 'gone')),
  'link of a metadata-only copy': [chmod('d/f1'), (k) => k.link('d/f1', 'h/f1l')],
  'link and unlink of a hard link': [(k) => k.link('h/a/l1', 'h/l9'), (k) => k.unlink('h/a/l1')],
};

const REMOVING: Record<string, Step[]> = {
  'unlink of a lower': one((k) => k.unlink('d/f1')),
  'unlink of an upper': one((k) => k.unlink('uf')),
  'unlink of a copied-up file': one((k) => k.unlink('cu')),
  'unlink of a hard link': one((k) => k.unlink('h/a/l1')),
  'unlink of all hard links': ['h/a/l1', 'h/b/l2', 'h/l3'].map((path) => (k) => k.unlink(path)),
  'unlink of a linked upper': [(k) => k.link('uf', 'u/b'), (k) => k.unlink('uf')],
  'rmdir of a lower': one((k) => k.rmdir('e')),
  'rmdir of an upper': one((k) => k.rmdir('ue')),
  'rmdir of one with whiteouts': one((k) => k.rmdir('we')),
};

const RENAMING: Record<string, Step[]> = {
  'rename of a lower': rename('d/f1', 'd/f9'),
  'rename of a lower to another directory': rename('d/f1', 'h/f9'),
  'rename of an upper': rename('uf', 'd/uf9'),
  'rename of a copied-up file': rename('cu', 'd/cu9'),
  'rename of a lower over an upper': rename('d/f1', 'uf'),
  'rename of an upper over an upper': rename('uf', 'uf2'),
  'rename of an upper over a lower': rename('uf', 't1'),
  'rename of a lower over a lower': rename('d/f1', 'd/f2'),
  'rename of an upper over a whiteout': rename('uf', 'gone'),
  'rename of a lower over a whiteout': rename('d/f1', 'gone'),
  'rename of an upper over a copied-up file': rename('uf', 'cu'),
  'rename of a hard link': rename('h/a/l1', 'h/a/l9'),
  'rename over a hard link': rename('uf', 'h/a/l1'),
  'rename of a symlink': rename('lnk', 'd/lnk'),
  'rename of an upper directory': rename('u', 'd/u9'),
  'rename of an upper directory over an upper one': rename('u', 'ue'),
  'rename of an upper directory over a lower one': rename('u', 'e'),
  'rename of an upper directory over a whiteout': rename('u', 'gd'),
  'rename of an upper directory over one with whiteouts': rename('u', 'we'),
  'rename of an upper directory over the whiteout of a file': rename('u', 'gone'),
  'rename of a lower directory': rename('d', 'dd'),
  'rename of a lower directory to another': rename('d/s', 'h/s9'),
  'rename of a lower directory over an upper one': rename('d', 'ue'),
  'rename of a lower directory over a lower one': rename('d', 'e'),
  'rename of a lower directory over a whiteout': rename('d', 'gd'),
  'rename of a lower directory over one with whiteouts': rename('d', 'we'),
  'rename of a merged directory': rename('m', 'm9'),
  'rename of a directory twice': [...rename('m', 'd/m9'), ...rename('d/m9', 'mo/m10')],
};

const EXCHANGING: Record<string, Step[]> = {
  'exchange of files': rename('d/f1', 'uf', RENAME_EXCHANGE),
  'exchange of directories': rename('d', 'u', RENAME_EXCHANGE),
  'exchange of a file and a directory': rename('d/f1', 'u', RENAME_EXCHANGE),
  'exchange of lower directories': rename('d', 'full', RENAME_EXCHANGE),
  'rename without replacing': rename('d/f1', 'd/f9', RENAME_NOREPLACE),
  'rename that leaves a whiteout, of an upper': rename('uf', 'd/uf9', RENAME_WHITEOUT),
  'rename that leaves a whiteout, of a lower': rename('d/f1', 'h/f9', RENAME_WHITEOUT),
  'rename that leaves a whiteout, over an upper': rename('d/f1', 'uf', RENAME_WHITEOUT),
  'rename that leaves a whiteout, of a directory': rename('u', 'ue', RENAME_WHITEOUT),
  'rename that leaves a whiteout, of a lower directory': rename('d', 'ue', RENAME_WHITEOUT),
  'rename that leaves a whiteout, over one': rename('uf', 'gone', RENAME_WHITEOUT),
};

const ATTRIBUTES: Record<string, Step[]> = {
  chmod: one(chmod('d/f1')),
  'chmod of a directory': one(chmod('full', 0o700)),
  'chmod of a hard link': one(chmod('h/a/l1')),
  'chmod of two names of a file': [chmod('h/a/l1'), chmod('h/b/l2', 0o640)],
  chown: one((k) => k.setattr('d/f1', { uid: 5, gid: 6 })),
  'chown of a set-user-ID file': one((k) => k.setattr('suid', { uid: 5, gid: 6 })),
  'chown of a symlink': one((k) => k.setattr('lnk', { uid: 5, gid: 6 })),
  'chown and chmod at once': one((k) => k.setattr('d/f1', { uid: 5, gid: 6, mode: 0o600 })),
  utime: one((k) => k.setattr('d/f1', { mtime: 1 })),
  setxattr: one((k) => k.setxattr('d/f1', 'user.n', '1')),
  'setxattr of a directory': one((k) => k.setxattr('full/in', 'user.n', '1')),
  removexattr: one((k) => k.removexattr('d/f1', 'user.k')),
  'chattr +a': one((k) => k.setFlags('d/f1', 0x20)),
};

const DATA: Record<string, Step[]> = {
  'truncate to nothing': truncate('d/f1', 0),
  'truncate to less': truncate('d/f1', 5),
  'truncate to more': truncate('d/f1', 5000),
  'truncate of a large file': truncate('d/big', 150_000),
  'truncate of a large file to nothing': truncate('d/big', 0),
  'truncate of a metadata-only copy': [chmod('d/f1'), ...truncate('d/f1', 5)],
  'truncate of an upper': truncate('uf', 3),
  'truncate, chown and chmod at once': one((k) =>
    k.setattr('d/f1', { size: 4, uid: 5, mode: 0o600 }),
  ),
  write: one(write('d/f1')),
  'write to a large file': one(write('d/big')),
  'write to a hard link': one(write('h/a/l1')),
  'write to a metadata-only copy': [chmod('d/f1'), write('d/f1')],
  'write to a large metadata-only copy': [chmod('d/big'), write('d/big')],
  'write to the metadata-only copy of a hard link': [chmod('h/a/l1'), write('h/b/l2')],
  'write to an upper': one(write('uf')),
  'write and fsync': [write('d/f1'), (k) => k.fsync('d/f1')],
  fallocate: one((k) => k.fallocate('d/f1', 0, 0, 20_000)),
  'fallocate that makes a hole': one((k) => k.fallocate('d/f1', 3, 0, 100)),
  copy_file_range: one((k) => k.copyRange('d/f1', 'uf', 100)),
};

export const OPERATIONS: Readonly<Record<string, readonly Step[]>> = {
  ...CREATING,
  ...LINKING,
  ...REMOVING,
  ...RENAMING,
  ...EXCHANGING,
  ...ATTRIBUTES,
  ...DATA,
};
