/** What the generator of operations believes to be there. */
import { somePath } from './layers.js';
import { SLOTS } from './operations.js';
import type { Random } from './random.js';

/**
 * What probably exists: the generator does not know how operations end, it only leans towards names
 * and descriptors that are there, so that most operations do something.
 */
export class State {
  readonly random: Random;
  private readonly files: string[] = [];
  private readonly dirs: string[] = ['.'];
  private readonly open: number[] = [];

  constructor(random: Random, seen: ReadonlyMap<string, boolean>) {
    this.random = random;
    for (const [path, isDir] of seen) (isDir ? this.dirs : this.files).push(path);
  }

  private likely(from: readonly string[], percent: number): string {
    return from.length > 0 && this.random.chance(percent)
      ? this.random.pick(from)
      : somePath(this.random);
  }
  any(): string {
    return this.likely(this.random.chance(60) ? this.files : this.dirs.slice(1), 60);
  }
  file(): string {
    return this.likely(this.files, 75);
  }
  dir(): string {
    return this.likely(this.dirs, 75);
  }
  /** A name for something new, most often in a directory that is there. */
  fresh(isDir: boolean): string {
    const [some = 'f'] = somePath(this.random).split('/').slice(-1);
    // In the upper a `.wh.` name is a name like any other.
    const name = this.random.chance(3) ? '.wh.f' : some;
    const parent = this.random.pick(this.dirs);
    const path =
      this.random.chance(40) || parent.split('/').length > 2
        ? somePath(this.random)
        : parent === '.'
          ? name
          : `${parent}/${name}`;
    (isDir ? this.dirs : this.files).push(path);
    return path;
  }
  /** A slot to open something in. */
  slot(): number {
    const slot = this.random.below(SLOTS);
    this.open.push(slot);
    return slot;
  }
  opened(): number {
    return this.open.length > 0 && this.random.chance(90)
      ? this.random.pick(this.open.slice(-SLOTS))
      : this.random.below(SLOTS);
  }
}
