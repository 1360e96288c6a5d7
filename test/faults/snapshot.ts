/**
 * All that a user sees of a tree, as text by path: of an engine that is asked, of a directory,
 * and of an upper as it lies on disk.
 */
import { createHash } from 'node:crypto';
import { lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { isChr, isDir, isLnk, isReg } from '../../src/base/mode.js';
import { AT_FDCWD } from '../../src/sys/constants.js';
import { XATTR, XATTR_LIST, XATTR_MAX, type Sys } from '../../src/sys/sys.js';
import type { Kernel } from './kernel.js';

/** Path → what is there; "" is the root. */
export type Tree = ReadonlyMap<string, string>;

/** What a layer's files have, and what no file has that was written to. */
const OLD = 1_700_000_000;

interface Shown {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly rdev: number;
  readonly nlink: number;
  readonly mtime: number;
}

function describe(is: Shown, content: string, xattrs: string): string {
  const { mode, uid, gid, size, rdev, nlink, mtime } = is;
  const words = [mode.toString(8), `${uid}:${gid}`];
  if (isReg(mode)) words.push(`${size} bytes`, content);
  if (isLnk(mode)) words.push(content);
  if (isChr(mode)) words.push(`device ${rdev}`);
  if (!isDir(mode)) words.push(`${nlink} links`, mtime < OLD ? 'old' : 'new');
  return [...words, xattrs].join(' ');
}

export const digest = (data: Uint8Array): string =>
  data.length <= 32
    ? JSON.stringify(Buffer.from(data).toString('latin1'))
    : createHash('sha1').update(data).digest('hex').slice(0, 12);

/** Names of one file, said where they are more than one. */
function addLinks(tree: Map<string, string>, byIno: ReadonlyMap<string, string[]>): void {
  for (const names of byIno.values()) {
    if (names.length > 1) tree.set(`links ${names.sort().join(' ')}`, 'one file');
  }
}

function note(byIno: Map<string, string[]>, ino: string, path: string): void {
  const names = byIno.get(ino);
  if (names) names.push(path);
  else byIno.set(ino, [path]);
}

/** The tree that an engine shows who asks it. */
export function treeOfEngine(kernel: Kernel): Tree {
  const tree = new Map<string, string>();
  const byIno = new Map<string, string[]>();
  const visit = (node: number, path: string): void => {
    const is = kernel.attributes(node);
    let content = '';
    if (isReg(is.mode)) content = digest(kernel.read(node, is.size));
    if (isLnk(is.mode)) content = kernel.readlink(node);
    const xattrs = kernel.xattrs(node);
    tree.set(path, describe(is, content, JSON.stringify(xattrs)));
    if (!isDir(is.mode)) note(byIno, is.ino, path);
    else for (const name of kernel.list(node)) visit(kernel.lookup(node, name), `${path}/${name}`);
  };
  kernel.quietly(() => {
    visit(1, '');
  });
  addLinks(tree, byIno);
  return tree;
}

function xattrsOf(sys: Sys, path: string, keep: (key: string) => boolean): string {
  const bytes = sys.native.listxattr(AT_FDCWD, path, XATTR_LIST, XATTR_MAX);
  if (bytes <= 0) return bytes === 0 ? '[]' : `error ${bytes}`;
  const keys = sys.text(XATTR_LIST, bytes - 1).split('\0');
  const values = keys.filter(keep).map((key) => {
    const size = sys.native.getxattr(AT_FDCWD, path, key, XATTR, XATTR_MAX);
    return [key, size < 0 ? `error ${size}` : sys.text(XATTR, size)] as const;
  });
  return JSON.stringify(values.sort());
}

/** The tree of a directory, or why it cannot be read. */
export function treeOfDirectory(
  sys: Sys,
  root: string,
  keep: (key: string) => boolean = () => true,
): Tree {
  const tree = new Map<string, string>();
  const byIno = new Map<string, string[]>();
  const visit = (path: string): void => {
    const at = `${root}${path}`;
    const is = lstatSync(at, { throwIfNoEntry: false });
    // Kernel overlayfs lists xwhiteouts of its upper, which it does not find.
    if (!is) return;
    let content = '';
    if (isReg(is.mode)) content = digest(readFileSync(at));
    if (isLnk(is.mode)) content = readlinkSync(at);
    const mtime = is.mtimeMs / 1000;
    tree.set(path, describe({ ...pick(is), mtime }, content, xattrsOf(sys, at, keep)));
    if (!isDir(is.mode)) note(byIno, String(is.ino), path);
    else for (const name of readdirSync(at).sort()) visit(`${path}/${name}`);
  };
  visit('');
  addLinks(tree, byIno);
  return tree;
}

const pick = (is: Omit<Shown, 'mtime'>): Omit<Shown, 'mtime'> => ({
  mode: is.mode,
  uid: is.uid,
  gid: is.gid,
  size: is.size,
  rdev: is.rdev,
  nlink: is.nlink,
});

/** One line for each path that differs. */
export function differences(left: Tree, right: Tree): string[] {
  const lines: string[] = [];
  for (const path of [...new Set([...left.keys(), ...right.keys()])].sort()) {
    const [a, b] = [left.get(path), right.get(path)];
    if (a !== b) lines.push(`${path === '' ? '/' : path}: ${a ?? 'absent'} | ${b ?? 'absent'}`);
  }
  return lines;
}

export const same = (left: Tree, right: Tree): boolean => differences(left, right).length === 0;
