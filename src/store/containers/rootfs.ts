/**
 * The root file system of a container: the layers of its image, the placeholders of what will be mounted in
 * it, and its writable layer, as one union.
 *
 *     containers/HEX/init      directories and empty files on which something is mounted, and which the
 *                              image has not got: a layer of its own, so that they are no changes
 *     containers/HEX/upper     what the container writes, in the format of overlayfs
 *     containers/HEX/work
 *     containers/HEX/merged    the union, while it is in use
 */
import { chmodSync, chownSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { E, errnoText, UserError } from '../../base/errno.js';
import { toLatin1 } from '../../base/bytes.js';
import { isDir, isLnk } from '../../base/mode.js';
import { type Part, type Shown, Stack } from '../../archive/stack.js';
import { mountOnly } from '../../client/mount.js';
import { Unions } from '../../client/unions.js';
import { deviceAt } from '../../sys/mountTable.js';
import { errnoOf } from '../../sys/paths.js';
import { log } from '../../sys/log.js';
import { AT_FDCWD } from '../../sys/constants.js';
import { loadNative } from '../../sys/native.js';
import { DENTS, DENTS_SIZE, Sys } from '../../sys/sys.js';
import { layerFormat } from '../layers/format.js';

/** A layer's root file system in use. Paths are UTF-8. */
export interface RootfsPlace {
  /** The image's layers, top first; latin1, as `resolveImage` gives them. */
  readonly layers: readonly string[];
  /** Holds init, upper, work and merged. UTF-8. */
  readonly directory: string;
}

/** Something will be mounted at `path` (absolute, in the container): on a directory or on a file. */
export interface Placeholder {
  readonly path: string;
  readonly kind: 'dir' | 'file';
  /** Of a directory that is made. */
  readonly mode?: number;
}

export const utf8 = (path: string): string => Buffer.from(path, 'latin1').toString('utf8');

const MOST_LINKS = 40;

/** Finds what is missing on the way to `path` in a stack of layers. */
class Finder {
  readonly #stack: Stack;
  readonly #sys: Sys;
  /** Directories opened since the last `rest`. */
  #open: Shown[] = [];

  constructor(stack: Stack) {
    this.#stack = stack;
    this.#sys = stack.sys;
  }

  /**
   * The directories that `path` leads through, links followed as inside the container: each with the
   * layers' directory it comes from, undefined where there is none. `file`: the last one exists and is
   * no directory.
   */
  walk(path: string): { names: string[]; from: (Part | undefined)[]; file: boolean } {
    const todo = path.split('/').filter((name) => name !== '' && name !== '.');
    let stack: (readonly Part[] | undefined)[] = [this.#stack.roots];
    let names: string[] = [];
    let links = 0;
    for (let name = todo.shift(); name !== undefined; name = todo.shift()) {
      if (name === '..') {
        if (names.pop() !== undefined) stack.pop();
        continue;
      }
      const here = stack.at(-1);
      const found: Shown = here ? this.#stack.look(here, toLatin1(name)) : { kind: 'nothing' };
      this.#open.push(found);
      if (found.kind === 'object') {
        const target = this.#link(found.object.dir, found.object.name);
        if (target === undefined) {
          if (todo.length > 0) throw new UserError(`${path}: ${name} is no directory in the image`);
          return { names: [...names, name], from: this.#tops(stack), file: true };
        }
        if (++links > MOST_LINKS) throw new UserError(`${path}: too many symlinks in the image`);
        if (target.startsWith('/')) [stack, names] = [[this.#stack.roots], []];
        todo.unshift(
          ...utf8(target)
            .split('/')
            .filter((each) => each !== '' && each !== '.'),
        );
        continue;
      }
      names.push(name);
      stack.push(found.kind === 'dir' ? found.parts : undefined);
    }
    return { names, from: this.#tops(stack), file: false };
  }

  /** Gives back what `walk` has opened. */
  rest(): void {
    for (const each of this.#open.splice(0)) this.#stack.release(each);
  }

  #tops(stack: readonly (readonly Part[] | undefined)[]): (Part | undefined)[] {
    return stack.map((parts) => parts?.[0]);
  }

  #link(dir: number, name: string): string | undefined {
    const { probe } = this.#sys.stats;
    if (this.#sys.statName(dir, name, probe) !== 0 || !isLnk(probe.mode)) return undefined;
    const length = this.#sys.native.readlinkat(dir, name, DENTS, DENTS_SIZE);
    return length < 0 ? undefined : this.#sys.text(DENTS, length);
  }

  /** Gives a new directory the owner and mode of the one it will lie on. */
  liken(path: string, part: Part | undefined): void {
    if (!part) return;
    const { probe } = this.#sys.stats;
    if (this.#sys.statName(part.fd, '.', probe) !== 0 || !isDir(probe.mode)) return;
    chownSync(path, probe.uid, probe.gid);
    chmodSync(path, probe.mode & 0o7777);
  }
}

/** mkdir(2); one that is there is fine. */
function ensureDirectory(path: string): boolean {
  try {
    mkdirSync(path, 0o755);
    return true;
  } catch (error) {
    if (errnoOf(error) !== E.EEXIST) throw error;
    return false;
  }
}

function place(finder: Finder, init: string, { path, kind, mode }: Placeholder): void {
  const { names, from, file } = finder.walk(path);
  // A destination that exists in the image needs none: whatever it is, the runtime says so if it is wrong.
  if (file || from.at(-1) !== undefined) return;
  let at = init;
  for (const [depth, name] of names.entries()) {
    const last = depth === names.length - 1;
    at = `${at}/${name}`;
    if (last && kind === 'file') writeFileSync(at, '', { flag: 'a', mode: 0o644 });
    else if (ensureDirectory(at)) finder.liken(at, from[depth + 1]);
    if (last && mode !== undefined) chmodSync(at, mode);
  }
}

/** The owner and the mode of the image's root, for a layer above it. */
function makeLayer(path: string, { layers }: RootfsPlace): void {
  mkdirSync(path);
  const top = layers.at(0);
  const { uid, gid, mode } = statSync(Buffer.from(top ?? '/', 'latin1'));
  if (top !== undefined) chownSync(path, uid, gid);
  chmodSync(path, top === undefined ? 0o755 : mode & 0o7777);
}

/** Makes init, upper, work and merged in the empty `place.directory`. Throws UserError. */
export function makeRootfs(rootfs: RootfsPlace, placeholders: readonly Placeholder[]): void {
  const { directory, layers } = rootfs;
  for (const name of ['init', 'upper']) makeLayer(`${directory}/${name}`, rootfs);
  mkdirSync(`${directory}/work`);
  mkdirSync(`${directory}/merged`);
  if (layers.length === 0) {
    throw new UserError('the image has no layers: there is nothing to run in it');
  }
  const stack = new Stack(new Sys(), layers, [], layerFormat().userxattr);
  try {
    const finder = new Finder(stack);
    for (const each of placeholders) {
      try {
        place(finder, `${directory}/init`, each);
      } catch (error) {
        if (error instanceof UserError) throw error;
        throw new UserError(`cannot mount at ${each.path}: ${errnoText(errnoOf(error))}`);
      } finally {
        finder.rest();
      }
    }
  } finally {
    stack.close();
  }
  for (const name of ['init', 'upper']) sameTime(`${directory}/${name}`, layers[0]);
}

/** The root is no change: it is as old as the image's. */
function sameTime(path: string, like: string): void {
  const { mtimeNs } = statSync(Buffer.from(like, 'latin1'), { bigint: true });
  const [seconds, rest] = [Number(mtimeNs / 1_000_000_000n), Number(mtimeNs % 1_000_000_000n)];
  const at = rest < 0 ? ([seconds - 1, rest + 1_000_000_000] as const) : ([seconds, rest] as const);
  const code = loadNative().utimensat(AT_FDCWD, toLatin1(path), ...at, ...at, 0);
  if (code < 0) throw new UserError(`cannot set the time of ${path}: ${errnoText(code)}`);
}

/** The layers below the writable one, top first, UTF-8. */
export const lowersOf = ({ directory, layers }: RootfsPlace): string[] => [
  `${directory}/init`,
  ...layers.map(utf8),
];

interface MountChoice {
  /** Nothing is synced, and no later mount trusts the writable layer: for what goes with its end. */
  readonly volatile?: boolean;
  /** Without the writable layer: what the image and the placeholders are. */
  readonly readOnly?: boolean;
}

/** Mounts the union at `directory`/merged, unless it is; returns where. Rejects with one sentence. */
export async function mountRootfs(rootfs: RootfsPlace, choice: MountChoice = {}): Promise<string> {
  const { directory } = rootfs;
  const mountpoint = `${directory}/merged`;
  const unions = new Unions(log);
  if (deviceAt(toLatin1(mountpoint)) !== undefined) {
    if (await unions.isLive(mountpoint)) return mountpoint;
    // Its host has died.
    await unions.end(mountpoint);
  }
  const { userxattr } = layerFormat();
  await mountOnly({
    lower: lowersOf(rootfs),
    upper: `${directory}/upper`,
    work: `${directory}/work`,
    mountpoint,
    ...(choice.volatile ? { durability: 'volatile' as const } : {}),
    ...(choice.readOnly ? { readOnly: true } : {}),
    options: userxattr ? ['userxattr'] : [],
  });
  return mountpoint;
}

/** Unmounts it; what is still in use is detached. Never rejects. */
export const unmountRootfs = ({ directory }: Pick<RootfsPlace, 'directory'>): Promise<void> =>
  new Unions(log).end(`${directory}/merged`);

/** True while something is mounted there. */
export const isRootfsMounted = ({ directory }: Pick<RootfsPlace, 'directory'>): boolean =>
  deviceAt(toLatin1(`${directory}/merged`)) !== undefined;

/** The boot that this is: what was running in another one is not. */
export const bootId = (): string =>
  readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
