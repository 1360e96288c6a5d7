/**
 * Every mount option, one row each: its name, its kind, what taking it changes, and what is said of
 * it. The parser, `stratafs --help` and the README's table (a test) go by these rows, so an option is
 * added here; what it changes is a field of `Collected`, and what follows from that is in plan.ts.
 */
import { UserError } from '../base/errno.js';
import type { Collected } from './collected.js';
import * as kind from './kinds.js';
import { absolute, unescape } from './list.js';
import { addDataLayer, addLower, takeLowers } from './lowers.js';
import { MS } from './mountFlags.js';

export type { OptionRow } from './kinds.js';

type Rows = readonly kind.OptionRow[];

const layers: Rows = [
  kind.path('lowerdir', takeLowers, {
    usage: 'lowerdir=A[:B...][::D...]',
    help: 'read-only layers, topmost first; required; D: data-only, reached by redirects',
    docs:
      'read-only layers, topmost first; required; relative paths start at the current directory. ' +
      '`D`: data-only, not merged; an absolute redirect of a metadata-only copy in a lower leads ' +
      'there',
  }),
  kind.path('lowerdir+', addLower, {
    usage: 'lowerdir+=A, datadir+=D',
    help: 'one more layer below those before it, instead of lowerdir',
    docs: 'one more layer below those before it, instead of `lowerdir`; a colon needs no escape',
  }),
  kind.path('datadir+', addDataLayer),
  kind.path(
    'upperdir',
    (into, value, cwd) => {
      into.upper = absolute(unescape(value), cwd);
    },
    {
      usage: 'upperdir=DIR',
      help: 'where changes go; without it the mount is read-only',
    },
  ),
  kind.path(
    'workdir',
    (into, value, cwd) => {
      into.work = absolute(unescape(value), cwd);
    },
    {
      usage: 'workdir=DIR',
      help: 'empty directory on the file system of upperdir; required with it',
      docs: 'empty directory on the file system of `upperdir`; required with it',
    },
  ),
  kind.file('optionsfile', {
    usage: 'optionsfile=FILE',
    help: 'more options from a file: as after -o, also one a line',
    docs:
      'more options from a file (at most 16 MiB): as after `-o`, a newline counting as a comma; ' +
      'relative paths start at the current directory',
  }),
];

const ATIME = MS.NOATIME | MS.RELATIME | MS.STRICTATIME;

const flags: Rows = [
  kind.flag('ro', MS.RDONLY, 0, {
    usage: 'ro, rw',
    help: 'read-only or read-write (default: rw with an upperdir)',
  }),
  kind.flag('rw', 0, MS.RDONLY),
  kind.flag('dev', 0, MS.NODEV, {
    usage: 'dev, nodev',
    help: 'honour device nodes, or not (default: dev for root)',
  }),
  kind.flag('nodev', MS.NODEV, 0),
  kind.flag('suid', 0, MS.NOSUID, {
    usage: 'suid, nosuid',
    help: 'honour set-user-ID bits, or not (default: suid for root)',
  }),
  kind.flag('nosuid', MS.NOSUID, 0),
  kind.flag('exec', 0, MS.NOEXEC, {
    usage: 'exec, noexec',
    help: 'let programs run, or not',
  }),
  kind.flag('noexec', MS.NOEXEC, 0),
  kind.flag('sync', MS.SYNCHRONOUS, 0, {
    usage: 'sync, async, dirsync',
    help: 'every write reaches the upper before it returns',
    docs: 'every write reaches the upper before it returns, or not, as mount(8) has them',
  }),
  kind.flag('async', 0, MS.SYNCHRONOUS),
  kind.flag('dirsync', MS.DIRSYNC, 0),
  kind.flag('atime', 0, MS.NOATIME, {
    usage: '[no]atime, [no]diratime, [no]relatime, strictatime, lazytime',
    help: "accepted and shown; access times are those of the layers' files: FUSE has the kernel update none, so strictatime changes nothing",
  }),
  kind.flag('noatime', MS.NOATIME, ATIME & ~MS.NOATIME),
  kind.flag('diratime', 0, MS.NODIRATIME),
  kind.flag('nodiratime', MS.NODIRATIME, 0),
  kind.flag('relatime', MS.RELATIME, ATIME & ~MS.RELATIME),
  kind.flag('norelatime', 0, MS.RELATIME),
  kind.flag('strictatime', MS.STRICTATIME, ATIME & ~MS.STRICTATIME),
  kind.flag('nostrictatime', 0, MS.STRICTATIME),
  kind.flag('lazytime', MS.LAZYTIME, 0),
  kind.flag('nolazytime', 0, MS.LAZYTIME),
];

