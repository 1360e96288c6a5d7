/**
 * Every mount option, once: the parser, the refusals and `stratafs --help` read this table.
 */

/** How the parser takes an option. */
type OptionKind =
  /** A path or a list of paths. */
  | 'path'
  /** A file with more options; it is read before this table is asked. */
  | 'file'
  /** Sets (or clears) MS_* flags of mount(2). */
  | 'flag'
  /** `name=0` or `name=1`. */
  | 'switch'
  /** One of `choices`. */
  | 'choice'
  /** A word without a value that changes the mount itself. */
  | 'word'
  /** MS_* propagation, set by a second mount(2) once the mount is there. */
  | 'propagation'
  /** The text after `=` is kept. */
  | 'text'
  /** Triples of IDs, or one ID. */
  | 'mapping'
  | 'id'
  /** A SELinux label, for mount(2). */
  | 'label'
  /** Accepted and without effect: what mount(8) and engines pass to everybody. */
  | 'ignored'
  /** Known to kernel overlayfs or fuse-overlayfs, not built yet. */
  | 'later';

export interface OptionRow {
  readonly name: string;
  readonly kind: OptionKind;
  /** For `flag`: MS_* to set and to clear. For `propagation`: the MS_* of the second call. */
  readonly set?: number;
  readonly clear?: number;
  readonly choices?: readonly string[];
  /** Shown by --help; rows without it are not listed. */
  readonly help?: string;
  /** The form shown by --help, when it is not the name. */
  readonly usage?: string;
}

/** MS_* of <linux/mount.h>. */
export const MS = {
  RDONLY: 1,
  NOSUID: 2,
  NODEV: 4,
  NOEXEC: 8,
  SYNCHRONOUS: 16,
  DIRSYNC: 128,
  NOATIME: 1024,
  NODIRATIME: 2048,
  REC: 16384,
  UNBINDABLE: 1 << 17,
  PRIVATE: 1 << 18,
  SLAVE: 1 << 19,
  SHARED: 1 << 20,
  RELATIME: 1 << 21,
  STRICTATIME: 1 << 24,
  LAZYTIME: 1 << 25,
} as const;

const ATIME = MS.NOATIME | MS.RELATIME | MS.STRICTATIME;

function flag(name: string, set: number, clear: number, help?: string, usage?: string): OptionRow {
  return {
    name,
    kind: 'flag',
    set,
    clear,
    ...(help === undefined ? {} : { help }),
    ...(usage === undefined ? {} : { usage }),
  };
}

const layers: readonly OptionRow[] = [
  {
    name: 'lowerdir',
    kind: 'path',
    usage: 'lowerdir=A[:B...][::D...]',
    help: 'read-only layers, topmost first; required; D: data-only, reached by redirects',
  },
  {
    name: 'lowerdir+',
    kind: 'path',
    usage: 'lowerdir+=A, datadir+=D',
    help: 'one more layer below those before it, instead of lowerdir',
  },
  { name: 'datadir+', kind: 'path' },
  {
    name: 'upperdir',
    kind: 'path',
    usage: 'upperdir=DIR',
    help: 'where changes go; without it the mount is read-only',
  },
  {
    name: 'workdir',
    kind: 'path',
    usage: 'workdir=DIR',
    help: 'empty directory on the file system of upperdir; required with it',
  },
  {
    name: 'optionsfile',
    kind: 'file',
    usage: 'optionsfile=FILE',
    help: 'more options from a file: as after -o, also one a line',
  },
];

const flags: readonly OptionRow[] = [
  flag('ro', MS.RDONLY, 0, 'read-only or read-write (default: rw with an upperdir)', 'ro, rw'),
  flag('rw', 0, MS.RDONLY),
  flag('dev', 0, MS.NODEV, 'honour device nodes, or not (default: dev for root)', 'dev, nodev'),
  flag('nodev', MS.NODEV, 0),
  flag(
    'suid',
    0,
    MS.NOSUID,
    'honour set-user-ID bits, or not (default: suid for root)',
    'suid, nosuid',
  ),
  flag('nosuid', MS.NOSUID, 0),
  flag('exec', 0, MS.NOEXEC, 'let programs run, or not', 'exec, noexec'),
  flag('noexec', MS.NOEXEC, 0),
  flag(
    'sync',
    MS.SYNCHRONOUS,
    0,
    'every write reaches the upper before it returns',
    'sync, async, dirsync',
  ),
  flag('async', 0, MS.SYNCHRONOUS),
  flag('dirsync', MS.DIRSYNC, 0),
  flag(
    'atime',
    0,
    MS.NOATIME,
    'access times',
    '[no]atime, [no]diratime, [no]relatime, strictatime, lazytime',
  ),
  flag('noatime', MS.NOATIME, ATIME & ~MS.NOATIME),
  flag('diratime', 0, MS.NODIRATIME),
  flag('nodiratime', MS.NODIRATIME, 0),
  flag('relatime', MS.RELATIME, ATIME & ~MS.RELATIME),
  flag('norelatime', 0, MS.RELATIME),
  flag('strictatime', MS.STRICTATIME, ATIME & ~MS.STRICTATIME),
  flag('nostrictatime', 0, MS.STRICTATIME),
  flag('lazytime', MS.LAZYTIME, 0),
  flag('nolazytime', 0, MS.LAZYTIME),
];

