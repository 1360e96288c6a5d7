/** Random requests, then everything forgotten: nothing may be left, neither memory nor files. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { Op } from '../../src/protocol/opcodes.js';
import { Random } from '../differential/random.js';
import { cstr, Engine, type EngineParts, type Reply, u32, u64, wire } from '../support/engine.js';
import { has } from '../support/needs.js';
import { dir, type Entry, file, hardlink, symlink } from '../support/tree.js';

const NAMES = ['a', 'b', 'c', 'd', '\xff'];

function layer(mark: string): Entry[] {
  return [
    file('a', `${mark}a`),
    dir('b'),
    file('b/a', `${mark}ba`),
    dir('b/b'),
    file('b/b/c', mark),
    dir('c'),
    symlink('c/d', 'a'),
    file('d', 'linked'),
    hardlink('c/a', 'd'),
  ];
}

const LAYERS: EngineParts = {
  lowers: [layer('0'), layer('1')],
  upper: [dir('b'), file('b/d', 'u')],
};

/** A kernel that remembers what it was given. */
class Kernel {
  readonly #e: Engine;
  readonly #random: Random;
  readonly #lookups = new Map<number, number>([[1, Infinity]]);
  readonly #dirs = new Set([1]);

  constructor(e: Engine, random: Random) {
    this.#e = e;
    this.#random = random;
  }

  #dir = (): number => this.#random.pick([...this.#dirs].filter((node) => this.#lookups.has(node)));
  #node = (): number => this.#random.pick([...this.#lookups.keys()]);
  #name = (): string => this.#random.pick(NAMES);

