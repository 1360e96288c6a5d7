/** A lower file with three names, and requests about it, for the tests of hard links. */
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
