/** What the file system of a directory can do as that of an upper and its workdir. */
import {
  constants,
  copyFileSync,
  mkdtempSync,
  rmSync,
  statfsSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { errnoName } from '../../base/errno.js';
import * as sys from '../../sys/constants.js';
import { loadNative, type Native } from '../../sys/native.js';
import { mountTable, statDevice } from '../../sys/mountTable.js';
import { errnoOf } from '../../sys/paths.js';
import { SCRATCH } from '../../sys/memory.js';
import { check, type Check, ok } from './check.js';

const S_IFCHR = 0o020000;
/** MAX_HANDLE_SZ. */
const HANDLE_MOST = 128;
const LEAST_FREE = 2 ** 30;

interface Bench {
  readonly native: Native;
  readonly dir: string;
  readonly fd: number;
}

type Probe = readonly [what: string, means: string, works: (at: Bench) => boolean];

function made(at: Bench, name: string): string {
  const path = join(at.dir, name);
  writeFileSync(path, 'x');
  return path;
}

function xattr({ native, fd }: Bench, key: string): boolean {
  const text = Buffer.from('y');
  Buffer.from(native.memory).set(text, SCRATCH);
  return native.setxattr(fd, '.', key, SCRATCH, 1, 0) >= 0;
}

function rename(at: Bench, flags: number): boolean {
  made(at, 'a');
  made(at, 'b');
  const to = flags === sys.RENAME_EXCHANGE ? 'b' : 'c';
  const done = at.native.renameat2(at.fd, 'a', at.fd, to, flags) === 0;
  for (const name of ['a', 'b', 'c']) rmSync(join(at.dir, name), { force: true });
  return done;
}

function reflink(at: Bench): boolean {
  try {
    copyFileSync(made(at, 'from'), join(at.dir, 'to'), constants.COPYFILE_FICLONE_FORCE);
    return true;
  } catch {
    return false;
  }
}

function handles({ native, fd }: Bench): boolean {
  new Uint32Array(native.memory)[SCRATCH / 4] = HANDLE_MOST;
  return native.nameToHandleAt(fd, '.', SCRATCH, 0) >= 0;
}

const PROBES: readonly Probe[] = [
  [
    'RENAME_NOREPLACE',
    'names are checked before they are replaced',
    (at) => rename(at, sys.RENAME_NOREPLACE),
  ],
  [
    'RENAME_EXCHANGE',
    'a whiteout is replaced in two steps',
    (at) => rename(at, sys.RENAME_EXCHANGE),
  ],
  [
    'whiteout devices',
    'whiteouts are xattrs or .wh. files',
    (at) => at.native.mknodat(at.fd, 'w', S_IFCHR, 0, 0) === 0,
  ],
  [
    'trusted xattrs',
    'marks are in user.overlay.*, without redirects and metadata-only copies',
    (at) => xattr(at, 'trusted.overlay.probe'),
  ],
  [
    'user xattrs',
    'an ordinary user cannot mark directories as opaque',
    (at) => xattr(at, 'user.overlay.probe'),
  ],
  ['file handles', 'hard links of lowers are separated by a change (index=off)', handles],
  ['reflinks', 'a copy-up copies the data', reflink],
];

function probeAll(dir: string): [there: string[], missing: (readonly [string, string])[]] {
  const native = loadNative();
  const fd = native.openat2(sys.AT_FDCWD, dir, sys.O_RDONLY | sys.O_DIRECTORY, 0, 0);
  const at = { native, dir, fd };
  const there: string[] = [];
  const missing: (readonly [string, string])[] = [];
  for (const [what, means, works] of PROBES) {
    if (works(at)) there.push(what);
    else missing.push([what, means]);
  }
  native.close(fd);
  return [there, missing];
}

function typeOf(directory: string): string {
  const { dev } = statSync(directory);
  const row = mountTable().find(({ device }) => statDevice(device) === String(dev));
  return row?.type ?? 'unknown';
}

function room(directory: string): Check {
  const { bavail, bsize, ffree } = statfsSync(directory);
  const free = bavail * bsize;
  const found = `${(free / 2 ** 30).toFixed(1)} GiB and ${ffree} inodes free in ${directory}`;
  if (free >= LEAST_FREE) return ok('space', found);
  return check('space', 'warn', found, 'copy-ups and images need room', 'free some');
}

/** Makes and removes a directory below `directory` for that. */
export function upper(directory: string): Check[] {
  let dir: string;
  try {
    dir = mkdtempSync(join(directory, '.stratafs-doctor-'));
  } catch (error) {
    const found = `${directory}: ${errnoName(errnoOf(error))}`;
    return [
      check('upper', 'fail', found, 'nothing can be written there', 'name a directory with --dir'),
    ];
  }
  try {
    const [there, missing] = probeAll(dir);
    const found = `${typeOf(dir)} in ${directory} has ${there.join(', ')}`;
    return [
      ok('upper', found),
      ...missing.map(([what, means]) =>
        check('upper-lacks', 'note', `no ${what} in ${directory}`, means),
      ),
      room(directory),
    ];
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}
