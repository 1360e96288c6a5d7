/** The inode table's contract in plain Maps, and random operations that the engine could make. */
import { expect } from 'vitest';
import type { InodeTable } from '../../../src/overlay/inodes/table.js';
import type { Random } from '../../differential/random.js';

const ROOT = 1;
const DIR = 0o040755;

interface Name {
  parent: number;
  name: string;
}

interface Node extends Name {
  readonly mode: number;
  lookups: number;
  attached: boolean;
  aliases: Name[];
  key: string;
  ino: number;
}

const nameKey = ({ parent, name }: Name): string => `${parent}/${name}`;

export class TableModel {
  readonly #table: InodeTable;
  readonly #random: Random;
  readonly #nodes = new Map<number, Node>();
  /** Attached canonical names. */
  readonly #names = new Map<string, number>();
  readonly #keys = new Map<string, number>();
  #most = 1;

  constructor(table: InodeTable, random: Random) {
    this.#table = table;
    this.#random = random;
  }

  /** One random operation on the table and here. */
  step(): void {
    this.#random.weighted<() => void>([
      [30, () => this.#create()],
      [10, () => this.#remember()],
      [18, () => this.#forget()],
      [8, () => this.#rename()],
      [8, () => this.#alias()],
      [6, () => this.#removeAlias()],
      [5, () => this.#detach()],
      [8, () => this.#key()],
    ])();
    this.#most = Math.max(this.#most, this.#table.size);
  }

  #text(): string {
    const length = 1 + this.#random.below(this.#random.chance(10) ? 255 : 6);
    return Array.from({ length }, () => String.fromCharCode(1 + this.#random.below(255))).join('');
  }

  #some(wanted: (node: Node) => boolean): number {
    const fitting = [...this.#nodes].filter(([, node]) => wanted(node)).map(([number]) => number);
    return fitting.length === 0 ? 0 : this.#random.pick(fitting);
  }

  #dir(): number {
    const dir = this.#random.chance(30) ? ROOT : this.#some(({ mode }) => mode === DIR);
    return dir === 0 ? ROOT : dir;
  }

  #free(parent: number): string {
    for (;;) {
      const name = this.#text();
      if (!this.#names.has(nameKey({ parent, name }))) return name;
    }
  }

  #create(): void {
    const parent = this.#dir();
    const name = this.#free(parent);
    const mode = this.#random.chance(40) ? DIR : 0o100644;
    const number = this.#table.create(parent, name, mode);
    expect(this.#nodes.has(number)).toBe(false);
    this.#table.remember(number);
    const ino = this.#random.below(1_000_000);
    this.#table.setIno(number, ino, ino ^ 0x5555);
    const node = { parent, name, mode, lookups: 1, attached: true, aliases: [], key: '', ino };
    this.#nodes.set(number, node);
    this.#names.set(nameKey(node), number);
  }

  #remember(): void {
    const number = this.#some(() => true);
    const node = this.#nodes.get(number);
    if (!node) return;
    this.#table.remember(number);
    node.lookups++;
  }

  #forget(): void {
    const number = this.#some(({ lookups }) => lookups > 0);
    const node = this.#nodes.get(number);
    if (!node) return;
    const lookups = this.#random.chance(70) ? node.lookups : 1 + this.#random.below(node.lookups);
    this.#ending(() => {
      this.#table.forget(number, lookups, 0, this.#dropped);
    });
    node.lookups -= lookups;
    this.#settle();
  }

  #rename(): void {
    const number = this.#some(({ mode }) => mode !== DIR);
    const node = this.#nodes.get(number);
    if (!node) return;
    const parent = this.#dir();
    const name = this.#free(parent);
    this.#ending(() => {
      this.#table.rename(number, parent, name, this.#dropped);
    });
    if (node.attached) this.#names.delete(nameKey(node));
    node.parent = parent;
    node.name = name;
    node.attached = true;
    this.#names.set(nameKey(node), number);
    this.#settle();
  }

  #alias(): void {
    const number = this.#some(({ mode, attached }) => mode !== DIR && attached);
    const node = this.#nodes.get(number);
    if (!node) return;
    const parent = this.#dir();
    const name = this.#free(parent);
    if (node.aliases.some((alias) => nameKey(alias) === nameKey({ parent, name }))) return;
    this.#table.addAlias(number, parent, name);
    node.aliases.push({ parent, name });
  }

  #removeAlias(): void {
    const number = this.#some(({ aliases }) => aliases.length > 0);
    const node = this.#nodes.get(number);
    if (!node) return;
    const [alias] = node.aliases.splice(this.#random.below(node.aliases.length), 1);
    this.#ending(() => {
      const removed = this.#table.removeAlias(number, alias.parent, alias.name, this.#dropped);
      expect(removed).toBe(true);
    });
    this.#settle();
  }

  #detach(): void {
    const number = this.#some(({ attached }) => attached);
    const node = this.#nodes.get(number);
    if (!node) return;
    this.#table.detachName(number);
    node.attached = false;
    this.#names.delete(nameKey(node));
  }

  #key(): void {
    const number = this.#some(() => true);
    const node = this.#nodes.get(number);
    if (!node) return;
    const [layer, lo, hi] = [1 + this.#random.below(3), this.#random.below(400), 0];
    const key = `${layer}:${lo}:${hi}`;
    if (this.#keys.has(key)) return;
    if (node.key !== '') this.#keys.delete(node.key);
    this.#table.setKey(number, layer, lo, hi);
    node.key = key;
    this.#keys.set(key, number);
  }

  // --- what ends ---------------------------------------------------------------------------
  #ended: number[] = [];
  readonly #dropped = (node: number): void => {
    this.#ended.push(node);
  };

  #ending(act: () => void): void {
    this.#ended = [];
    act();
  }

  /** Removes here what nothing holds any more, and compares it with what the table told. */
  #settle(): void {
    const gone: number[] = [];
    for (let more = true; more; ) {
      more = false;
      const held = new Set<number>();
      for (const node of this.#nodes.values()) {
        held.add(node.parent);
        for (const alias of node.aliases) held.add(alias.parent);
      }
      for (const [number, node] of this.#nodes) {
        if (node.lookups > 0 || held.has(number)) continue;
        this.#nodes.delete(number);
        if (node.attached) this.#names.delete(nameKey(node));
        if (node.key !== '') this.#keys.delete(node.key);
        gone.push(number);
        more = true;
      }
    }
    expect(this.#ended.toSorted()).toEqual(gone.toSorted());
  }

  // --- comparison --------------------------------------------------------------------------
  check(): void {
    const table = this.#table;
    expect(table.size).toBe(this.#nodes.size + 1);
    for (const [number, node] of this.#nodes) {
      const shown = {
        exists: table.exists(number),
        name: table.name(number),
        parent: table.parent(number),
        mode: table.mode(number),
        lookups: table.lookups(number),
        ino: [table.inoLo(number), table.inoHi(number)],
        found: table.byName(node.parent, node.name) === number,
        aliases: node.aliases.every(({ parent, name }) => table.hasName(number, parent, name)),
        other: table.hasOtherName(number, node.parent, node.name),
      };
      expect(shown).toEqual({
        exists: true,
        name: node.name,
        parent: node.parent,
        mode: node.mode,
        lookups: node.lookups,
        ino: [node.ino, node.ino ^ 0x5555],
        found: node.attached,
        aliases: true,
        other: node.attached && node.aliases.length > 0,
      });
    }
    for (const [key, number] of this.#keys) {
      const [layer, lo, hi] = key.split(':').map(Number);
      expect(table.byKey(layer, lo, hi)).toBe(number);
    }
  }

  forgetAll(): void {
    while (this.#nodes.size > 0) {
      const number = this.#some(({ lookups }) => lookups > 0);
      const node = this.#nodes.get(number);
      if (!node) throw new Error('nodes are left that nothing holds');
      this.#ending(() => {
        this.#table.forget(number, node.lookups, 0, this.#dropped);
      });
      node.lookups = 0;
      this.#settle();
    }
  }

  /** What an empty table takes that once had so many nodes; `fresh` is what a new one takes. */
  bucketBytes(fresh: number): number {
    let buckets = 1024;
    while (this.#most > buckets - 1) buckets *= 4;
    return fresh + (buckets - 1024) * 8;
  }
}
