/**
 * The kernel's side of an engine without a mount: what a program does, as the requests that it becomes.
 * Names that were looked up are remembered, as the kernel's are, so the requests of a warm cache are
 * the changes alone.
 */
import { closeSync, openSync, readlinkSync, writeSync } from 'node:fs';
import { E } from '../../src/base/errno.js';
import { S_IFDIR, S_IFREG } from '../../src/base/mode.js';
import { Backings } from '../../src/overlay/data/backings.js';
import { ATTR, DIRENT, ENTRY_OUT } from '../../src/protocol/layout.js';
import { Op } from '../../src/protocol/opcodes.js';
import { type Engine, readIn } from '../support/engine.js';

/** A request was answered with an error. */
export class Failed extends Error {
  readonly errno: number;
  constructor(what: string, errno: number) {
    super(`${what}: ${errno}`);
    this.errno = errno;
  }
}

export interface Attributes {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly rdev: number;
  readonly nlink: number;
  readonly mtime: number;
  readonly ino: string;
}

export interface Change {
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly size?: number;
  readonly mtime?: number;
}

const ROOT_USER = 0;
const FIELDS = { mode: 0, uid: 1, gid: 2, size: 3, mtime: 5 } as const;

/** Numbers as words of 32 bits; strings with the NUL after them. */
function body(...parts: readonly (number | string | readonly [u64: number])[]): Buffer {
  const buffers = parts.map((part) => {
    if (typeof part === 'string') return Buffer.from(`${part}\0`, 'latin1');
    const bytes = Buffer.alloc(typeof part === 'number' ? 4 : 8);
    if (typeof part === 'number') bytes.writeUInt32LE(part >>> 0);
    else bytes.writeBigInt64LE(BigInt(part[0]));
    return bytes;
  });
  return Buffer.concat(buffers);
}

export class Kernel {
  readonly engine: Engine;
  readonly #known = new Map<string, number>();
  /** Of the passthrough plane: the registered files. */
  readonly #files = new Map<number, string>();
  #remembers = true;

  constructor(engine: Engine) {
    this.engine = engine;
    if (!engine.ov.passthrough) return;
    let last = 0;
    engine.ov.backings = new Backings({
      open: (fd) => {
        this.#files.set(++last, readlinkSync(`/proc/self/fd/${fd}`));
        return last;
      },
      close: (id) => this.#files.delete(id),
      invalidate: () => undefined,
    });
  }

  /** What `work` looks up is not remembered. */
  quietly(work: () => void): void {
    this.#remembers = false;
    try {
      work();
    } finally {
      this.#remembers = true;
    }
  }

