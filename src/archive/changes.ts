/** Lists what the upper of a stack changes, as objects in the order of the archive. */
import { E } from '../base/errno.js';
import { isDir } from '../base/mode.js';
import { noName, noNameBelow, vanished } from '../layer/absence.js';
import { dotHidden, isDotMark } from '../layer/whiteout.js';
import { STATX_TYPE } from '../sys/constants.js';
import type { Stat } from '../sys/stat.js';
import type { Sys } from '../sys/sys.js';
import { readXattrs } from './objects.js';
import { OtherNames } from './otherNames.js';
import type { Part, Shown, Stack } from './stack.js';
import { item, type Items, namesOf, objectOf, readError, under, walkUnion } from './walk.js';

/** A directory of the upper that lower layers have, too; it is written when something of it is. */
interface Pending {
  readonly path: string;
  readonly part: Part;
  readonly above: Pending | undefined;
  written: boolean;
}

/** What the upper, the topmost layer of `stack`, changes. `alone`: its lowers are not known. */
export class Changes {
  readonly #stack: Stack;
  readonly #sys: Sys;
  readonly #alone: boolean;
  readonly #others: OtherNames;
  /** Of the entry that is being read. */
  readonly #listed: Stat;

  constructor(stack: Stack, alone: boolean) {
    this.#stack = stack;
    this.#sys = stack.sys;
    this.#alone = alone;
    this.#others = new OtherNames(stack);
    this.#listed = stack.sys.stats.listed;
  }

  *all(): Items {
    const [upper, ...below] = this.#stack.roots;
    const root = { path: '', part: upper, above: undefined, written: true };
    if (this.#alone || below.length === 0 || this.#differs(upper, below[0])) {
      yield item('object', '', upper, '.');
    }
    const opaque = this.#stack.marks(upper, '.').opaque;
    if (opaque) yield item('opaque', '', upper, '.');
    yield* this.#merged(root, below);
    yield* this.#others.all();
  }

  /** `below`: what the lower layers have at the same path. */
  *#merged(dir: Pending, below: readonly Part[]): Items {
    const { part, path } = dir;
    // In the order of the names that the archive has.
    for (const name of namesOf(this.#sys, part.fd, path)) {
      if (isDotMark(name)) {
        yield* this.#dotMark(dir, below, name);
        continue;
      }
      const full = under(path, name);
      const code = this.#sys.statName(part.fd, name, this.#listed);
      if (vanished(code)) continue;
      if (code < 0) throw readError(full, code);
      if (this.#stack.isWhiteout(part, name, this.#listed)) {
        yield* this.#whiteout(dir, below, name, name);
      } else if (isDir(this.#listed.mode)) {
        yield* this.#directory(dir, below, name, full);
      } else {
        if (!this.#alone) this.#others.note(part.fd, name, full, this.#listed);
        yield* this.#announce(dir);
        const what = this.#stack.look([part, ...below], name);
        try {
          if (what.kind === 'object') yield objectOf(full, what);
        } finally {
          this.#stack.release(what);
        }
      }
    }
  }

  /** The directories on the way, if they have not been written. */
  *#announce(dir: Pending): Items {
    if (dir.written) return;
    if (dir.above) yield* this.#announce(dir.above);
    dir.written = true;
    yield item('object', dir.path, dir.part, '.');
  }

  /** AUFS's forms: `.wh..wh..opq` has been seen with the directory, others of its own say nothing. */
  *#dotMark(dir: Pending, below: readonly Part[], name: string): Items {
    const hidden = dotHidden(name);
    if (hidden === undefined) return;
    // Beside an object of that name it hides only what that hides, too, but for a directory, which is then opaque.
    const beside = this.#sys.statName(dir.part.fd, hidden, this.#listed);
    if (beside >= 0) return;
    if (!noName(beside)) throw readError(under(dir.path, hidden), beside);
    yield* this.#whiteout(dir, below, hidden, name);
  }

  *#whiteout(dir: Pending, below: readonly Part[], name: string, real: string): Items {
    if (!this.#alone && !this.#shows(below, name)) return;
    yield* this.#announce(dir);
    yield item('whiteout', under(dir.path, name), dir.part, real);
  }

  #shows(below: readonly Part[], name: string): boolean {
    const what = this.#stack.look(below, name);
    this.#stack.release(what);
    return what.kind !== 'nothing';
  }

  *#directory(dir: Pending, below: readonly Part[], name: string, path: string): Items {
    const stack = this.#stack;
    const lower = stack.look(below, name);
    let merged: Shown | undefined;
    try {
      merged = stack.look([dir.part, ...below], name);
      if (merged.kind !== 'dir') throw readError(path, -E.EIO);
      const [part, ...rest] = merged.parts;
      const marked = stack.marks(dir.part, name).opaque || this.#dotCovered(dir.part, name);
      const lowerParts = lower.kind === 'dir' ? lower.parts : [];
      const same = !marked && lower.kind === 'dir' && stack.same(rest, lowerParts);
      const written = this.#alone ? marked : !same;
      if (!written) {
        const pending = { path, part, above: dir, written: false };
        if (this.#alone || this.#differs(part, lowerParts[0])) yield* this.#announce(pending);
        yield* this.#merged(pending, lowerParts);
        return;
      }
      yield* this.#announce(dir);
      yield item('object', path, part, '.');
      if (this.#alone || lower.kind === 'dir') yield item('opaque', path, part, '.');
      yield* walkUnion(stack, merged.parts, path);
    } finally {
      if (merged) stack.release(merged);
      stack.release(lower);
    }
  }

  /** A `.wh.` file beside a directory hides what lower layers have in it. */
  #dotCovered(part: Part, name: string): boolean {
    const code = this.#sys.statName(part.fd, `.wh.${name}`, this.#listed, STATX_TYPE);
    // The mark can be too long for a name.
    if (code < 0 && !noNameBelow(code)) throw readError(`.wh.${name}`, code);
    return code >= 0;
  }

  /** Owner, mode, time or xattrs of a directory are others than the lower layers'. */
  #differs(part: Part, lower: Part): boolean {
    const { listed, probe } = this.#sys.stats;
    let code = this.#sys.statName(part.fd, '.', listed);
    if (code >= 0) code = this.#sys.statName(lower.fd, '.', probe);
    if (code < 0) throw readError('a directory', code);
    if (listed.uid !== probe.uid || listed.gid !== probe.gid) return true;
    if (listed.mode !== probe.mode || listed.mtime !== probe.mtime) return true;
    if (listed.mtimeNsec !== probe.mtimeNsec) return true;
    const { prefix } = this.#stack;
    const [one, other] = [part, lower].map(({ fd }) => readXattrs(this.#sys, fd, '.', prefix));
    return one.size !== other.size || [...one].some(([key, value]) => other.get(key) !== value);
  }
}
