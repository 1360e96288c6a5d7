/**
 * Finds names of a changed file that the upper does not have. With `index=on` all names of a lower's file show
 * a change, also those that were never copied up. The upper knows only their number (`overlay.nlink`). So a
 * walk of the lowers looks for them, where there are any.
 */
import { errnoText, UserError } from '../base/errno.js';
import { isDir } from '../base/mode.js';
import { noXattr, vanished } from '../layer/absence.js';
import { originLayers, findOrigin } from '../layer/origin.js';
import type { Stat } from '../sys/stat.js';
import { refused, shown } from './limits.js';
import type { Stack } from './stack.js';
import { type Item, walkUnion } from './walk.js';

/** A file of the upper with names elsewhere: its first name in the archive, and its statx. */
interface Changed {
  readonly first: string;
  readonly stat: Uint32Array;
}

const keyOf = ({ dev, inoHi, inoLo }: Stat): string => `${dev}:${inoHi}:${inoLo}`;

export class OtherNames {
  readonly #stack: Stack;
  /** By the lower file that it was copied up from. */
  readonly #changed = new Map<string, Changed>();

  constructor(stack: Stack) {
    this.#stack = stack;
  }

  /** Looks at a file of the upper; `stat` is its. */
  note(dir: number, name: string, path: string, stat: Stat): void {
    if (stat.nlink < 2 || isDir(stat.mode)) return;
    const { sys, prefix } = this.#stack;
    const told = sys.xattr(dir, name, `${prefix}nlink`);
    if (typeof told === 'number' && !noXattr(told)) throw unreadable(path, told);
    if (typeof told !== 'string' || !hasOthers(told, stat.nlink)) return;
    const saved = stat.save();
    const value = sys.xattr(dir, name, `${prefix}origin`);
    if (typeof value === 'number' && !noXattr(value)) throw unreadable(path, value);
    const { origin } = sys.stats;
    const layers = originLayers(this.#stack.layers.slice(1));
    const layer = typeof value === 'string' ? findOrigin(sys, layers, value, origin) : 0;
    if (layer === 0) throw refusedName(path);
    if (layer < 0) throw unreadable(path, layer);
    const key = keyOf(origin);
    if (!this.#changed.has(key)) this.#changed.set(key, { first: path, stat: saved });
  }

  /** The names, each with the directories on its way. */
  *all(): Generator<Item, void> {
    if (this.#changed.size === 0) return;
    const { sys } = this.#stack;
    const way: { readonly item: Item; written: boolean }[] = [];
    for (const item of walkUnion(this.#stack, this.#stack.roots, '')) {
      while (way.length > 0 && !item.path.startsWith(`${way[way.length - 1].item.path}/`))
        way.pop();
      if (item.name === '.') way.push({ item, written: false });
      if (item.name === '.' || item.layer === 0) continue;
      const { listed } = sys.stats;
      const code = sys.statName(item.dir, item.name, listed);
      if (code < 0 && !vanished(code)) throw unreadable(item.path, code);
      if (code < 0 || listed.nlink < 2) continue;
      const changed = this.#changed.get(keyOf(listed));
      if (!changed) continue;
      for (const dir of way.filter(({ written }) => !written)) {
        dir.written = true;
        yield dir.item;
      }
      yield { ...item, same: changed };
    }
  }
}

/**
 * `U` and a number: so many names more than the upper's file has links, of which one is the index's
 * (ovl_set_nlink_common). `L` counts from the lower's links: the file has not been changed by all names.
 */
function hasOthers(told: string, links: number): boolean {
  const found = /^([UL])([+-]\d+)$/.exec(told);
  if (!found) return false;
  const extra = Number(found[2]);
  return found[1] === 'L' || links + extra > links - 1;
}

const unreadable = (path: string, code: number): UserError =>
  new UserError(`cannot read ${shown(path)}: ${errnoText(code)}`);

const refusedName = (path: string): Error =>
  refused(path, 'has names in the layers below that cannot be found: its origin is not among them');