const behaviour: readonly OptionRow[] = [
  {
    name: 'allow_other',
    kind: 'word',
    help: 'other users may enter; always so for root, needs user_allow_other in fuse.conf otherwise',
  },
  {
    name: 'default_permissions',
    kind: 'ignored',
    help: 'the kernel checks modes and ACLs; always so',
  },
  {
    name: 'volatile',
    kind: 'word',
    help: 'sync nothing; the workdir is marked and refused by the next mount, as in overlayfs',
  },
  { name: 'fsync', kind: 'switch', usage: 'fsync=0|1', help: '0: sync nothing, without the mark' },
  {
    name: 'data',
    kind: 'choice',
    choices: ['cached', 'passthrough', 'auto'],
    usage: 'data=cached|passthrough|auto',
    help: "who moves the data: requests and the page cache (default), the layers' files themselves (root), or these where files are large and only read",
  },
  {
    name: 'writeback',
    kind: 'switch',
    usage: 'writeback=0|1',
    help: 'collect writes in the kernel (default 1); 0 is faster for reading many small files',
  },
  {
    name: 'redirect_dir',
    kind: 'choice',
    choices: ['on', 'off', 'follow', 'nofollow'],
    usage: 'redirect_dir=on|off|follow|nofollow',
    help: 'rename directories that have lowers (default on); off, follow: EXDEV; nofollow: refuse redirects, too',
  },
  {
    name: 'metacopy',
    kind: 'choice',
    choices: ['on', 'off'],
    usage: 'metacopy=on|off',
    help: 'chmod, chown and the like copy no data (default on with redirect_dir=on); off keeps the upper plain',
  },
  {
    name: 'index',
    kind: 'choice',
    choices: ['on', 'off'],
    usage: 'index=on|off',
    help: 'hard links of a layer stay one file when it changes (default on where it can be)',
  },
  {
    name: 'xino',
    kind: 'choice',
    choices: ['on', 'off', 'auto'],
    usage: 'xino=on|off|auto',
    help: 'inode numbers of layers on several file systems, always unique; on: log what does not fit',
  },
  {
    name: 'verity',
    kind: 'choice',
    choices: ['off', 'on', 'require'],
    usage: 'verity=off',
    help: 'fs-verity digests of metadata-only copies are not checked; on and require are refused',
  },
  {
    name: 'userxattr',
    kind: 'word',
    help: 'marks in user.overlay.* alone; excludes redirect_dir, metacopy and index, as in overlayfs',
  },
  {
    name: 'fsname',
    kind: 'text',
    usage: 'fsname=NAME',
    help: 'the source shown in the mount table',
  },
];

function propagations(name: string, set: number, shown: Partial<OptionRow> = {}): OptionRow[] {
  return [
    { name, kind: 'propagation', set, ...shown },
    { name: `r${name}`, kind: 'propagation', set: set | MS.REC },
  ];
}

const propagation: readonly OptionRow[] = [
  ...propagations('private', MS.PRIVATE, {
    usage: '[r]private, [r]slave, [r]shared, [r]unbindable',
    help: 'mount propagation',
  }),
  ...propagations('slave', MS.SLAVE),
  ...propagations('shared', MS.SHARED),
  ...propagations('unbindable', MS.UNBINDABLE),
];

const users: readonly OptionRow[] = [
  {
    name: 'uidmapping',
    kind: 'mapping',
    usage: 'uidmapping=DISK:SHOWN:COUNT[:...], gidmapping=...',
    help: 'show the owners on disk as other IDs; what is created or changed is translated back',
  },
  { name: 'gidmapping', kind: 'mapping' },
  {
    name: 'squash_to_root',
    kind: 'word',
    usage: 'squash_to_root, squash_to_uid=N, squash_to_gid=N',
    help: 'show every object as owned by root, or by these IDs',
  },
  { name: 'squash_to_uid', kind: 'id' },
  { name: 'squash_to_gid', kind: 'id' },
  {
    name: 'xattr_permissions',
    kind: 'choice',
    choices: ['1', '2'],
    usage: 'xattr_permissions=1|2',
    help: 'keep owner, mode and type in an xattr: 1 of security (root), 2 of user, as fuse-overlayfs',
  },
  { name: 'noacl', kind: 'word', help: 'no POSIX ACLs: they answer EOPNOTSUPP' },
  {
    name: 'context',
    kind: 'label',
    usage: 'context=LABEL, fscontext=, defcontext=, rootcontext=',
    help: 'SELinux labels for mount(2)',
  },
  ...['fscontext', 'defcontext', 'rootcontext'].map((name) => ({ name, kind: 'label' as const })),
];

const ignored: readonly OptionRow[] = [
  {
    name: 'defaults',
    kind: 'ignored',
    usage: 'defaults, auto, nofail, user, _netdev, x-*, comment=, subtype=, ...',
    help: "mount(8)'s own words; accepted, without effect",
  },
  ...[
    ...['auto', 'noauto', 'nofail', 'user', 'nouser', 'users', 'nousers', 'owner', 'noowner'],
    ...['group', 'nogroup', '_netdev', 'comment', 'subtype'],
  ].map((name) => ({ name, kind: 'ignored' as const })),
];

const later: readonly OptionRow[] = ['nfs_export', 'uuid'].map((name) => ({
  name,
  kind: 'later',
}));

export const OPTION_TABLE: readonly OptionRow[] = [
  ...layers,
  ...flags,
  ...behaviour,
  ...users,
  ...propagation,
  ...ignored,
  ...later,
];

const byName = new Map(OPTION_TABLE.map((row) => [row.name, row]));

/** The row of an option, or undefined for what nobody knows. `x-` and `X-` words belong to mount(8). */
export function optionRow(name: string): OptionRow | undefined {
  if (/^x-/i.test(name)) return { name, kind: 'ignored' };
  return byName.get(name);
}
