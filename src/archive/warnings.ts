/** Collects what could not be kept, counted by kind: an archive of a million entries gives few sentences. */
import { shown } from './limits.js';

/** Kinds beyond so many are counted together. */
const KINDS = 20;

export class Warnings {
  readonly #kinds = new Map<string, { first: string; count: number }>();

  /** `what` is a sentence's beginning without a name in it. */
  add(what: string, name: string): void {
    const kind = this.#kinds.has(what) || this.#kinds.size < KINDS ? what : 'more was left out';
    const known = this.#kinds.get(kind);
    if (known) known.count++;
    else this.#kinds.set(kind, { first: name, count: 1 });
  }

  list(): string[] {
    return [...this.#kinds].map(([what, { first, count }]) =>
      count === 1 ? `${what}: ${shown(first)}` : `${what}: ${shown(first)} and ${count - 1} more`,
    );
  }
}
