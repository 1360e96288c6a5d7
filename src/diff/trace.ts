/**
 * Which layer gives one path of a union, and what that hides in the layers below: read from the layers,
 * in as many calls as the path has names times layers.
 */
import { display } from '../base/bytes.js';
import { errnoText, UserError } from '../base/errno.js';
import { isDir, isReg } from '../base/mode.js';
import { noName, noNameBelow } from '../layer/absence.js';
import { readMetacopy } from '../layer/metacopy.js';
import {
  type DirMarks,
  dirMarks,
  dotWhiteout,
  isDeviceWhiteout,
  isXWhiteout,
} from '../layer/whiteout.js';
import { AT_FDCWD, O_DIRECTORY, O_PATH, RESOLVE_LAYER } from '../sys/constants.js';
import { Sys } from '../sys/sys.js';

/** What one layer has at the path. */
export interface Trace {
  /** The layer's directory; latin1. */
  readonly layer: string;
  readonly upper: boolean;
  /** Where in the layer: another path than was asked for below a renamed directory. Latin1. */
  readonly path: string;
  readonly kind: 'whiteout' | 'directory' | 'file' | 'metadata' | 'other';
  /** The file's type and mode, as st_mode; 0 of a whiteout. */
  readonly mode: number;
  /** Bytes of a file. */
  readonly size: number;
  /** A directory that shows nothing of the layers below. */
  readonly opaque: boolean;
  /** Something above it hides it. */
  readonly hidden: boolean;
}

interface Layer {
  readonly path: string;
  readonly upper: boolean;
}

/** A directory of a layer that may have the next name; topmost first in a list. */
interface Place {
  readonly layer: number;
  readonly path: string;
  readonly hidden: boolean;
  /** Empty files with the mark are whiteouts in it. */
  readonly xwhiteouts: boolean;
}

type Found = Trace & Pick<DirMarks, 'redirect' | 'xwhiteouts'> & { readonly at: number };

class Tracer {
  readonly #sys = new Sys();
  readonly #layers: readonly Layer[];
  readonly #prefix: string;

  constructor(layers: readonly Layer[], prefix: string) {
    this.#layers = layers;
    this.#prefix = prefix;
  }

  /** What the layers from `from` on have at `names`, topmost first. */
  trace(names: readonly string[], from = 0): Found[] {
    let found = this.#roots(from);
    // A root with that mark speaks for its whole layer.
    const whole = new Set(found.filter(({ xwhiteouts }) => xwhiteouts).map(({ at }) => at));
    for (const name of names) {
      const places = found
        .filter(({ kind }) => kind === 'directory')
        .map(({ at, path, hidden, xwhiteouts }): Place => {
          return { layer: at, path, hidden, xwhiteouts: xwhiteouts || whole.has(at) };
        });
      found = this.#step(places, name);
    }
    return found;
  }

