/** Trees for archives: everything that a layer can hold, and what each kind of archive keeps of it. */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach } from 'vitest';
import { scratch } from './run.js';
import type { Attributes, Entry } from './tree.js';
import { device, dir, fifo, file, hardlink, symlink } from './tree.js';

type Naming = (name: string) => string;

/** A directory of each test's own, in which `place` makes directories; call it where tests are declared. */
export function places(name: string): { at: Naming; place: Naming } {
  let top = '';
  beforeEach(() => {
    top = scratch(name);
  });
  afterEach(() => {
    rmSync(top, { recursive: true, force: true });
  });
  const at: Naming = (file) => join(top, file);
  const place: Naming = (dir) => {
    mkdirSync(at(dir));
    return at(dir);
  };
  return { at, place };
}

const ODD = 'odd \xff\n"\\%=\xc3\xa9';
export const EVERYTHING: readonly Entry[] = [
  dir('d', { mode: 0o2750, uid: 1, gid: 2 }),
  file('d/empty'),
  file('d/file', { size: 100_000, seed: 1 }, { mode: 0o4755, uid: 3_000_000, gid: 4_000_000_000 }),
  hardlink('d/link', 'd/file'),
  file(ODD, 'odd', { mtime: [-1_000_000, 1] }),
  file('ancient', 'x', { mtime: [-1, 999_999_999] }),
  symlink('symlink', `../${'t'.repeat(300)}`, { mtime: [5, 6] }),
  hardlink('symlinked', 'symlink'),
  fifo('fifo', { mode: 0o620 }),
  device('char', 10, 200, { uid: 5 }),
  { kind: 'node', type: 'block', path: 'block', major: 259, minor: 1_000_000 },
  dir('n'.repeat(255)),
  dir(`${'n'.repeat(255)}/${'m'.repeat(255)}`),
  file(`${'n'.repeat(255)}/${'m'.repeat(255)}/${'o'.repeat(255)}`, 'deep'),
  file('xattrs', 'x', {
    xattrs: {
      'user.binary': '\0\xff\n=\x80',
      'user.a=b%3Dc%d': '',
      'user.long': 'v'.repeat(3000),
      'trusted.t': 't',
      'security.capability': '\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0',
    },
  }),
  dir('acl', { mode: 0o750, xattrs: { 'system.posix_acl_default': acl() } }),
  file('acl/child', 'x', { mode: 0o640 }),
  file('acl/own', 'x', { mode: 0o660, xattrs: { 'system.posix_acl_access': acl() } }),
];

/** u::rwx u:1000:rw- g::r-x m::rwx o::--- */
export function acl(): string {
  const entries = [
    [1, 7, -1],
    [2, 6, 1000],
    [4, 5, -1],
    [16, 7, -1],
    [32, 0, -1],
  ];
  const bytes = Buffer.alloc(4 + 8 * entries.length);
  bytes.writeUInt32LE(2, 0);
  entries.forEach(([tag = 0, bits = 0, id = 0], i) => {
    bytes.writeUInt16LE(tag, 4 + 8 * i);
    bytes.writeUInt16LE(bits, 6 + 8 * i);
    bytes.writeInt32LE(id, 8 + 8 * i);
  });
  return bytes.toString('latin1');
}

/** The same without what needs an extended header: for archives of the 1980s. */
export const PLAIN: readonly Entry[] = [
  dir('d', { mode: 0o2750, uid: 1, gid: 2 }),
  file('d/empty'),
  file('d/file', { size: 100_000, seed: 1 }, { mode: 0o4755, uid: 1000, gid: 1000 }),
  hardlink('d/link', 'd/file'),
  file('byte \xff', 'odd'),
  symlink('symlink', '../target'),
  fifo('fifo', { mode: 0o620 }),
].map(wholeSeconds);

/** Devices, and names of up to 255 bytes: USTAR has them, V7 has not. */
export const USTAR: readonly Entry[] = [
  ...PLAIN,
  device('char', 10, 200, { uid: 5 }),
  dir('p'.repeat(80)),
  dir(`${'p'.repeat(80)}/${'q'.repeat(60)}`),
  file(`${'p'.repeat(80)}/${'q'.repeat(60)}/${'r'.repeat(90)}`, 'deep'),
].map(wholeSeconds);

function wholeSeconds(entry: Entry): Entry {
  const times: Attributes = { mtime: [1_500_000_000, 0] };
  return { ...entry, ...times };
}
