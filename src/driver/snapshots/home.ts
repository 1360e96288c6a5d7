/**
 * Where a snapshotter keeps its things:
 *
 *     version               the format of all the rest
 *     lock                  flock(2), held as long as a snapshotter works here
 *     state/ID.json         one manifest per snapshot: it decides whether the snapshot exists
 *     snapshots/ID/fs       the upper of an active snapshot, the layer that a committed one is
 *     snapshots/ID/work     its workdir
 *     snapshots/ID/merged   where the union is mounted
 *     empty/                the layer below what has no parent, where a union needs one
 *     trash/                what has been removed and is being deleted
 *
 * Paths are JavaScript strings: they go to clients, and protobuf's strings are UTF-8.
 */
import { chmodSync, mkdirSync } from 'node:fs';
import { toLatin1 } from '../../base/bytes.js';
import { UserError } from '../../base/errno.js';
import {
  makeDirectory,
  names,
  publishFile,
  readText,
  syncDirectory,
} from '../../store/state/files.js';
import { type Lock, tryLock } from '../../store/state/lock.js';

const VERSION_TEXT = 'stratafs snapshots 1\n';
const PARTS = ['fs', 'work', 'merged'] as const;
type Part = (typeof PARTS)[number];

export class Home {
  readonly root: string;

  constructor(root: string) {
    this.root = root;
  }

  get state(): string {
    return `${this.root}/state`;
  }

  get trash(): string {
    return `${this.root}/trash`;
  }

  get empty(): string {
    return `${this.root}/empty`;
  }

  get snapshots(): string {
    return `${this.root}/snapshots`;
  }

  directory(id: number): string {
    return `${this.snapshots}/${id}`;
  }

  part(id: number, part: Part): string {
    return `${this.directory(id)}/${part}`;
  }

  /** Which part of which snapshot `path` is; undefined for anything else. */
  find(path: string): { readonly id: number; readonly part: Part } | undefined {
    if (!path.startsWith(`${this.snapshots}/`)) return undefined;
    const [id, name, ...more] = path.slice(this.snapshots.length + 1).split('/');
    const part = PARTS.find((each) => each === name);
    return part && more.length === 0 && /^[1-9]\d*$/.test(id)
      ? { id: Number(id), part }
      : undefined;
  }

  /** Makes the directories of a new snapshot. */
  make(id: number): void {
    makeDirectory(toLatin1(this.directory(id)));
    for (const part of PARTS) {
      mkdirSync(this.part(id, part));
      // Not by mkdir's mode, which the umask cuts.
      chmodSync(this.part(id, part), 0o755);
    }
  }

  /** Makes the names of a snapshot's directories durable. */
  sync(id: number): void {
    syncDirectory(toLatin1(this.directory(id)));
    syncDirectory(toLatin1(this.snapshots));
  }
}

/** What a path may not have: it is part of option lists and of mount sources, here and in clients. */
const UNUSABLE = /[\\,:"\s]|[^\x20-\x7e]/;

function checkRoot(root: string): void {
  if (!root.startsWith('/')) throw new UserError(`--root must be an absolute path, not '${root}'`);
  if (UNUSABLE.test(root)) {
    throw new UserError(
      `--root ${root}: use a path of plain characters without blank, comma, colon, quote and backslash`,
    );
  }
}

/**
 * Opens a snapshotter's directory, making it where there is none, and locks it. Throws UserError when
 * another snapshotter works there, or when it is something else.
 */
export function openHome(path: string): { readonly home: Home; readonly lock: Lock } {
  checkRoot(path);
  const home = new Home(path.replace(/(?<=.)\/+$/, ''));
  const root = toLatin1(home.root);
  makeDirectory(root);
  const version = readText(`${root}/version`);
  if (version !== undefined && version !== VERSION_TEXT) {
    throw new UserError(`${path} has snapshots of another version of stratafs: use that version`);
  }
  const directories = ['state', 'snapshots', 'empty', 'trash'];
  const known = [...directories, 'lock', 'lost+found'];
  const foreign = names(root).find((name) => !known.includes(name));
  if (version === undefined && foreign !== undefined) {
    throw new UserError(
      `${path} is not empty (${foreign}) and has no snapshots: give an empty directory`,
    );
  }
  const lock = tryLock(`${root}/lock`);
  if (!lock) {
    throw new UserError(`another snapshotter works in ${path}: end it, or use another --root`);
  }
  for (const directory of directories) makeDirectory(`${root}/${directory}`);
  // Last: what comes before may be half there after a crash, and is made again.
  if (version === undefined) publishFile(`${root}/version`, VERSION_TEXT, { sync: true });
  return { home, lock };
}
