/**
 * A peer for the bench: a small read-write union on the npm package fuse-native (libfuse 2, one
 * call into JavaScript per operation, objects named by path). It does what such a binding lets
 * one do: lookup through the layers, whiteouts, copy-up. It has no xattrs, no hard-link identity,
 * no device nodes and no nanoseconds, for the binding or Node has none.
 *
 *   node fuseNativeUnion.js -o lowerdir=A:B,upperdir=U,workdir=W MOUNTPOINT   (stays in the foreground)
 */
import Fuse, { type Done, type Operations } from 'fuse-native';
import {
  chmodSync,
  closeSync,
  constants,
  fdatasyncSync,
  fsyncSync,
  ftruncateSync,
  lchownSync,
  linkSync,
  lutimesSync,
  mkdirSync,
  openSync,
  readlinkSync,
  readSync,
  renameSync,
  statfsSync,
  symlinkSync,
  truncateSync,
  writeSync,
} from 'node:fs';
import { constants as os } from 'node:os';
import { Failure, Layers } from './layers.js';

const WRITING = constants.O_WRONLY | constants.O_RDWR | constants.O_TRUNC;
/** The kernel has resolved these already, or gives the offset itself. */
const NOT_FORWARDED = constants.O_CREAT | constants.O_EXCL | constants.O_APPEND;

/** Runs one operation: its value, or the errno of what it threw. */
function answer<T>(done: Done<T>, work: () => T): void {
  let value: T;
  try {
    value = work();
  } catch (error) {
    done(-errnoOf(error));
    return;
  }
  done(0, value);
}

/** The same for an operation without a value. */
function act(done: Done, work: () => void): void {
  answer(done as Done<void>, work);
}

/** The same for read and write, whose result is a count. */
function count(done: Done, work: () => number): void {
  let bytes: number;
  try {
    bytes = work();
  } catch (error) {
    bytes = -errnoOf(error);
  }
  done(bytes);
}

function errnoOf(error: unknown): number {
  if (error instanceof Failure) return error.errno;
  const errno = (error as NodeJS.ErrnoException).errno;
  return errno === undefined ? os.errno.EIO : -errno;
}

function reading(layers: Layers, root: string): Pick<Operations, ReadingNames> {
  return {
    getattr: (path, done) => answer(done, () => layers.find(path).stats),
    fgetattr: (path, _fd, done) => answer(done, () => layers.find(path).stats),
    statfs: (_path, done) =>
      answer(done, () => {
        const s = statfsSync(root);
        const { bsize, blocks, bfree, bavail, files, ffree } = s;
        const frsize = bsize;
        return { bsize, frsize, blocks, bfree, bavail, files, ffree, favail: ffree, namemax: 255 };
      }),
    readdir: (path, done) => answer(done, () => ['.', '..', ...layers.names(path)]),
    readlink: (path, done) => answer(done, () => readlinkSync(layers.find(path).real)),
    read: (_path, fd, buffer, size, at, done) =>
      count(done, () => readSync(fd, buffer, 0, size, at)),
    release: (_path, fd, done) =>
      act(done, () => {
        closeSync(fd);
      }),
    fsync: (_path, dataOnly, fd, done) =>
      act(done, () => {
        if (dataOnly) fdatasyncSync(fd);
        else fsyncSync(fd);
      }),
  };
}

type ReadingNames =
  | 'getattr'
  | 'fgetattr'
  | 'statfs'
  | 'readdir'
  | 'readlink'
  | 'read'
  | 'release'
  | 'fsync';

function changing(layers: Layers): Omit<Operations, ReadingNames | NamingNames> {
  return {
    open: (path, flags, done) =>
      answer(done, () => {
        const writing = (flags & WRITING) !== 0;
        const real = writing
          ? layers.copyUp(path, (flags & constants.O_TRUNC) === 0)
          : layers.find(path).real;
        return openSync(real, flags & ~NOT_FORWARDED);
      }),
    write: (_path, fd, buffer, size, at, done) =>
      count(done, () => writeSync(fd, buffer, 0, size, at)),
    truncate: (path, size, done) =>
      act(done, () => {
        truncateSync(layers.copyUp(path, size > 0), size);
      }),
    ftruncate: (_path, fd, size, done) =>
      act(done, () => {
        ftruncateSync(fd, size);
      }),
    utimens: (path, atime, mtime, done) =>
      act(done, () => {
        lutimesSync(layers.copyUp(path), atime / 1000, mtime / 1000);
      }),
    chmod: (path, mode, done) =>
      act(done, () => {
        chmodSync(layers.copyUp(path), mode & 0o7777);
      }),
    chown: (path, uid, gid, done) =>
      act(done, () => {
        lchownSync(layers.copyUp(path), uid, gid);
      }),
  };
}

