/** What the upper may hold, in overlayfs's words. */
import { UserError } from '../../base/errno.js';
import type { Collected } from '../collected.js';
import * as kind from '../kinds.js';

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

export const format: kind.Rows = [
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
        'workdir; on by default where that is possible ([limits](limits.md)); off: each name becomes a ' +
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
