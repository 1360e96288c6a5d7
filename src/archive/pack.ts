/**
 * Packs a tree, the changes of an upper, or a union into an archive. The same source gives the same archive.
 */
import { readSync } from 'node:fs';
import { setImmediate as turn } from 'node:timers/promises';
import { E, errnoText, UserError } from '../base/errno.js';
import { S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG } from '../base/mode.js';
import { vanished } from '../layer/absence.js';
import { mayBeNested, showNested } from '../layer/whiteout.js';
import { CAPABILITY } from '../layer/xattrs.js';
import { O_NOFOLLOW, O_NONBLOCK, O_RDONLY, RESOLVE_LAYER } from '../sys/constants.js';
import type { Stat } from '../sys/stat.js';
import { DENTS, DENTS_SIZE, Sys } from '../sys/sys.js';
import { Changes } from './changes.js';
import { LaneMeter, Meter } from './digest.js';
import { GzipWriter } from './gzip.js';
import { extentsIn } from './holes.js';
import { IdMapper } from './ids.js';
import { shown } from './limits.js';
import { readXattrs, type Xattrs } from './objects.js';
import { Stack } from './stack.js';
import type { Entry, EntryType, Packed, PackOptions, PackSource, Sink, Style } from './types.js';
import { type Item, walkTree, walkUnion } from './walk.js';
import { Warnings } from './warnings.js';
import { TarWriter } from './writer.js';

/** Work between two turns of the event loop. */
const TURN_MS = 8;

/**
 * Writes the archive of `source` to `sink`, piece by piece. Throws a UserError for what cannot be read
 * or written; an error of the sink or an abort is passed on.
 */
export async function packLayer(
  source: PackSource,
  sink: Sink,
  options: PackOptions = {},
  sys = new Sys(),
): Promise<Packed> {
  const stack = stackOf(sys, source);
  const out = new Output(sink, options);
  const packer = new Packer(sys, source.kind === 'tree' ? '' : stack.prefix, options, out);
  try {
    for (const item of itemsOf(source, stack)) await packer.add(item);
    return await packer.finish();
  } catch (error) {
    await out.abandon();
    throw error;
  } finally {
    stack.close();
  }
}

/**
 * The same of objects that the caller lists, in the order of the archive: a directory before what is in it,
 * names sorted. `prefix`: of the marks of layers, which are left out.
 */
export async function packItems(
  items: (sys: Sys) => Iterable<Item>,
  prefix: string,
  sink: Sink,
  options: PackOptions = {},
): Promise<Packed> {
  const sys = new Sys();
  const out = new Output(sink, options);
  const packer = new Packer(sys, prefix, options, out);
  try {
    for (const item of items(sys)) await packer.add(item);
    return await packer.finish();
  } catch (error) {
    await out.abandon();
    throw error;
  }
}

function stackOf(sys: Sys, source: PackSource): Stack {
  if (source.kind === 'tree') return new Stack(sys, [source.root], [], false);
  const layers = source.kind === 'union' ? source.layers : [source.upper, ...(source.lowers ?? [])];
  return new Stack(sys, layers, source.dataLayers ?? [], source.userxattr === true);
}

function* itemsOf(source: PackSource, stack: Stack): Generator<Item, void> {
  if (source.kind === 'changes') {
    yield* new Changes(stack, source.lowers === undefined).all();
    return;
  }
  const [root] = stack.roots;
  const item = { kind: 'object', path: '', name: '.', data: undefined } as const;
  yield { ...item, dir: root.fd, layer: root.layer };
  if (source.kind === 'tree') yield* walkTree(stack, root, '');
  else yield* walkUnion(stack, stack.roots, '');
}

/** Measures, compresses and hands on. */
class Output {
  readonly tar = new LaneMeter();
  readonly blob = new Meter();
  readonly #gzip: GzipWriter | undefined;
  readonly #sink: Sink;
  readonly #signal: AbortSignal | undefined;