type NamingNames = 'create' | 'mkdir' | 'rmdir' | 'unlink' | 'rename' | 'link' | 'symlink';

function naming(layers: Layers): Pick<Operations, NamingNames> {
  return {
    create: (path, mode, done) =>
      answer(done, () => {
        const flags = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL;
        return openSync(layers.claim(path).target, flags, mode & 0o7777);
      }),
    mkdir: (path, mode, done) =>
      act(done, () => {
        const { target, overWhiteout } = layers.claim(path);
        mkdirSync(target, mode & 0o7777);
        if (overWhiteout) layers.makeOpaque(path);
      }),
    rmdir: (path, done) =>
      act(done, () => {
        if (layers.names(path).length > 0) throw new Failure('ENOTEMPTY');
        layers.remove(path);
      }),
    unlink: (path, done) =>
      act(done, () => {
        layers.remove(path);
      }),
    rename: (from, to, done) =>
      act(done, () => {
        rename(layers, from, to);
      }),
    link: (from, to, done) =>
      act(done, () => {
        linkSync(layers.copyUp(from), layers.claim(to).target);
      }),
    symlink: (target, path, done) =>
      act(done, () => {
        symlinkSync(target, layers.claim(path).target);
      }),
  };
}

function rename(layers: Layers, from: string, to: string): void {
  const isDirectory = layers.find(from).stats.isDirectory();
  if (isDirectory && (layers.inLower(from) || layers.inLower(to))) throw new Failure('EXDEV');
  const source = layers.copyUp(from);
  if (layers.has(to) && layers.find(to).stats.isDirectory() && layers.names(to).length > 0) {
    throw new Failure('ENOTEMPTY');
  }
  renameSync(source, layers.claim(to).target);
  layers.hide(from);
}

function parse(argv: readonly string[]): { options: Map<string, string>; mountpoint: string } {
  const [flag, list = '', mountpoint = ''] = argv;
  if (flag !== '-o' || list === '' || mountpoint === '') {
    throw new Error('usage: fuseNativeUnion -o lowerdir=A:B,upperdir=U,workdir=W MOUNTPOINT');
  }
  const options = new Map<string, string>();
  for (const option of list.split(',')) {
    const [key = '', ...value] = option.split('=');
    options.set(key, value.join('='));
  }
  return { options, mountpoint };
}

function main(): void {
  const { options, mountpoint } = parse(process.argv.slice(2));
  const lowers = options.get('lowerdir')?.split(':');
  const upper = options.get('upperdir');
  const work = options.get('workdir');
  if (!lowers || upper === undefined || work === undefined) {
    throw new Error('lowerdir, upperdir and workdir are all needed');
  }
  process.umask(0);
  const layers = new Layers(lowers, upper, work);
  const operations = { ...reading(layers, upper), ...changing(layers), ...naming(layers) };
  const fuse = new Fuse(mountpoint, operations, {
    // The package knows no names for these libfuse options; without them it writes 4 KiB at a
    // time and asks for every missing name again. (Not use_ino: a copy-up would change st_ino.)
    fsname: 'fuse-native-union,big_writes,negative_timeout=3600',
    defaultPermissions: true,
    kernelCache: true,
    entryTimeout: 3600,
    attrTimeout: 3600,
    timeout: false,
  });
  process.on('SIGTERM', () => process.exit(0));
  fuse.mount((error) => {
    if (!error) return;
    process.stderr.write(`fuse-native cannot mount on ${mountpoint}: ${error.message}\n`);
    process.exit(1);
  });
}

main();
