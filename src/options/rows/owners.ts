/** Owners, permissions and ACLs. */
import * as kind from '../kinds.js';

export const owners: kind.Rows = [
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
        'changed is translated back. A lower on an ID-mapped mount is taken for one that shows these ' +
        "IDs already. An ID on disk that does not map is shown as the kernel's " +
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
        'namespace; 2: in `user.*`. No POSIX ACLs ([limits](limits.md))',
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
