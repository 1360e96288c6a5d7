/**
 * Copies between a container and this machine, with cp(1) and tar(1). A path in the container is opened with
 * the container's root as "/" first, and its processes are frozen meanwhile: none of them can put a link
 * where we are about to write.
 */
import { spawn, type StdioOptions } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, fstatSync, openSync, statSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { E, errnoText, UserError } from '../../base/errno.js';
import { O_DIRECTORY, O_NOFOLLOW, O_PATH } from '../../sys/constants.js';
import { rootlessUser } from '../state/place.js';
import type { Store } from '../state/store.js';
import { volumePath } from '../volumes/records.js';
import { openInside } from './inside.js';
import { runtimeOf, settle, withContainer } from './lifecycle.js';
import { type ContainerManifest, rootfsOf } from './records.js';
import { isRootfsMounted, mountRootfs, unmountRootfs } from './rootfs.js';
import { runtime } from './runtime.js';
import { isRunning } from './state.js';

interface CopyOptions {
  /** Owners are kept. */
  readonly archive: boolean;
  /** The source's own link is followed. */
  readonly follow: boolean;
}

/** Where a path of the container is looked up: its root, or the volume it lies in. */
interface Place {
  readonly root: string;
  readonly path: string;
}

/** A container that does not run has no volumes mounted: they are looked into where they lie. */
function placeIn(store: Store, container: ContainerManifest, root: string, path: string): Place {
  const full = `/${path.split('/').filter(Boolean).join('/')}`;
  const holder = container.mounts
    .filter(({ Type, Destination }) => {
      return Type !== 'tmpfs' && (full === Destination || full.startsWith(`${Destination}/`));
    })
    .sort((a, b) => b.Destination.length - a.Destination.length)
    .at(0);
  if (!holder) return { root, path };
  const rest = full.slice(holder.Destination.length);
  const source = holder.Name === undefined ? holder.Source : volumePath(store, holder.Name);
  if (statSync(source).isDirectory()) return { root: source, path: rest + slashAtEnd(path) };
  return { root: dirname(source), path: basename(source) };
}

/** `/` or `/.`, which mean something to a copy. */
const slashAtEnd = (path: string): string => /(\/\.?)$/.exec(path)?.[1] ?? '';

async function withRoot<T>(
  store: Store,
  container: ContainerManifest,
  path: string,
  act: (place: Place) => Promise<T>,
): Promise<T> {
  return withContainer(store, container.id, async () => {
    const state = await settle(store, container);
    if (!isRunning(state)) {
      const rootfs = rootfsOf(store, container);
      const mounted = isRootfsMounted(rootfs);
      const root = await mountRootfs(rootfs);
      try {
        return await act(placeIn(store, container, root, path));
      } finally {
        if (!mounted) await unmountRootfs(rootfs);
      }
    }
    // An ordinary user's containers have no cgroup that could be frozen.
    const freeze = state.status === 'running' && rootlessUser() === undefined;
    const program = runtimeOf(container);
    if (freeze) await runtime(store, program, ['pause', container.id]);
    try {
      return await act({ root: `/proc/${state.pid}/root`, path });
    } finally {
      if (freeze) await runtime(store, program, ['resume', container.id]);
    }
  });
}

const inChild = (at: number): string => `/proc/self/fd/${at}`;

async function run(program: string, args: readonly string[], fds: StdioOptions): Promise<void> {
  const child = spawn(program, args, { stdio: fds });
  let said = '';
  child.stderr?.on('data', (part: Buffer) => (said += part.toString('utf8')));
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) {
    throw new UserError(
      `${program}: ${
        said
          .trim()
          .split('\n')[0]
          ?.replace(/^\w+: /, '') ?? ''
      }`,
    );
  }
}

const flagsOf = ({ archive }: CopyOptions): string[] =>
  archive ? ['--archive'] : ['--recursive', '--no-dereference', '--preserve=mode,timestamps'];

/** Opens a directory of the container, or throws a sentence that names the path. */
function openDirectory({ root }: Place, path: string, shown: string): number {
  const fd = openInside(root, path === '' ? '.' : path, O_PATH | O_DIRECTORY);
  if (fd >= 0) return fd;
  if (fd === -E.ENOENT) throw new UserError(`Could not find the file ${shown} in the container`);
  throw new UserError(`cannot open ${shown} in the container: ${errnoText(fd)}`);
}

/** The directory that a path lies in and the name in it; '.' for the root, or for all of a directory. */
function split(path: string): { parent: string; name: string } {
  const bare = path.replace(/\/+$/, '');
  if (bare === '' || bare === '.') return { parent: '', name: '.' };
  const at = bare.lastIndexOf('/');
  const name = bare.slice(at + 1);
  if (name === '..') return { parent: bare, name: '.' };
  return { parent: at < 0 ? '' : bare.slice(0, at), name };
}

