/**
 * Where the sweep runs: layers that never change, an upper and a workdir that are made anew for
 * each case, and kernel overlayfs over all of them.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { E } from '../../src/base/errno.js';
import type { OverlaySpec } from '../../src/overlay/spec.js';
import { loadNative } from '../../src/sys/native.js';
import { Sys } from '../../src/sys/sys.js';
import { Engine, type EngineParts } from '../support/engine.js';
import { build } from '../support/tree.js';
import type { Injector } from './inject.js';
import { Kernel } from './kernel.js';
import { LOWERS, prepare } from './operations.js';
import { type Tree, treeOfDirectory } from './snapshot.js';

/** One way of mounting, as both take it. */
export interface Config {
  readonly spec: Partial<OverlaySpec>;
  readonly kernel: string;
  readonly noDevices?: true;
  /** Errors that an operation may answer with nothing failing: what cannot be done so. */
  readonly refuses?: readonly number[];
  /** Without an index a hard link parts from the others with its copy-up, also before a change that fails. */
  readonly parts?: true;
}

const FULL: Config = {
  spec: { redirectDir: 'on', metacopy: true, index: 'on' },
  kernel: 'redirect_dir=on,metacopy=on,index=on',
};

export const CONFIGS = {
  default: FULL,
  'metacopy=off': {
    spec: { redirectDir: 'on', index: 'on' },
    kernel: 'redirect_dir=on,metacopy=off,index=on',
  },
  userxattr: {
    spec: { userxattr: true },
    kernel: 'userxattr,index=off',
    // No redirects.
    refuses: [E.EXDEV],
    parts: true,
  },
  'data=passthrough': { ...FULL, spec: { ...FULL.spec, data: 'passthrough', writeback: false } },
  // Clients' whiteouts are devices.
  'no devices': { ...FULL, noDevices: true, refuses: [E.EPERM, E.EINVAL] },
} as const satisfies Record<string, Config>;
export type ConfigName = keyof typeof CONFIGS;

/** Nothing known yet; all known; all known, but hardly a descriptor kept. */
export const CACHES = ['cold', 'warm', 'few'] as const;
export type Cache = (typeof CACHES)[number];

/** Fewer descriptors than any request borrows. */
const FEW = 2;
/** Its value is the upper root's handle, which is another one in each case. */
const VARIES = ['trusted.overlay.upper', 'user.overlay.upper'];

const isMark = (key: string): boolean => key.startsWith('trusted.overlay.');

export class Bed {
  readonly top: string;
  readonly config: Config;
  readonly #sys = new Sys(loadNative());
  readonly #kernelTrees = new Map<string, Tree>();

  private constructor(top: string, config: Config) {
    this.top = top;
    this.config = config;
  }

  /** In the empty directory `top`, whose file system takes overlayfs's marks. */
  static async make(top: string, config: Config): Promise<Bed> {
    for (const [i, entries] of LOWERS.entries()) {
      mkdirSync(join(top, `lower${i}`));
      await build(join(top, `lower${i}`), entries);
    }
    mkdirSync(join(top, 'mnt'));
    return new Bed(top, config);
  }

  #parts(injector: Injector, cache: Cache, readOnly: boolean): EngineParts {
    const spec = { ...this.config.spec, ...(readOnly ? { readOnly, writeback: false } : {}) };
    const parts = { lowers: LOWERS, spec, native: injector.native };
    return cache === 'few' ? { ...parts, fds: FEW } : parts;
  }

  mount(injector: Injector, cache: Cache, readOnly = false): Kernel {
    return new Kernel(new Engine(this.top, this.#parts(injector, cache, readOnly)));
  }

  /** An empty upper and workdir. */
  clear(): void {
    for (const name of ['upper', 'work']) {
      rmSync(join(this.top, name), { recursive: true, force: true });
      mkdirSync(join(this.top, name));
    }
  }

  /** A prepared upper, mounted, with caches as they are to be. */
  fresh(injector: Injector, cache: Cache): Kernel {
    this.clear();
    const kernel = this.mount(injector, cache);
    prepare(kernel);
    if (cache !== 'cold') {
      kernel.warm();
      return kernel;
    }
    kernel.engine.end();
    return this.mount(injector, cache);
  }

  /** What lies on the upper's disk, in one word. */
  disk(): string {
    // Not every configuration has an index.
    const places = ['upper', 'work/index'].filter((name) => existsSync(join(this.top, name)));
    return this.#word(places, (key) => !VARIES.includes(key));
  }

  /** The same of the upper alone. `marked`: its root may have got marks, which say nothing of the tree. */
  upper(marked: boolean): string {
    return this.#word(['upper'], (key) => !VARIES.includes(key) && !(marked && isMark(key)));
  }

  #word(places: readonly string[], keep: (key: string) => boolean): string {
    const hash = createHash('sha1');
    for (const name of places) {
      for (const line of treeOfDirectory(this.#sys, join(this.top, name), keep)) {
        hash.update(line.join('\n'));
      }
    }
    return hash.digest('hex');
  }

  /** The layers, to see that nothing was written into them. */
  layers(): Tree {
    const trees = LOWERS.map((_, i) => treeOfDirectory(this.#sys, join(this.top, `lower${i}`)));
    return new Map(
      trees.flatMap((tree, i) => [...tree].map(([p, is]) => [`${i}${p}`, is] as const)),
    );
  }

  /** What kernel overlayfs shows of the upper. `disk` is what lies on it. */
  kernelTree(disk: string): Tree {
    const known = this.#kernelTrees.get(disk);
    if (known) return known;
    const at = (name: string): string => join(this.top, name);
    const lowers = LOWERS.map((_, i) => at(`lower${i}`)).join(':');
    const layers = `lowerdir=${lowers},upperdir=${at('upper')},workdir=${at('work')}`;
    const { native } = this.#sys;
    const code = native.mount(
      'overlay',
      at('mnt'),
      'overlay',
      0,
      `${layers},${this.config.kernel}`,
    );
    if (code < 0) return new Map([['', `kernel overlayfs does not mount it: ${code}`]]);
    try {
      const tree = withClientsWhiteouts(treeOfDirectory(this.#sys, at('mnt')));
      this.#kernelTrees.set(disk, tree);
      return tree;
    } finally {
      native.umount2(at('mnt'), 0);
    }
  }
}

/**
 * A whiteout that a client made is shown as one, and by kernel overlayfs as what it is on disk; with
 * `userxattr` it shows the mark as it is there, too.
 */
function withClientsWhiteouts(tree: Tree): Tree {
  const mark = /\[\["trusted\.overlay\.(?:overlay\.)?whiteout","y"\]\]$/;
  const show = (is: string): string =>
    mark.test(is) ? is.replace(' device 1 ', ' device 0 ').replace(mark, '[]') : is;
  return new Map([...tree].map(([path, is]) => [path, show(is)] as const));
}
