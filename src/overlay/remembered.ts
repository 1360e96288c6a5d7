/** Remembers what an object was before a change that is under way (answer.ts). */
import { STATX } from '../protocol/layout.js';
import type { Stat } from '../sys/stat.js';

/** Attributes from before a change, and whose they are. */
export class Remembered {
  readonly #words = new Uint32Array(STATX.size / 4);
  #node = 0;
  /** Its file capabilities, where they were read. */
  capability: string | undefined;

  keep(node: number, stat: Stat): void {
    stat.saveTo(this.#words);
    this.#node = node;
  }

  /** Fills `stat`; with zeros, and false, when another node's are remembered. */
  put(node: number, stat: Stat): boolean {
    const known = this.#node === node;
    if (!known) this.#words.fill(0);
    stat.load(this.#words);
    return known;
  }
}
