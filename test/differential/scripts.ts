/** Written sequences: one for each rule that random operations meet seldom. */
import { device, dir, fifo, file, hardlink, opaque, symlink, whiteout } from '../support/tree.js';
import type { Layers } from './layers.js';
import { NAME_SCRIPTS } from './nameScripts.js';
import { NODE_SCRIPTS } from './nodeScripts.js';
import type { Operation } from './operations.js';
import { USER_SCRIPTS } from './userScripts.js';

export const LAYERS: Layers = {
  lowers: [
    [
      dir('d', { mode: 0o750, uid: 5, mtime: [10, 7] }),
      file('d/one', 'one of the top layer', { mode: 0o640 }),
      whiteout('gone'),
      opaque('op'),
      file('op/new', 'new'),
      file('mask', 'a file hides a directory'),
    ],
    [
      dir('d'),
      file('d/two', 'two', { mtime: [1_234_567_890, 987_654_321] }),
      file('gone', 'hidden'),
      dir('op'),
      file('op/old', 'hidden by the opaque directory'),
      file('h1', 'a file with three names', { xattrs: { 'user.h': '1' } }),
      hardlink('h2', 'h1'),
      hardlink('d/h3', 'h1'),
      file('suid', '#!/bin/sh\n', { mode: 0o6755, uid: 1000, gid: 1000 }),
      symlink('to-d', 'd', { uid: 7, gid: 8 }),
      symlink('to-lf', 'lf'),
      symlink('loop', 'loop'),
      dir('mask'),
      file('mask/inside', 'hidden'),
    ],
    [
      dir('d'),
      file('d/three', 'three'),
      file('d/one', 'hidden by the top layer'),
      file('lf', 'a lower file', { mode: 0o644, xattrs: { 'user.a': '1', 'trusted.b': '2' } }),
      // Kernel overlayfs has no such marks, so they are a client's, but with userxattr.
      file('own', 'of a client', {
        xattrs: { 'user.overlay.foo': '1', 'user.overlay.overlay.foo': '2' },
      }),
      file('big', { size: 70_000, seed: 4, hole: 200_000 }),
      dir('deep', { mode: 0o711, uid: 1, gid: 2, mtime: [100, 1] }),
      dir('deep/x', { mode: 0o1777, mtime: [200, 2], xattrs: { 'user.dir': 'x' } }),
      dir('deep/x/y', { mode: 0o2755, gid: 3, mtime: [300, 3] }),
      file('deep/x/y/z', 'at the bottom', { mtime: [400, 4] }),
      dir('empty'),
      dir('sticky', { mode: 0o1777 }),
      file('sticky/root', 'of root'),
      file('sticky/user', 'of the user', { uid: 1000, mode: 0o666 }),
      fifo('pipe'),
      device('null', 1, 3, { mode: 0o666 }),
      file('\xff\xfe', 'no UTF-8'),
      file('a\nb', 'newline'),
    ],
  ],
  upper: [dir('up'), file('up/f', 'an upper file'), file('uf', 'upper')],
  seen: new Map(),
  countLinks: true,
};

export const SCRIPTS: Readonly<Record<string, readonly Operation[]>> = {
  ...NAME_SCRIPTS,
  ...NODE_SCRIPTS,
  ...USER_SCRIPTS,
};