  constructor(sink: Sink, { compression, level, signal }: PackOptions) {
    this.#sink = sink;
    this.#signal = signal;
    if (compression !== 'gzip') return;
    this.#gzip = new GzipWriter(async (bytes) => {
      this.blob.add(bytes);
      await sink(bytes);
    }, level ?? 6);
  }

  async write(bytes: Buffer): Promise<void> {
    this.#signal?.throwIfAborted();
    const room = this.tar.add(bytes);
    if (room) await room;
    if (this.#gzip) await this.#gzip.write(bytes);
    else await this.#sink(bytes);
  }

  async end(): Promise<Pick<Packed, 'diffId' | 'size' | 'digest' | 'compressedSize'>> {
    await this.#gzip?.end();
    const [diffId, { size }] = [await this.tar.digest(), this.tar];
    if (!this.#gzip) return { diffId, size, digest: diffId, compressedSize: size };
    return { diffId, size, digest: this.blob.digest(), compressedSize: this.blob.size };
  }

  async abandon(): Promise<void> {
    await this.tar.abandon();
    await this.#gzip?.abandon();
  }
}

interface StyleRules {
  readonly wants: (key: string) => boolean;
  /** The mode has the type in it, as before Go 1.9. */
  readonly typeBits: boolean;
  /** Whiteouts have owner and time of the devices they are on disk, and this mode. */
  readonly devices: boolean;
  readonly whiteoutMode: number;
}

const dockers = (key: string): boolean => key === CAPABILITY || key.startsWith('user.');
const STYLES: Readonly<Record<Style, StyleRules>> = {
  full: { wants: () => true, typeBits: false, devices: false, whiteoutMode: 0 },
  docker: { wants: dockers, typeBits: false, devices: true, whiteoutMode: 0o600 },
  containers: { wants: dockers, typeBits: true, devices: true, whiteoutMode: 0 },
  containerd: {
    wants: (key) => key === CAPABILITY,
    typeBits: false,
    devices: false,
    whiteoutMode: 0,
  },
};

const TYPES = new Map<number, EntryType>([
  [S_IFREG, 'file'],
  [S_IFDIR, 'dir'],
  [S_IFLNK, 'symlink'],
  [S_IFCHR, 'char'],
  [S_IFBLK, 'block'],
  [S_IFIFO, 'fifo'],
]);

const NO_XATTRS: Xattrs = new Map();
const OPAQUE = '.wh..wh..opq';

class Packer {
  readonly #sys: Sys;
  /** Of the object being written. */
  readonly #stat: Stat;
  readonly #prefix: string;
  readonly #style: Style;
  readonly #rules: StyleRules;
  readonly #sparse: boolean;
  readonly #epoch: number;
  readonly #ids: IdMapper;
  readonly #wants: (key: string) => boolean;
  readonly #out: Output;
  readonly #writer = new TarWriter();
  readonly #warnings = new Warnings();
  /** The name of a file with several, by its device and inode number. */
  readonly #names = new Map<string, string>();
  #entries = 0;
  #since = performance.now();

  constructor(sys: Sys, prefix: string, options: PackOptions, out: Output) {
    this.#sys = sys;
    this.#stat = sys.stats.source;
    this.#prefix = prefix;
    this.#out = out;
    this.#style = options.style ?? 'full';
    this.#sparse = options.sparse === true;
    this.#epoch = options.sourceDateEpoch ?? Infinity;
    this.#ids = new IdMapper(options.ids, false);
    this.#rules = STYLES[this.#style];
    const { wants } = this.#rules;
    const { xattrs } = options;
    this.#wants = xattrs ? (key) => wants(key) && xattrs(key) : wants;
  }

  async add(item: Item): Promise<void> {
    if (item.kind === 'object') await this.#object(item);
    else this.#mark(item);
    if (this.#writer.ready.length > 0) await this.#drain();
  }

  async finish(): Promise<Packed> {
    this.#writer.end();
    await this.#drain();
    const warnings = this.#warnings.list();
    return { ...(await this.#out.end()), entries: this.#entries, warnings };
  }

  async #drain(): Promise<void> {
    for (const bytes of this.#writer.ready.splice(0)) await this.#out.write(bytes);
    if (performance.now() - this.#since < TURN_MS) return;
    await turn();
    this.#since = performance.now();
  }

  /** Fills `#stat`; false when the object is gone. */
  #look({ dir, name, path }: Item): boolean {
    const code = this.#sys.statName(dir, name, this.#stat);
    if (vanished(code)) return false;
    if (code < 0) throw cannot('read', path, code);
    return true;
  }

  async #object(item: Item): Promise<void> {
    if (item.same) {
      this.#stat.load(item.same.stat);
      const entry = this.#entry(item, 'link', item.path, item.same.first);
      this.#write({ ...entry, xattrs: NO_XATTRS });
      return;
    }
    // Engines' archives have no entry for the root: it is not the layer's to change.
    if (item.path === '' && this.#style !== 'full') return;
    if (!this.#look(item)) return;
    const type = TYPES.get(this.#stat.mode & S_IFMT);
    if (type === undefined) {
      this.#warnings.add('sockets have no place in an archive and were left out', item.path);
      return;
    }
    if (type === 'char' && this.#prefix !== '' && mayBeNested(this.#stat)) {
      const code = showNested(this.#sys, item.dir, item.name, this.#stat);
      if (code < 0) throw cannot('read', item.path, code);
    }
    const name = item.path === '' ? './' : item.path;
    const first = type === 'dir' ? undefined : this.#linked(name);
    if (first === undefined && type === 'file') {
      await this.#file(item, this.#entry(item, type, name, ''));
      return;
    }
    const target = first ?? (type === 'symlink' ? this.#readLink(item) : '');
    this.#write(this.#entry(item, first === undefined ? type : 'link', name, target));
  }

  #write(entry: Entry): void {
    this.#entries++;
    this.#writer.entry(entry, this.#style === 'full');
  }

  /** The first name of the file, when it has been written by another one. */
  #linked(name: string): string | undefined {
    const { nlink, dev, inoHi, inoLo } = this.#stat;
    if (nlink < 2) return undefined;
    const key = `${dev}:${inoHi}:${inoLo}`;
    const first = this.#names.get(key);
    if (first === undefined) this.#names.set(key, name);
    return first;
  }

  #readLink({ dir, name, path }: Item): string {
    const bytes = this.#sys.native.readlinkat(dir, name, DENTS, DENTS_SIZE);
    if (bytes < 0) throw cannot('read', path, bytes);
    return this.#sys.text(DENTS, bytes);
  }

  #entry(item: Item, type: EntryType, name: string, target: string): Entry {
    const stat = this.#stat;
    const device = type === 'char' || type === 'block';
    const { as } = item;
    const time = as?.mtime ?? stat.mtime;
    const late = time >= this.#epoch;
    const whole = late || this.#style !== 'full' || as?.mtime !== undefined;
    const mode = type === 'symlink' ? undefined : as?.mode;
    return {
      type,
      name,
      target,
      mode: mode ?? (this.#rules.typeBits ? stat.mode : stat.mode & 0o7777),
      uid: this.#ids.uid(as?.uid ?? stat.uid, name),
      gid: this.#ids.gid(as?.gid ?? stat.gid, name),
      size: type === 'file' ? stat.size : 0,
      mtime: late ? this.#epoch : time,
      mtimeNs: whole ? 0 : stat.mtimeNsec,
      major: device ? stat.rdevMajor : 0,
      minor: device ? stat.rdevMinor : 0,
      xattrs: this.#xattrs(item),
      extents: undefined,
    };
  }

  #xattrs(item: Item): Xattrs {
    const found = readXattrs(this.#sys, item.dir, item.name, this.#prefix, this.#wants);
    if (found.size === 0) return NO_XATTRS;
    return new Map(
      [...found].map(([key, value]) => [key, this.#value(key, value, item.path)] as const),
    );
  }

  #value(key: string, value: string, path: string): string {
    // The namespace of a capability's root ID has no meaning elsewhere (VFS_CAP_REVISION_3 to _2, as moby does).
    if (key === CAPABILITY && this.#style === 'docker' && value.charCodeAt(3) === 3) {
      return `${value.slice(0, 3)}\x02${value.slice(4, 20)}`;
    }
    return this.#ids.xattr(key, value, path);
  }

  async #file(item: Item, entry: Entry): Promise<void> {
    if (entry.size === 0) {
      this.#write(entry);
      return;
    }
    const { dir, name } = item.data ?? item;
    // O_NONBLOCK: should something else be there by now, the open returns.
    const flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK;
    const fd = this.#sys.open(dir, name, flags, 0, RESOLVE_LAYER);
    if (fd < 0) throw cannot('open', item.path, fd);
    try {
      const extents = this.#sparse ? extentsIn(this.#sys, fd, entry.size) : undefined;
      if (typeof extents === 'number') throw cannot('read', item.path, extents);
      this.#write({ ...entry, extents });
      const parts = extents ?? [{ offset: 0, length: entry.size }];
      for (const { offset, length } of parts) await this.#copy(fd, offset, length, item.path);
      this.#writer.pad(parts.reduce((sum, { length }) => sum + length, 0));
    } finally {
      this.#sys.native.close(fd);
    }
  }

  async #copy(fd: number, offset: number, length: number, path: string): Promise<void> {
    for (let done = 0; done < length; ) {
      const { chunk, at, size } = this.#writer.space(length - done);
      const bytes = read(fd, chunk.subarray(at, at + size), offset + done, path);
      if (bytes === 0) {
        throw new UserError(
          `${shown(path)} became shorter while it was read; nothing may write to it meanwhile`,
        );
      }
      this.#writer.advance(bytes);
      done += bytes;
      if (this.#writer.ready.length > 0) await this.#drain();
    }
  }

  /** A deletion is an empty file with no owner and no time, as containerd writes it; Docker keeps the device's. */
  #mark(item: Item): void {
    const { path, kind } = item;
    const none = { type: 'file', target: '', size: 0, mtime: 0, mtimeNs: 0 } as const;
    const plain = { ...none, major: 0, minor: 0, xattrs: NO_XATTRS, extents: undefined };
    const device = this.#rules.devices && this.#look(item);
    if (kind === 'opaque') {
      const name = path === '' ? OPAQUE : `${path}/${OPAQUE}`;
      const { mode, uid, gid } = device
        ? this.#entry(item, 'dir', path, '')
        : { mode: 0, uid: 0, gid: 0 };
      this.#write({ ...plain, name, mode: mode & 0o777, uid, gid });
      return;
    }
    const slash = path.lastIndexOf('/') + 1;
    const name = `${path.slice(0, slash)}.wh.${path.slice(slash)}`;
    if (!device) {
      this.#write({ ...plain, name, mode: 0, uid: 0, gid: 0 });
      return;
    }
    const target = this.#linked(path) ?? '';
    const { uid, gid, mtime } = this.#entry(item, 'char', path, '');
    const mode = this.#rules.whiteoutMode;
    this.#write({ ...plain, name, target, mode, uid, gid, mtime });
  }
}

function read(fd: number, into: Buffer, offset: number, path: string): number {
  try {
    return readSync(fd, into, 0, into.length, offset);
  } catch (error) {
    throw cannot('read', path, (error as NodeJS.ErrnoException).errno ?? -E.EIO);
  }
}

const cannot = (what: string, path: string, code: number): UserError =>
  new UserError(`cannot ${what} ${shown(path)}: ${errnoText(code)}`);
