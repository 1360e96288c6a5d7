/** Makes one member of an archive from its header, its extended headers and the global ones. */
import { ACCESS_ACL, DEFAULT_ACL } from '../layer/xattrs.js';
import { aclFromText } from './acl.js';
import type { RawHeader } from './header.js';
import { damaged, refused, shown } from './limits.js';
import { integer, type Records, time } from './pax.js';
import type { Entry, EntryType, Extent } from './types.js';

/** Linux has 12 bits for the major and 20 for the minor number. */
const MAJOR_MAX = 0xfff;
const MINOR_MAX = 0xf_ffff;
/** -1, the largest, says "no owner" (chown(2)). */
const ID_MAX = 0xffff_fffe;

/** The types that have data; of the others a size says nothing, as for Go's reader, which reads images everywhere. */
export const hasData = (type: EntryType): boolean => type === 'file';

/** Undefined: no member but a note of GNU tar's, to be passed over. */
export function typeOf(raw: RawHeader, name: string): EntryType | undefined {
  switch (raw.type) {
    case '0':
    case '\0':
      // Before POSIX a directory was a file with a slash at its end.
      return name.endsWith('/') && raw.size === 0 ? 'dir' : 'file';
    case '7': // Contiguous: a file to everybody.
    case 'S': // Old GNU sparse.
      return 'file';
    case '1':
      return 'link';
    case '2':
      return 'symlink';
    case '3':
      return 'char';
    case '4':
      return 'block';
    case '5':
    case 'D': // A directory with a list of its names (GNU tar --incremental).
      return 'dir';
    case '6':
      return 'fifo';
    case 'V': // The archive's label.
      return undefined;
    default:
      throw refused(name, `is of a kind that is unknown (${JSON.stringify(raw.type)})`);
  }
}

interface MemberParts {
  readonly raw: RawHeader;
  readonly type: EntryType;
  readonly records: Records;
  readonly name: string;
  readonly target: string;
  readonly size: number;
  readonly extents: readonly Extent[] | undefined;
}

export function entryOf(parts: MemberParts): Entry {
  const { raw, type, records, name, target } = parts;
  const device = type === 'char' || type === 'block';
  const told = records.get('mtime');
  const when = told === undefined ? { seconds: raw.mtime, nanoseconds: 0 } : time(told);
  const entry = {
    type,
    name: withoutSlashes(name),
    target: type === 'link' || type === 'symlink' ? target : '',
    mode: raw.mode & 0o7777,
    uid: numberOf(records, 'uid', raw.uid),
    gid: numberOf(records, 'gid', raw.gid),
    size: hasData(type) ? parts.size : 0,
    mtime: when.seconds,
    mtimeNs: when.nanoseconds,
    major: device ? numberOf(records, 'SCHILY.devmajor', raw.major) : 0,
    minor: device ? numberOf(records, 'SCHILY.devminor', raw.minor) : 0,
    xattrs: records.size === 0 ? NONE : xattrsOf(records, name),
    extents: parts.extents,
  };
  check(entry);
  return entry;
}

const NONE: ReadonlyMap<string, string> = new Map();

function withoutSlashes(name: string): string {
  let end = name.length;
  while (end > 0 && name.charCodeAt(end - 1) === 0x2f) end--;
  return end === name.length ? name : name.slice(0, end);
}

function numberOf(records: Records, key: string, plain: number): number {
  const told = records.get(key);
  return told === undefined ? plain : integer(told);
}

function check(entry: Entry): void {
  const { name, uid, gid, major, minor } = entry;
  if (name.includes('\0') || entry.target.includes('\0')) {
    throw damaged(`a name has a NUL in it, ${shown(name)}`);
  }
  if (uid < 0 || uid > ID_MAX || gid < 0 || gid > ID_MAX) {
    throw refused(name, `belongs to ${uid}:${gid}, which no user or group can be`);
  }
  if (major < 0 || major > MAJOR_MAX || minor < 0 || minor > MINOR_MAX) {
    throw refused(name, `is a device ${major}:${minor}, which cannot be`);
  }
}

const SCHILY = 'SCHILY.xattr.';
const LIBARCHIVE = 'LIBARCHIVE.xattr.';

/** Binary forms first: they are exact, and an ACL as text may name users that only its machine had. */
function xattrsOf(records: Records, name: string): ReadonlyMap<string, string> {
  const xattrs = new Map<string, string>();
  for (const [key, value] of records) {
    if (key.startsWith(SCHILY)) xattrs.set(unescaped(key.slice(SCHILY.length), GNU_ESCAPES), value);
  }
  for (const [key, value] of records) {
    if (!key.startsWith(LIBARCHIVE)) continue;
    const xattr = unescaped(key.slice(LIBARCHIVE.length), /%([0-9a-f]{2})/gi);
    if (!xattrs.has(xattr)) xattrs.set(xattr, Buffer.from(value, 'base64').toString('latin1'));
  }
  for (const [key, xattr] of ACLS) {
    const text = records.get(key);
    if (text !== undefined && !xattrs.has(xattr)) xattrs.set(xattr, aclFromText(text, name));
  }
  const label = records.get('RHT.security.selinux');
  if (label !== undefined && !xattrs.has(SELINUX)) xattrs.set(SELINUX, `${label}\0`);
  return xattrs.size === 0 ? NONE : xattrs;
}

const SELINUX = 'security.selinux';
const ACLS = [
  ['SCHILY.acl.access', ACCESS_ACL],
  ['SCHILY.acl.default', DEFAULT_ACL],
] as const;

/** GNU tar writes `=` as %3D, as a key must not have one, and then `%` as %25. */
const GNU_ESCAPES = /%(3D|25)/g;

const unescaped = (name: string, pattern: RegExp): string =>
  name.includes('%')
    ? name.replace(pattern, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)))
    : name;

/** The key of a record for an xattr; escapes no more than must be. */
export const xattrKey = (name: string): string =>
  SCHILY + name.replace(/%(?=3D|25)/g, '%25').replaceAll('=', '%3D');