const access: Rows = [
  kind.word(
    'allow_other',
    (into) => {
      into.allowOther = true;
    },
    {
      help: 'other users may enter; always so for root, needs user_allow_other in fuse.conf otherwise',
      docs: 'other users may enter; always so for root, needs `user_allow_other` in fuse.conf otherwise',
    },
  ),
  kind.word(
    'remount',
    () => {
      throw new UserError('option remount concerns a live mount: mount it first');
    },
    {
      usage: 'remount,ro|rw',
      help: 'change the flags of a live mount: ro, rw, nosuid, nodev, noexec and the like',
    },
  ),
  kind.ignored('default_permissions', {
    help: 'the kernel checks modes and ACLs; always so',
  }),
];

const data: Rows = [
  kind.word(
    'volatile',
    (into) => {
      into.volatile = true;
    },
    {
      help: 'sync nothing; the workdir is marked and refused by the next mount, as in overlayfs',
    },
  ),
  kind.switched(
    'fsync',
    (into, on) => {
      into.fsync = on;
    },
    { usage: 'fsync=0|1', help: '0: sync nothing, without the mark' },
  ),
  kind.choice(
    'data',
    ['cached', 'passthrough', 'auto'],
    (into, value) => {
      into.data = value;
    },
    {
      usage: 'data=cached|passthrough|auto',
      help: "who moves the data: requests and the page cache (default), the layers' files themselves (root), or these where files are large and only read",
      docs:
        "who moves the data: the mount's page cache, filled by requests (default), the layers' " +
        'files themselves, or these where files are large and only read; [below](#data)',
    },
  ),
  kind.switched(
    'writeback',
    (into, on) => {
      into.writeback = on;
    },
    {
      usage: 'writeback=0|1',
      help: 'collect writes in the kernel (default 1); 0 is faster for reading many small files',
    },
  ),
];

/** An option about what is written into an upper, which `userxattr` excludes. */
function asks(into: Collected, name: string, asked: boolean): void {
  if (asked) into.asked.add(name);
  else into.asked.delete(name);
}

/** `on` and `require` promise that data are what a digest says: rather no mount than one that does not look. */
function refuseVerity(_into: Collected, value: string): void {
  if (value === 'off') return;
  throw new UserError(
    `option verity=${value} needs fs-verity digests to be checked, which stratafs does not do: leave it out, or mount with kernel overlayfs`,
  );
}

function refuseExport(_into: Collected, value: string): void {
  if (value === 'off') return;
  throw new UserError(
    'option nfs_export=on needs file handles that outlive the mount, which a FUSE mount does not give: leave it out',
  );
}

/** `auto` and `null` promise none. */
function refuseUuid(_into: Collected, value: string): void {
  if (value === 'auto' || value === 'null') return;
  throw new UserError(
    `option uuid=${value} needs a file system UUID, which a FUSE mount does not have: leave it out`,
  );
}