  /** Counts the lookup that an entry carries. */
  #entry(reply: Reply, at = 0): void {
    if (reply.error !== 0) return;
    const node = reply.u32(at);
    if (node === 0) return;
    this.#lookups.set(node, (this.#lookups.get(node) ?? 0) + 1);
    if (reply.u32(at + 40 + 60) >> 12 === 4) this.#dirs.add(node);
    else this.#dirs.delete(node);
  }

  step(): void {
    const ask = this.#e.ask.bind(this.#e);
    const one = (): Buffer => wire`${cstr(this.#name())}`;
    const make = (op: number, head: string): void => {
      this.#entry(ask(op, this.#dir(), wire`${head} ${cstr(this.#name())}`));
    };
    this.#random.weighted<() => void>([
      [
        25,
        () => {
          this.#entry(ask(Op.LOOKUP, this.#dir(), one()));
        },
      ],
      [
        8,
        () => {
          make(Op.MKNOD, `${u32(0o100644)} ${u32(0)} ${u64(0)}`);
        },
      ],
      [
        8,
        () => {
          make(Op.MKDIR, `${u32(0o755)} ${u32(0)}`);
        },
      ],
      [
        3,
        () => {
          make(Op.SYMLINK, cstr(this.#name()));
        },
      ],
      [
        2,
        () => {
          make(Op.TMPFILE, `${u32(0)} ${u32(0o100644)} ${u64(0)}`);
        },
      ],
      [
        6,
        () => {
          this.#link();
        },
      ],
      [
        10,
        () => {
          this.#unlink();
        },
      ],
      [
        8,
        () => {
          this.#rmdir();
        },
      ],
      [
        8,
        () => {
          this.#rename(0);
        },
      ],
      [
        4,
        () => {
          this.#rename(2);
        },
      ],
      [
        8,
        () => {
          this.#write();
        },
      ],
      [
        8,
        () => {
          this.#chmod(this.#node());
        },
      ],
      [
        6,
        () => {
          this.#list(this.#dir());
        },
      ],
      [
        15,
        () => {
          this.#forget(this.#node(), false);
        },
      ],
    ])();
  }

  #link(): void {
    const file = this.#file();
    if (file === 0) return;
    const body = wire`${u64(file)} ${cstr(this.#name())}`;
    this.#entry(this.#e.ask(Op.LINK, this.#dir(), body));
  }

  /** Whatever is removed was looked up before. */
  #unlink(): void {
    const parent = this.#dir();
    const name = this.#name();
    this.#entry(this.#e.lookup(parent, name));
    this.#e.ask(Op.UNLINK, parent, wire`${cstr(name)}`);
  }

  /** The kernel sends nothing more into a directory that is removed. */
  #rmdir(): void {
    const parent = this.#dir();
    const name = this.#name();
    this.#entry(this.#e.lookup(parent, name));
    const node = this.#e.ov.table.byName(parent, name);
    if (this.#e.ask(Op.RMDIR, parent, wire`${cstr(name)}`).error === 0) this.#dirs.delete(node);
  }

  /** The kernel looks both names up first, and never moves a directory into itself. */
  #rename(flags: number): void {
    const [parent, newParent] = [this.#dir(), this.#dir()];
    const [name, newName] = [this.#name(), this.#name()];
    const { table } = this.#e.ov;
    this.#entry(this.#e.lookup(parent, name));
    this.#entry(this.#e.lookup(newParent, newName));
    const [from, to] = [table.byName(parent, name), table.byName(newParent, newName)];
    if (this.#isWithin(newParent, from) || this.#isWithin(parent, to)) return;
    const body = wire`${u64(newParent)} ${u64(flags)} ${cstr(name)} ${cstr(newName)}`;
    const { error } = this.#e.ask(Op.RENAME2, parent, body);
    if (error === 0 && flags === 0 && from !== to) this.#dirs.delete(to);
  }

  #isWithin(node: number, above: number): boolean {
    if (above === 0) return false;
    for (let at = node; at > 0; at = at === 1 ? 0 : this.#e.ov.table.parent(at)) {
      if (at === above) return true;
    }
    return false;
  }

  /** A regular file, or 0. */
  #file(): number {
    const { table } = this.#e.ov;
    const isFile = (node: number): boolean => (table.mode(node) & 0o170000) === 0o100000;
    const files = [...this.#lookups.keys()].filter(isFile);
    return files.length === 0 ? 0 : this.#random.pick(files);
  }

  #write(): void {
    const head = wire`${u64(0)} ${u64(0)} ${u32(1)} ${u32(0)} ${u64(0)} ${u64(0)} 58`;
    const file = this.#file();
    if (file !== 0) this.#e.ask(Op.WRITE, file, head);
  }

  #chmod(node: number): void {
    // 88 bytes: FATTR_MODE, then zeros but for the mode.
    const body = Buffer.alloc(88);
    body.writeUInt32LE(1, 0);
    body.writeUInt32LE(0o100700, 68);
    this.#e.ask(Op.SETATTR, node, body);
  }

  #list(node: number): void {
    const body = wire`${u64(0)} ${u64(0)} ${u32(8192)} ${u32(0)} ${u64(0)} ${u64(0)}`;
    const reply = this.#e.ask(Op.READDIRPLUS, node, body);
    for (let at = 0; at < reply.body.length; ) {
      this.#entry(reply, at);
      at += (152 + reply.u32(at + 128 + 16) + 7) & ~7;
    }
  }

  #forget(node: number, all: boolean): void {
    const held = this.#lookups.get(node) ?? 0;
    if (node === 1 || held === 0) return;
    const count = all || this.#random.chance(60) ? held : 1 + this.#random.below(held);
    this.#e.forget(node, count);
    if (count < held) this.#lookups.set(node, held - count);
    else {
      this.#lookups.delete(node);
      this.#dirs.delete(node);
    }
  }

  forgetAll(): void {
    for (const node of [...this.#lookups.keys()]) this.#forget(node, true);
  }
}

describe.skipIf(!has({ root: true }))('after random requests and a forget of everything', () => {
  let e: Engine;
  afterEach(() => {
    e.close();
  });

  const plain = { metacopy: false, redirectDir: 'follow' } as const;
  const full = { metacopy: true, redirectDir: 'on' } as const;
  const indexed = { ...full, index: 'on' } as const;
  const cases = [1, 2, 3, 4, 5, 6].flatMap((seed) => [
    { seed, spec: plain, fds: 64 },
    { seed, spec: full, fds: 64 },
    { seed, spec: full, fds: 4 },
    { seed, spec: indexed, fds: 64 },
    { seed, spec: indexed, fds: 4 },
  ]);

  it.each(cases)(
    'nothing is left ($seed, $spec, $fds descriptors)',
    async ({ seed, spec, fds }) => {
      e = await Engine.open({ ...LAYERS, spec, fds });
      const { table } = e.ov;
      if (e.ov.links) expect(table.indexDir).toBeGreaterThan(1); // made once, and kept
      const used = table.arena.used;
      const kernel = new Kernel(e, new Random(seed));
      for (let i = 0; i < 600; i++) kernel.step();
      kernel.forgetAll();
      expect(table.size).toBe(1);
      expect(table.arena.used).toBe(used);
      // The root's own listing and directories may be kept, nothing below them.
      expect(e.fds.size).toBe(0);
      const left = readdirSync(join(e.top, 'work/work')).filter((name) => name !== '#whiteout');
      expect(left).toEqual([]);
    },
  );
});