  #roots(from: number): Found[] {
    return [...this.#layers.keys()].slice(from).map((layer) => {
      const marks = this.#inDirectory(layer, '', (fd) => this.#marks(fd, '.', layer));
      return this.#found(layer, '', 'directory', false, marks);
    });
  }

  /** `name` in these directories. */
  #step(places: readonly Place[], name: string): Found[] {
    const found: Found[] = [];
    let wanted = name;
    let covered = false;
    for (const place of places) {
      const entry = this.#entry(place, wanted, place.hidden || covered);
      if (!entry) continue;
      found.push(entry);
      if (place.hidden) continue;
      covered ||= entry.kind !== 'directory' || entry.opaque;
      const { redirect } = entry;
      if (redirect.startsWith('/')) {
        // It starts again at the root of each layer below.
        const below = this.trace(redirect.slice(1).split('/'), place.layer + 1);
        return [...found, ...below.map((each) => ({ ...each, hidden: each.hidden || covered }))];
      }
      if (redirect !== '') wanted = redirect;
    }
    return found;
  }

  #entry({ layer, path, xwhiteouts }: Place, name: string, hidden: boolean): Found | undefined {
    const full = `${path}/${name}`;
    return this.#inDirectory(layer, path, (fd) => {
      const { probe } = this.#sys.stats;
      const code = this.#sys.statName(fd, name, probe);
      if (noNameBelow(code)) {
        const dotted = this.#layers[layer].upper ? 0 : dotWhiteout(this.#sys, fd, name);
        if (dotted < 0) throw this.#unreadable(layer, full, dotted);
        return dotted === 0 ? undefined : this.#found(layer, full, 'whiteout', hidden);
      }
      if (code < 0) throw this.#unreadable(layer, full, code);
      if (isDeviceWhiteout(probe)) return this.#found(layer, full, 'whiteout', hidden);
      const { mode, size } = probe;
      if (isDir(mode)) {
        return {
          ...this.#found(layer, full, 'directory', hidden, this.#marks(fd, name, layer)),
          mode,
        };
      }
      const marked = xwhiteouts ? isXWhiteout(this.#sys, fd, name, probe, this.#prefix) : 0;
      if (marked < 0) throw this.#unreadable(layer, full, marked);
      if (marked === 1) return this.#found(layer, full, 'whiteout', hidden);
      const copy = isReg(mode) ? readMetacopy(this.#sys, fd, name, this.#prefix) : 0;
      if (copy < 0) throw this.#unreadable(layer, full, copy);
      const kind = isReg(mode) ? (copy > 0 ? 'metadata' : 'file') : 'other';
      return { ...this.#found(layer, full, kind, hidden), mode, size };
    });
  }

  #found(at: number, path: string, kind: Trace['kind'], hidden: boolean, marks?: DirMarks): Found {
    const { path: layer, upper } = this.#layers[at];
    const { opaque = false, redirect = '', xwhiteouts = false } = marks ?? {};
    return { at, layer, upper, path, kind, mode: 0, size: 0, opaque, redirect, xwhiteouts, hidden };
  }

  #marks(fd: number, name: string, layer: number): DirMarks {
    const marks = dirMarks(this.#sys, fd, name, !this.#layers[layer].upper, this.#prefix);
    if (typeof marks === 'number') throw this.#unreadable(layer, name, marks);
    return marks;
  }

  #inDirectory<T>(layer: number, path: string, act: (fd: number) => T): T {
    const { native } = this.#sys;
    const root = this.#sys.open(AT_FDCWD, this.#layers[layer].path, O_PATH | O_DIRECTORY, 0, 0);
    if (root < 0) throw this.#unreadable(layer, '', root);
    try {
      if (path === '') return act(root);
      const flags = O_PATH | O_DIRECTORY;
      const fd = this.#sys.open(root, path.slice(1), flags, 0, RESOLVE_LAYER);
      if (fd < 0) throw this.#unreadable(layer, path, fd);
      try {
        return act(fd);
      } finally {
        native.close(fd);
      }
    } finally {
      native.close(root);
    }
  }

  #unreadable(layer: number, path: string, code: number): UserError {
    const where = display(`${this.#layers[layer].path}${path}`);
    return new UserError(
      noName(code) ? `${where} went away meanwhile` : `cannot read ${where}: ${errnoText(code)}`,
    );
  }
}

/**
 * What the layers of a union have at `path` (latin1, from the union's root), topmost first: the first that is
 * not hidden is what is shown, with all directories that are not hidden beside it; a whiteout shows nothing.
 * `prefix`: the namespace of the marks. Throws UserError.
 */
export function traceUnion(
  union: { readonly upper?: string; readonly lowers: readonly string[] },
  path: string,
  prefix: string,
): Trace[] {
  const upper = union.upper === undefined ? [] : [{ path: union.upper, upper: true }];
  const layers = [...upper, ...union.lowers.map((lower) => ({ path: lower, upper: false }))];
  const names = path.split('/').filter((name) => name !== '' && name !== '.');
  if (names.includes('..'))
    throw new UserError(`${display(path)} has '..' in it: name the path itself`);
  return new Tracer(layers, prefix).trace(names);
}
