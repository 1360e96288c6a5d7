/** A lower file with three names, and requests about it, for the tests of hard links. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Op } from '../../src/protocol/opcodes.js';
import { cstr, type Engine, type EngineParts, type Reply, u32, u64, wire } from './engine.js';
import { dir, file, hardlink } from './tree.js';

export const FULL = { index: 'on', metacopy: true, redirectDir: 'on' } as const;
export const PARTS: EngineParts = {
  lowers: [
    [
      file('a', 'lower', { mode: 0o644 }),
      hardlink('b', 'a'),
      dir('d'),
      hardlink('d/c', 'a'),
      file('x', 'x'),
      file('alone', 'alone'),
    ],
    [file('below', 'below')],
  ],
  spec: FULL,
};
export const NAMES = ['a', 'b', 'd/c'];

/** Requests to whichever engine `engine` gives; each must succeed. */
export function operations(engine: () => Engine) {
  const split = (path: string): [number, string] => {
    const slash = path.lastIndexOf('/');
    return [slash < 0 ? 1 : engine().node(path.slice(0, slash)), path.slice(slash + 1)];
  };
  const write = (node: number, text: string): Reply => {
    const head = wire`
      ${u64(0)} ${u64(0)}                  fh, offset
      ${u32(text.length)} ${u32(0)}        size, write_flags
      ${u64(0)} ${u32(0)} ${u32(0)}        lock_owner, flags, padding`;
    return engine().must(Op.WRITE, node, Buffer.concat([head, Buffer.from(text)]));
  };
  const chmod = (node: number, mode: number): Reply =>
    engine().must(
      Op.SETATTR,
      node,
      wire`
        ${u32(1)} ${u32(0)} ${u64(0)}       valid, padding, fh
        ${u64(0)} ${u64(0)}                 size, lock_owner
        ${u64(0)} ${u64(0)} ${u64(0)}       atime, mtime, ctime
        ${u32(0)} ${u32(0)} ${u32(0)}       nanoseconds
        ${u32(mode)} ${u32(0)}              mode, unused
        ${u32(0)} ${u32(0)} ${u32(0)}       uid, gid, unused`,
    );
  const unlink = (path: string): void => {
    const [parent, name] = split(path);
    engine().must(Op.UNLINK, parent, wire`${cstr(name)}`);
  };
  const rename = (from: string, to: string): void => {
    const [[parent, name], [newParent, newName]] = [split(from), split(to)];
    engine().must(Op.RENAME, parent, wire`${u64(newParent)} ${cstr(name)} ${cstr(newName)}`);
  };
  const link = (node: number, path: string): void => {
    const [parent, name] = split(path);
    engine().must(Op.LINK, parent, wire`${u64(node)} ${cstr(name)}`);
  };
  const nlink = (node: number): number =>
    engine()
      .must(Op.GETATTR, node, Buffer.alloc(16))
      .u32(16 + 64);
  const ino = (node: number): bigint => engine().must(Op.GETATTR, node, Buffer.alloc(16)).u64(16);
  return { split, write, chmod, unlink, rename, link, nlink, ino };
}

/** The value of one of our marks; undefined when there is none. */
function markAt(path: string, name: string): string | undefined {
  const args = ['-h', '--only-values', '-n', `trusted.overlay.${name}`, path];
  try {
    return execFileSync('getfattr', args, {
      encoding: 'latin1',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
  } catch {
    return undefined;
  }
}

/** Kernel overlayfs on the layers below `top`, after `change`: lines of name, inode number, links, content. */
function underKernel(top: string, change: string, index: string): string[] {
  const at = (path: string): string => join(top, path);
  const mnt = at('kmnt');
  mkdirSync(mnt, { recursive: true });
  const layers = `lowerdir=${at('lower0')}:${at('lower1')},upperdir=${at('upper')},workdir=${at('work')}`;
  const features = `index=${index},metacopy=on,redirect_dir=on,xino=off`;
  const args = ['-t', 'overlay', 'overlay', '-o', `${layers},${features}`, mnt];
  execFileSync('mount', args, { timeout: 20_000 });
  try {
    const show = `find . -type f | sort | while read f; do echo "$f $(stat -c '%i %h' $f) $(cat $f)"; done`;
    const script = `cd ${mnt} && { ${change}; } && ${show}`;
    return execFileSync('sh', ['-c', script], { encoding: 'latin1', timeout: 20_000 })
      .trim()
      .split('\n');
  } finally {
    execFileSync('umount', [mnt], { timeout: 20_000 });
  }
}

/** Upper and index of whichever engine `engine` gives: on disk, under kernel overlayfs with its index, and as shown. */
export function onDisk(engine: () => Engine) {
  const { ino, nlink } = operations(engine);
  const at = (path: string): string => join(engine().top, path);
  const entries = (): string[] =>
    existsSync(at('work/index')) ? readdirSync(at('work/index')).toSorted() : [];
  const orphans = (): string[] => readdirSync(at('work/work')).filter((n) => n.startsWith('#o'));
  const mark = (path: string, name: string): string | undefined => markAt(at(path), name);
  const inKernel = (change = ':', index = 'on'): string[] =>
    underKernel(engine().top, change, index);
  /** As inKernel, by this engine. */
  const shown = (...paths: string[]): string[] =>
    paths.toSorted().map((path) => {
      const node = engine().node(path);
      return `./${path} ${ino(node)} ${nlink(node)} ${engine().text(path)}`;
    });
  return { at, entries, orphans, mark, inKernel, shown };
}