const format: Rows = [
  kind.choice(
    'format',
    ['plain', 'overlay'],
    (into, value) => {
      into.format = value;
    },
    {
      usage: 'format=plain|overlay',
      help: 'plain: the upper holds whole files and directories, for readers that know no marks (default in a store of podman, buildah or Docker)',
      docs:
        'what an upper may hold. overlay (default): all marks of kernel overlayfs. plain: whole ' +
        'files and directories, whiteouts and opaque marks alone, so that a reader that knows no ' +
        'redirects, metadata-only copies and index sees the same tree; renaming a directory of a ' +
        'lower copies what is in it. plain is the default for an upper in a store of podman, buildah ' +
        'or Docker, whose tools fall back to other drivers',
    },
  ),
  kind.choice(
    'redirect_dir',
    ['on', 'off', 'follow', 'nofollow'],
    (into, value) => {
      asks(into, 'redirect_dir', value === 'on' || value === 'follow');
      into.redirectDir = value === 'off' ? 'follow' : value;
    },
    {
      usage: 'redirect_dir=on|off|follow|nofollow',
      help: 'rename directories that have lowers (default on); off, follow: EXDEV; nofollow: refuse redirects, too',
      docs:
        "on (default): a directory that has lowers can be renamed, with overlayfs's `redirect` " +
        'mark; off, follow: EXDEV, marks that are there are followed; nofollow: EXDEV, what ' +
        'carries one is refused (EPERM), and none is written',
    },
  ),
  kind.choice(
    'metacopy',
    ['on', 'off'],
    (into, value) => {
      asks(into, 'metacopy', value === 'on');
      into.metacopy = value === 'on';
    },
    {
      usage: 'metacopy=on|off',
      help: 'chmod, chown and the like copy no data (default on with redirect_dir=on); off keeps the upper plain',
      docs:
        'on (default with `redirect_dir=on`): chmod, chown and the like copy no data, with ' +
        "overlayfs's `metacopy` mark; off (default with any other `redirect_dir`, as in " +
        'overlayfs): the upper holds whole files; copies that are there are still read. `on` is ' +
        'refused with `redirect_dir=nofollow`; with `off` and `follow`, with which overlayfs ' +
        'refuses it, it works: renamed files get redirects, which are followed',
    },
  ),
  kind.choice(
    'index',
    ['on', 'off'],
    (into, value) => {
      asks(into, 'index', value === 'on');
      into.index = value;
    },
    {
      usage: 'index=on|off',
      help: 'hard links of a layer stay one file when it changes (default on where it can be)',
      docs:
        "hard links of a layer stay one file when it changes, by overlayfs's `index` in the " +
        'workdir; on by default where that is possible (see Limits); off: each name becomes a ' +
        'file of its own',
    },
  ),
  kind.choice(
    'xino',
    ['on', 'off', 'auto'],
    (into, value) => {
      into.xino = value;
    },
    {
      usage: 'xino=on|off|auto',
      help: 'inode numbers of layers on several file systems, always unique; on: log what does not fit',
      docs:
        'inode numbers of layers on several file systems: always unique and below 2^53, so ' +
        'that programs with doubles tell them apart. Where all layers are on file systems ' +
        "with 32-bit numbers (ext4) they are those of kernel overlayfs's `xino=on`. A number " +
        'of a layer is shown as a hash that lasts when it leaves no bits for the file ' +
        "system's (2^51 and above with two of them, 2^43 with 500). The values are one, as a " +
        'FUSE mount has one st_dev by which `off` could tell files apart; with `on` a number ' +
        'without free bits is also logged',
    },
  ),
  kind.choice('verity', ['off', 'on', 'require'], refuseVerity, {
    usage: 'verity=off',
    help: 'fs-verity digests of metadata-only copies are not checked; on and require are refused',
    docs: 'fs-verity digests in metadata-only copies are not checked; `on` and `require` are refused',
  }),
  kind.choice('nfs_export', ['off', 'on'], refuseExport, {
    usage: 'nfs_export=off, uuid=auto|null',
    help: "overlayfs's words for what a FUSE mount has none of; other values are refused",
    docs:
      "overlayfs's words for what a FUSE mount has none of: file handles that outlive it, and a " +
      'UUID; other values are refused',
  }),
  kind.choice('uuid', ['auto', 'null', 'off', 'on'], refuseUuid),
  kind.word(
    'userxattr',
    (into) => {
      into.userxattr = true;
    },
    {
      help: 'marks in user.overlay.* alone; excludes redirect_dir, metacopy and index, as in overlayfs',
      docs:
        'marks in `user.overlay.*` alone, as in overlayfs: no redirects, no metadata-only copies. ' +
        'By itself where `trusted.*` cannot be written',
    },
  ),
];

const owners: Rows = [
  kind.mapping(
    'uidmapping',
    (into, ranges) => {
      into.ids.uids = ranges;
    },
    {
      usage: 'uidmapping=DISK:SHOWN:COUNT[:...], gidmapping=...',
      help: 'show the owners on disk as other IDs; what is created or changed is translated back',
      docs:
        'show the owners on disk as other IDs, as fuse-overlayfs does; what is created or ' +
        "changed is translated back. An ID on disk that does not map is shown as the kernel's " +
        'overflow ID (65534), and what would change it answers EOVERFLOW; a maker without an ID ' +
        'on disk makes objects of the overflow ID, without set-ID bits',
    },
  ),
  kind.mapping('gidmapping', (into, ranges) => {
    into.ids.gids = ranges;
  }),
  kind.word(
    'squash_to_root',
    (into) => {
      into.squash = true;
    },
    {
      usage: 'squash_to_root, squash_to_uid=N, squash_to_gid=N',
      help: 'show every object as owned by root, or by these IDs',
      docs: 'show every object with this owner; the disk keeps the true ones',
    },
  ),
  kind.id('squash_to_uid', (into, id) => {
    into.ids.squashUid = id;
  }),
  kind.id('squash_to_gid', (into, id) => {
    into.ids.squashGid = id;
  }),
  kind.choice(
    'xattr_permissions',
    ['1', '2'],
    (into, value) => {
      into.xattrPermissions = value === '1' ? 1 : 2;
    },
    {
      usage: 'xattr_permissions=1|2',
      help: 'keep owner, mode and type in an xattr: 1 of security (root), 2 of user, as fuse-overlayfs',
      docs:
        'owner, mode and type of objects are kept in an xattr, as fuse-overlayfs does; the disk ' +
        "has the mount's user and 0600 or 0700. 1: in `security.*`, needs root outside a user " +
        'namespace; 2: in `user.*`. No POSIX ACLs (see Limits)',
    },
  ),
  kind.word(
    'noacl',
    (into) => {
      into.acl = false;
    },
    { help: 'no POSIX ACLs: they answer EOPNOTSUPP' },
  ),
];