type Kind = 'dir' | 'other' | undefined;

function kindAt({ root }: Place, path: string, follow: boolean): Kind {
  const fd = openInside(root, path === '' ? '.' : path, O_PATH | (follow ? 0 : O_NOFOLLOW));
  if (fd === -E.ENOENT || fd === -E.ENOTDIR) return undefined;
  if (fd < 0) throw new UserError(`cannot open ${path} in the container: ${errnoText(fd)}`);
  try {
    return fstatSync(fd).isDirectory() ? 'dir' : 'other';
  } finally {
    closeSync(fd);
  }
}

const localKind = (path: string): Kind => {
  const found = statSync(path, { throwIfNoEntry: false });
  return found && (found.isDirectory() ? 'dir' : 'other');
};

/** What the copy is called: docker cp's rules for an existing or missing destination. Throws UserError. */
function targetName(
  source: { kind: Kind; path: string; name: string },
  to: string,
  kind: Kind,
): string {
  const all = /(^|\/)\.$/.test(source.path);
  if (kind === 'dir') return source.kind === 'dir' && all ? '' : source.name;
  if (kind === 'other' && source.kind === 'dir') {
    throw new UserError(`cannot copy a directory to the file ${to}`);
  }
  if (source.kind !== 'dir' && to.endsWith('/')) {
    throw new UserError(`the destination directory ${to} does not exist`);
  }
  return '';
}

/** `CONTAINER:PATH` to a path of this machine, or `-`: a tar on standard output. */
export async function copyFrom(
  store: Store,
  container: ContainerManifest,
  path: string,
  to: string,
  options: CopyOptions,
): Promise<void> {
  await withRoot(store, container, path, async (place) => {
    const kind = kindAt(place, place.path, options.follow);
    if (kind === undefined) {
      throw new UserError(`Could not find the file ${path} in container ${container.name}`);
    }
    const { parent, name } = split(place.path.replace(/\/\.$/, ''));
    const directory = openDirectory(place, parent, path);
    try {
      if (to === '-') {
        const member = name === '.' ? '.' : `./${name}`;
        const follow = options.follow ? ['--dereference'] : [];
        const args = [
          '--create',
          '--numeric-owner',
          '--xattrs',
          ...follow,
          '-C',
          inChild(3),
          member,
        ];
        await run('tar', args, ['ignore', 'inherit', 'pipe', directory]);
        return;
      }
      const own = name === '.' ? basename(path.replace(/\/\.?$/, '')) || 'root' : name;
      const inner = targetName({ kind, path, name: own }, to, localKind(to));
      const target = inner === '' ? to : `${to}/${inner}`;
      const follow = options.follow ? ['-H'] : [];
      const args = [...flagsOf(options), ...follow, '-T', '--', `${inChild(3)}/${name}`, target];
      await run('cp', args, ['ignore', 'inherit', 'pipe', directory]);
    } finally {
      closeSync(directory);
    }
  });
}

/** A path of this machine, or `-` for a tar on standard input, to `CONTAINER:PATH`. */
export async function copyTo(
  store: Store,
  container: ContainerManifest,
  from: string,
  path: string,
  options: CopyOptions,
): Promise<void> {
  const kind = from === '-' ? 'dir' : localKind(from);
  if (kind === undefined) throw new UserError(`no such file or directory: ${from}`);
  await withRoot(store, container, path, async (place) => {
    const there = kindAt(place, place.path, true);
    if (from === '-') {
      if (there !== 'dir') throw new UserError(`the destination ${path} must be a directory`);
      await unpackInto(openDirectory(place, place.path, path), options);
      return;
    }
    const source = { kind, path: from, name: basename(from) };
    const inner = targetName(source, path, there);
    const { parent, name } =
      there === 'dir' ? { parent: place.path, name: '.' } : split(place.path);
    const directory = openDirectory(place, parent, path);
    const local = openSync(dirname(from) || '.', O_PATH | O_DIRECTORY);
    try {
      const base = /(^|\/)\.$/.test(from) ? '.' : basename(from);
      const target = `${inChild(4)}/${name === '.' ? inner : name}`;
      const follow = options.follow ? ['-H'] : [];
      const args = [...flagsOf(options), ...follow, '-T', '--', `${inChild(3)}/${base}`, target];
      await run('cp', args, ['ignore', 'inherit', 'pipe', local, directory]);
    } finally {
      closeSync(local);
      closeSync(directory);
    }
  });
}

async function unpackInto(directory: number, { archive }: CopyOptions): Promise<void> {
  try {
    const owner = archive ? ['--same-owner', '--numeric-owner'] : ['--no-same-owner'];
    const args = ['--extract', '--same-permissions', ...owner, '-C', inChild(3)];
    await run('tar', args, ['inherit', 'inherit', 'pipe', directory]);
  } finally {
    closeSync(directory);
  }
}
