/**
 * POSIX ACLs in two forms: the text that star, GNU tar and bsdtar put into archives, and the value of the
 * `system.posix_acl_*` xattrs (struct posix_acl_xattr_header, include/uapi/linux/posix_acl_xattr.h).
 */
import { refused } from './limits.js';

const VERSION = 2;
const HEADER = 4;
const ENTRY = 8;
const NO_ID = 0xffff_ffff;
const TAGS = { user_obj: 0x01, user: 0x02, group_obj: 0x04, group: 0x08, mask: 0x10, other: 0x20 };

interface AclEntry {
  readonly tag: number;
  readonly permissions: number;
  readonly id: number;
}

/** The xattr's value for an ACL as text; `name` is the member's, for messages. */
export function aclFromText(text: string, name: string): string {
  const entries: AclEntry[] = [];
  for (const line of text.split(/[\n,]/)) {
    const [words] = line.split('#', 1);
    if (words.trim() !== '') entries.push(entryOf(words.trim(), name));
  }
  // The kernel wants them in this order (posix_acl_valid).
  entries.sort((a, b) => a.tag - b.tag || a.id - b.id);
  const value = Buffer.alloc(HEADER + ENTRY * entries.length);
  value.writeUInt32LE(VERSION, 0);
  entries.forEach(({ tag, permissions, id }, i) => {
    const at = HEADER + ENTRY * i;
    value.writeUInt16LE(tag, at);
    value.writeUInt16LE(permissions, at + 2);
    value.writeUInt32LE(id, at + 4);
  });
  return value.toString('latin1');
}

/** `TAG:[QUALIFIER]:rwx[:ID]`; star and libarchive add the number behind a name. */
function entryOf(text: string, name: string): AclEntry {
  const parts = text.split(':');
  const tag = parts[0];
  // `mask::rwx` and `other::rwx` are also written with one colon.
  const short = parts.length === 2;
  const qualifier = short ? '' : (parts[1] ?? '');
  const letters = short ? parts[1] : (parts[2] ?? '');
  const bad = refused(name, 'has an access control list that cannot be read');
  if (!/^[r-][w-][x-]$/.test(letters)) throw bad;
  const permissions =
    (letters[0] === 'r' ? 4 : 0) | (letters[1] === 'w' ? 2 : 0) | (letters[2] === 'x' ? 1 : 0);
  const named = qualifier !== '';
  switch (tag) {
    case 'user':
    case 'u':
      return named
        ? { tag: TAGS.user, permissions, id: idOf(qualifier, parts.at(3), name) }
        : { tag: TAGS.user_obj, permissions, id: NO_ID };
    case 'group':
    case 'g':
      return named
        ? { tag: TAGS.group, permissions, id: idOf(qualifier, parts.at(3), name) }
        : { tag: TAGS.group_obj, permissions, id: NO_ID };
    case 'mask':
    case 'm':
      return { tag: TAGS.mask, permissions, id: NO_ID };
    case 'other':
    case 'o':
      return { tag: TAGS.other, permissions, id: NO_ID };
    default:
      throw bad;
  }
}

/** A name alone is refused: it is one of the machine where the archive was made. */
function idOf(qualifier: string, told: string | undefined, name: string): number {
  const digits = told !== undefined && /^\d+$/.test(told) ? told : qualifier;
  const id = Number(digits);
  if (/^\d+$/.test(digits) && id < NO_ID) return id;
  throw refused(
    name,
    `has an access control list for ${JSON.stringify(qualifier)} without its number; make the archive with numeric owners`,
  );
}

/** The text of an xattr's value, numbers for names; undefined when it is none of this form. */
export function aclToText(value: string): string | undefined {
  const bytes = Buffer.from(value, 'latin1');
  if (bytes.length < HEADER || (bytes.length - HEADER) % ENTRY !== 0) return undefined;
  if (bytes.readUInt32LE(0) !== VERSION) return undefined;
  const lines: string[] = [];
  for (let at = HEADER; at < bytes.length; at += ENTRY) {
    const tag = TEXTS.get(bytes.readUInt16LE(at));
    if (tag === undefined) return undefined;
    const bits = bytes.readUInt16LE(at + 2);
    const id = bytes.readUInt32LE(at + 4);
    const letters = `${bits & 4 ? 'r' : '-'}${bits & 2 ? 'w' : '-'}${bits & 1 ? 'x' : '-'}`;
    lines.push(`${tag}:${id === NO_ID ? '' : id}:${letters}`);
  }
  return lines.join(',');
}

const TEXTS = new Map([
  [TAGS.user_obj, 'user'],
  [TAGS.user, 'user'],
  [TAGS.group_obj, 'group'],
  [TAGS.group, 'group'],
  [TAGS.mask, 'mask'],
  [TAGS.other, 'other'],
]);

/** The value with its IDs replaced; the same when it is none of this form. */
export function mapAcl(
  value: string,
  uid: (id: number) => number,
  gid: (id: number) => number,
): string {
  const bytes = Buffer.from(value, 'latin1');
  for (let at = HEADER; at + ENTRY <= bytes.length; at += ENTRY) {
    const tag = bytes.readUInt16LE(at);
    const id = bytes.readUInt32LE(at + 4);
    if (tag === TAGS.user) bytes.writeUInt32LE(uid(id), at + 4);
    else if (tag === TAGS.group) bytes.writeUInt32LE(gid(id), at + 4);
  }
  return bytes.toString('latin1');
}