const mounting: Rows = [
  kind.label('context', {
    usage: 'context=LABEL, fscontext=, defcontext=, rootcontext=',
    help: 'SELinux labels for mount(2)',
    docs: 'SELinux labels for mount(2); refused without SELinux',
  }),
  kind.label('fscontext'),
  kind.label('defcontext'),
  kind.label('rootcontext'),
  kind.text(
    'fsname',
    (into, value) => {
      into.source = value;
    },
    { usage: 'fsname=NAME', help: 'the source shown in the mount table' },
  ),
  kind.propagation('private', MS.PRIVATE, {
    usage: '[r]private, [r]slave, [r]shared, [r]unbindable',
    help: 'mount propagation',
  }),
  kind.propagation('rprivate', MS.PRIVATE | MS.REC),
  kind.propagation('slave', MS.SLAVE),
  kind.propagation('rslave', MS.SLAVE | MS.REC),
  kind.propagation('shared', MS.SHARED),
  kind.propagation('rshared', MS.SHARED | MS.REC),
  kind.propagation('unbindable', MS.UNBINDABLE),
  kind.propagation('runbindable', MS.UNBINDABLE | MS.REC),
  kind.ignored('defaults', {
    usage: 'defaults, auto, nofail, user, _netdev, x-*, comment=, subtype=, ...',
    help: "mount(8)'s own words; accepted, without effect",
  }),
  ...['auto', 'noauto', 'nofail', 'user', 'nouser', 'users', 'nousers', 'owner', 'noowner'].map(
    (name) => kind.ignored(name),
  ),
  ...['group', 'nogroup', '_netdev', 'comment', 'subtype'].map((name) => kind.ignored(name)),
];

/** What fuse-overlayfs takes, and libfuse for it. */
const foreign: Rows = [
  kind.foreign('threaded', {
    usage: 'threaded=, timeout=, fast_ino=, noxattrs=, static_nlink, ino32_t, max_write=, ...',
    help: "fuse-overlayfs's and libfuse's own options; accepted, without effect, and noted in the host's log",
    docs:
      "fuse-overlayfs's and libfuse's own options (also `plugins=`, `max_read=`, `max_idle_threads=`, " +
      '`max_threads=`, `clone_fd`, `kernel_cache`, `auto_cache`, `noauto_cache`, `use_ino`, `readdir_ino`, ' +
      '`attr_timeout=`, `entry_timeout=`, `negative_timeout=`, `ac_attr_timeout=`, `umask=`, `uid=`, `gid=`, ' +
      '`nonempty`, `allow_root`, `auto_unmount`, `big_writes`, `hard_remove`, `intr`, `direct_io`, `congestion_threshold=`, ' +
      "`max_background=`); accepted, without effect, and noted in the host's log",
  }),
  ...['timeout', 'fast_ino', 'noxattrs', 'static_nlink', 'ino32_t', 'max_write', 'plugins'].map(
    (name) => kind.foreign(name),
  ),
  ...['max_read', 'max_idle_threads', 'max_threads', 'clone_fd', 'kernel_cache', 'auto_cache'].map(
    (name) => kind.foreign(name),
  ),
  ...['noauto_cache', 'use_ino', 'readdir_ino', 'attr_timeout', 'entry_timeout', 'umask'].map(
    (name) => kind.foreign(name),
  ),
  ...['negative_timeout', 'ac_attr_timeout', 'uid', 'gid', 'nonempty', 'allow_root'].map((name) =>
    kind.foreign(name),
  ),
  ...['auto_unmount', 'big_writes', 'hard_remove', 'intr', 'direct_io', 'max_background'].map(
    (name) => kind.foreign(name),
  ),
  kind.foreign('congestion_threshold'),
];

export const OPTION_TABLE: Rows = [
  ...layers,
  ...flags,
  ...access,
  ...data,
  ...format,
  ...owners,
  ...mounting,
  ...foreign,
];

const byName = new Map(OPTION_TABLE.map((row) => [row.name, row]));

/** The row of an option, or undefined for what nobody knows. `x-` and `X-` words belong to mount(8). */
export function optionRow(name: string): kind.OptionRow | undefined {
  return /^x-/i.test(name) ? kind.ignored(name) : byName.get(name);
}