  #ask(opcode: number, node: number, bytes: Buffer = Buffer.alloc(0)): Buffer {
    const reply = this.engine.ask(opcode, node, bytes, ROOT_USER);
    if (reply.error < 0) throw new Failed(`opcode ${opcode}`, -reply.error);
    return reply.body;
  }

  // --- looking -------------------------------------------------------------------------------
  lookup(parent: number, name: string): number {
    const node = this.#ask(Op.LOOKUP, parent, body(name)).readUInt32LE(0);
    if (node === 0) throw new Failed(name, E.ENOENT);
    return node;
  }

  /** The node of a path; "" is the root. */
  at(path: string): number {
    if (path === '') return 1;
    const known = this.#known.get(path);
    if (known !== undefined) return known;
    const [parent, name] = this.#split(path);
    const node = this.lookup(parent, name);
    if (this.#remembers) this.#known.set(path, node);
    return node;
  }

  /** Looks at a name that is about to change, as the VFS does; ENOENT is an answer. */
  #look(path: string): [parent: number, name: string] {
    try {
      this.at(path);
    } catch (error) {
      if (!(error instanceof Failed && error.errno === E.ENOENT)) throw error;
    }
    return this.#split(path);
  }

  #split(path: string): [parent: number, name: string] {
    const slash = path.lastIndexOf('/');
    return [this.at(path.slice(0, Math.max(slash, 0))), path.slice(slash + 1)];
  }

  /** Looks at everything, and remembers it. */
  warm(): void {
    const visit = (node: number, path: string): void => {
      if ((this.attributes(node).mode & 0o170000) !== S_IFDIR) return;
      for (const name of this.list(node)) {
        const inner = path === '' ? name : `${path}/${name}`;
        visit(this.at(inner), inner);
      }
    };
    visit(1, '');
  }

  attributes(node: number): Attributes {
    const reply = this.#ask(Op.GETATTR, node, body(0, 0, [0]));
    const at = (field: number): number => reply.readUInt32LE(16 + field);
    return {
      ...{ mode: at(ATTR.mode), uid: at(ATTR.uid), gid: at(ATTR.gid), rdev: at(ATTR.rdev) },
      ...{ size: at(ATTR.size_), nlink: at(ATTR.nlink), mtime: at(ATTR.mtime) },
      ino: String(reply.readBigUInt64LE(16 + ATTR.ino)),
    };
  }

  list(node: number): string[] {
    const names: string[] = [];
    for (let cookie = 0n; ; ) {
      const reply = this.#ask(Op.READDIR, node, readIn(cookie, 0x8000));
      if (reply.length === 0) return names.sort();
      for (let at = 0; at < reply.length; ) {
        const length = reply.readUInt32LE(at + DIRENT.namelen);
        const name = reply.subarray(at + DIRENT.size, at + DIRENT.size + length);
        if (!['.', '..'].includes(name.toString())) names.push(name.toString('latin1'));
        cookie = reply.readBigUInt64LE(at + DIRENT.off);
        at += (DIRENT.size + length + 7) & ~7;
      }
    }
  }

  read(node: number, size: number): Buffer {
    const parts: Buffer[] = [];
    for (let at = 0; at < size; ) {
      const part = this.#ask(Op.READ, node, readIn(at, 0x10000));
      if (part.length === 0) break;
      parts.push(part);
      at += part.length;
    }
    return Buffer.concat(parts);
  }

  readlink(node: number): string {
    return this.#ask(Op.READLINK, node).toString('latin1');
  }

  xattrs(node: number): (readonly [string, string])[] {
    const list = this.#ask(Op.LISTXATTR, node, body(0x8000, 0)).toString('latin1');
    const keys = list === '' ? [] : list.slice(0, -1).split('\0');
    return keys
      .map((key) => {
        const value = this.#ask(Op.GETXATTR, node, body(0x8000, 0, key));
        return [key, value.toString('latin1')] as const;
      })
      .sort();
  }

  // --- changing ------------------------------------------------------------------------------
  /** Names have changed: the next walk asks. */
  #changed(): void {
    this.#known.clear();
  }

  create(path: string, mode: number): void {
    const [parent, name] = this.#look(path);
    const { backings } = this.engine.ov;
    if (!backings) this.#ask(Op.MKNOD, parent, body(S_IFREG | mode, 0, 0o22, 0, name));
    else {
      const reply = this.#ask(Op.CREATE, parent, body(0o102, mode, 0o22, 0, name));
      this.#release(reply.readUInt32LE(0), reply.readBigUInt64LE(ENTRY_OUT.size));
    }
    this.#changed();
  }

  mkdir(path: string): void {
    const [parent, name] = this.#look(path);
    this.#ask(Op.MKDIR, parent, body(0o755, 0o22, name));
    this.#changed();
  }

  mknod(path: string, mode: number, rdev = 0): void {
    const [parent, name] = this.#look(path);
    this.#ask(Op.MKNOD, parent, body(mode, rdev, 0o22, 0, name));
    this.#changed();
  }

  symlink(target: string, path: string): void {
    const [parent, name] = this.#look(path);
    this.#ask(Op.SYMLINK, parent, body(name, target));
    this.#changed();
  }

  link(from: string, path: string): void {
    const node = this.at(from);
    this.linkNode(node, path);
  }

  linkNode(node: number, path: string): void {
    const [parent, name] = this.#look(path);
    this.#ask(Op.LINK, parent, body([node], name));
    this.#changed();
  }

  unlink(path: string): void {
    const [parent, name] = this.#look(path);
    this.#ask(Op.UNLINK, parent, body(name));
    this.#changed();
  }

  rmdir(path: string): void {
    const [parent, name] = this.#look(path);
    this.#ask(Op.RMDIR, parent, body(name));
    this.#changed();
  }

  rename(from: string, to: string, flags = 0): void {
    const [parent, name] = this.#look(from);
    const [newParent, newName] = this.#look(to);
    this.#ask(Op.RENAME2, parent, body([newParent], flags, 0, name, newName));
    this.#changed();
  }

  setattr(path: string, change: Change): void {
    const node = this.at(path);
    let valid = 0;
    for (const [field, bit] of Object.entries(FIELDS)) {
      if (change[field as keyof Change] !== undefined) valid |= 1 << bit;
    }
    const { mode = 0, uid = 0, gid = 0, size = 0, mtime = 0 } = change;
    const times = [[0], [mtime], [0], 0, 0, 0] as const;
    this.#ask(Op.SETATTR, node, body(valid, 0, [0], [size], [0], ...times, mode, 0, uid, gid, 0));
  }

  setxattr(path: string, key: string, value: string): void {
    const node = this.at(path);
    const header = this.engine.session.setxattrExt
      ? body(value.length, 0, 0, 0)
      : body(value.length, 0);
    this.#ask(Op.SETXATTR, node, Buffer.concat([header, body(key), Buffer.from(value, 'latin1')]));
  }

  removexattr(path: string, key: string): void {
    this.#ask(Op.REMOVEXATTR, this.at(path), body(key));
  }

  setFlags(path: string, flags: number): void {
    const node = this.at(path);
    this.#ask(Op.IOCTL, node, body([0], 0, 0x40086602, [0], 8, 0, flags, 0));
  }

  /** Opens for writing, where there is an open. */
  write(path: string, offset: number, text: string): void {
    const node = this.at(path);
    this.writeNode(node, offset, text);
  }

  writeNode(node: number, offset: number, text: string): void {
    if (this.engine.ov.backings) {
      this.#writeThrough(node, offset, text);
      return;
    }
    const header = body([0], [offset], text.length, 0, [0], 0, 0);
    this.#ask(Op.WRITE, node, Buffer.concat([header, Buffer.from(text, 'latin1')]));
  }

  #writeThrough(node: number, offset: number, text: string): void {
    const reply = this.#ask(Op.OPEN, node, body(1, 0));
    const fd = openSync(this.#files.get(reply.readUInt32LE(12)) ?? '', 'r+');
    writeSync(fd, text, offset, 'latin1');
    closeSync(fd);
    this.#release(node, reply.readBigUInt64LE(0));
  }

  #release(node: number, fh: bigint): void {
    this.#ask(Op.RELEASE, node, body([Number(fh)], 0, 0, [0]));
  }

  fallocate(path: string, mode: number, offset: number, length: number): void {
    this.#ask(Op.FALLOCATE, this.at(path), body([0], [offset], [length], mode, 0));
  }

  copyRange(from: string, to: string, length: number): void {
    const [input, output] = [this.at(from), this.at(to)];
    const ends = [[0], [0], [output], [0], [0], [length], [0]] as const;
    this.#ask(Op.COPY_FILE_RANGE, input, body(...ends));
  }

  fsync(path: string): void {
    this.#ask(Op.FSYNC, this.at(path), body([0], 0, 0));
  }

  /** An unnamed file in a directory: its node. */
  tmpfile(path: string): number {
    const reply = this.#ask(Op.TMPFILE, this.at(path), body(0o20200002, 0o600, 0o22, 0, '/'));
    return reply.readUInt32LE(0);
  }
}
