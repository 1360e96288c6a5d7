/** What a step finds in the layers below it: paths resolved as inside the image, without a mount. */
import { display } from '../../base/bytes.js';
import { UserError } from '../../base/errno.js';
import { isLnk } from '../../base/mode.js';
import { type Part, type Shown, Stack } from '../../archive/stack.js';
import { DENTS, DENTS_SIZE, Sys } from '../../sys/sys.js';
import { layerFormat } from '../layers/format.js';
import { componentsOf } from './sourceTree.js';

const MOST_LINKS = 40;

/** Where a path leads. */
export interface Place {
  /** Without symlinks and without a slash before it; latin1. */
  readonly names: readonly string[];
  /** Of the root and each of the names: the layers' directories, undefined from where there is none. */
  readonly parts: readonly (readonly Part[] | undefined)[];
  /** The last name exists and is no directory. */
  readonly isFile: boolean;
}

export class Below {
  readonly stack: Stack | undefined;
  readonly #opened: Shown[] = [];

  /** Directories of layers, top first; latin1. Close it. */
  constructor(layers: readonly string[]) {
    if (layers.length === 0) return;
    this.stack = new Stack(new Sys(), layers, [], layerFormat().userxattr);
  }

  close(): void {
    for (const each of this.#opened) this.stack?.release(each);
    this.stack?.close();
  }

  /** What `name` is in a directory. Open until `close`. */
  look(parts: readonly Part[], name: string): Shown {
    const found = this.stack!.look(parts, name);
    this.#opened.push(found);
    return found;
  }

  /** What `name` is in a directory, and no more than that. */
  kind(parts: readonly Part[], name: string): Shown['kind'] {
    const found = this.stack!.look(parts, name);
    this.stack!.release(found);
    return found.kind;
  }

  /** Follows `path` from the root, its symlinks too. Throws UserError where a file is in the way. */
  find(path: string): Place {
    const todo = componentsOf(path);
    let names: string[] = [];
    let parts: (readonly Part[] | undefined)[] = [this.stack?.roots];
    let links = 0;
    for (let name = todo.shift(); name !== undefined; name = todo.shift()) {
      if (name === '..') {
        if (names.pop() !== undefined) parts.pop();
        continue;
      }
      const here = parts.at(-1);
      const found: Shown = here ? this.look(here, name) : { kind: 'nothing' };
      if (found.kind !== 'object') {
        names.push(name);
        parts.push(found.kind === 'dir' ? found.parts : undefined);
        continue;
      }
      const target = this.#target(found.object.dir, found.object.name);
      if (target === undefined) {
        if (todo.length > 0) throw blocked([...names, name]);
        return { names: [...names, name], parts: [...parts, undefined], isFile: true };
      }
      if (++links > MOST_LINKS) throw new UserError(`${display(path)}: too many symlinks`);
      if (target.startsWith('/')) [names, parts] = [[], [this.stack?.roots]];
      todo.unshift(...target.split('/').filter((each) => each !== '' && each !== '.'));
    }
    return { names, parts, isFile: false };
  }

  #target(dir: number, name: string): string | undefined {
    const { sys } = this.stack!;
    const { probe } = sys.stats;
    if (sys.statName(dir, name, probe) !== 0 || !isLnk(probe.mode)) return undefined;
    const length = sys.native.readlinkat(dir, name, DENTS, DENTS_SIZE);
    return length < 0 ? undefined : sys.text(DENTS, length);
  }
}

const blocked = (names: readonly string[]): UserError =>
  new UserError(`/${display(names.join('/'))} is no directory in the image`);
