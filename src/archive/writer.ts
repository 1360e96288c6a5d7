/**
 * Writes members in the form of Go's archive/tar (Writer.WriteHeader of Go 1.23 with FormatPAX), the form of
 * every engine's layers: a plain USTAR header where everything fits it, else an extended header with sorted
 * records before it.
 */
import { isUtf8 } from 'node:buffer';
import { ACCESS_ACL, DEFAULT_ACL } from '../layer/xattrs.js';
import { aclToText } from './acl.js';
import { BLOCK, OCTAL_12, OCTAL_8, padding, writeHeader } from './header.js';
import { xattrKey } from './member.js';
import { record, timeText } from './pax.js';
import { lineMap } from './sparse.js';
import type { Entry, EntryType, Extent } from './types.js';

const TYPES: Readonly<Record<EntryType, string>> = {
  file: '0',
  link: '1',
  symlink: '2',
  char: '3',
  block: '4',
  dir: '5',
  fifo: '6',
};

/** Pieces of the archive are handed on in this size. */
const CHUNK = 512 * 1024;

export class TarWriter {
  /** Pieces that are full. */
  readonly ready: Buffer[] = [];
  #chunk = Buffer.allocUnsafeSlow(CHUNK);
  #at = 0;

  /** Writes all but the data, which follows by `space` and `pad`. `tars`: also what only GNU tar and bsdtar look at. */
  entry(entry: Entry, tars = false): void {
    const { name } = entry;
    const full = entry.type === 'dir' && !name.endsWith('/') ? `${name}/` : name;
    const map = entry.extents === undefined ? '' : lineMap(entry.extents, entry.size);
    const stored = entry.extents === undefined ? entry.size : map.length + lengthOf(entry.extents);
    const split = full.length > 100 || !isAscii(full) ? splitName(full) : undefined;
    const records = this.#records(entry, full, stored, split !== undefined);
    if (tars) this.#forTars(entry, records);
    if (records.size === 0) {
      this.#header(entry, split?.[1] ?? full, split?.[0] ?? '', stored);
    } else {
      // With an extended header the name in front is not split, and stands there in full.
      if (split && !records.has('GNU.sparse.name')) records.set('path', full);
      this.#extended(full, records);
      const plain = entry.extents === undefined ? full : besides(full, 'GNUSparseFile.0');
      this.#header(entry, ascii(plain), '', stored, true);
    }
    if (map !== '') this.text(map);
  }

  #header(entry: Entry, name: string, prefix: string, size: number, lossy = false): void {
    const { mode, uid, gid, mtime, major, minor } = entry;
    const target = lossy ? ascii(entry.target) : entry.target;
    const type = TYPES[entry.type];
    const data = entry.type === 'file' ? size : 0;
    const fields = { type, name, prefix, target, mode, uid, gid, size: data, mtime, major, minor };
    const at = this.#block();
    writeHeader(this.#chunk, at, fields);
  }

  /** What does not fit into a header. */
  #records(entry: Entry, name: string, stored: number, splits: boolean): Map<string, string> {
    const records = new Map<string, string>();
    if ((name.length > 100 || !isAscii(name)) && !splits) records.set('path', name);
    const { target, uid, gid, mtime, mtimeNs, extents } = entry;
    if (target.length > 100 || !isAscii(target)) records.set('linkpath', target);
    if (uid > OCTAL_8) records.set('uid', String(uid));
    if (gid > OCTAL_8) records.set('gid', String(gid));
    if (stored > OCTAL_12) records.set('size', String(stored));
    if (mtimeNs !== 0 || mtime < 0 || mtime > OCTAL_12) {
      records.set('mtime', timeText(mtime, mtimeNs));
    }
    for (const [key, value] of entry.xattrs) records.set(xattrKey(key), value);
    if (extents !== undefined) {
      records.set('GNU.sparse.major', '1');
      records.set('GNU.sparse.minor', '0');
      records.set('GNU.sparse.name', name);
      records.set('GNU.sparse.realsize', String(entry.size));
      records.delete('path');
    }
    return records;
  }

  /** ACLs as text, as they take none from an xattr, and that names are bytes: bsdtar takes them for UTF-8. */
  #forTars({ xattrs, target }: Entry, records: Map<string, string>): void {
    if (xattrs.size > 0) {
      for (const [key, name] of ACLS) {
        const text = aclToText(xattrs.get(key) ?? '');
        if (text !== undefined) records.set(name, text);
      }
    }
    const names = (records.get('path') ?? '') + (records.has('linkpath') ? target : '');
    if (names !== '' && !isAscii(names) && !isUtf8(Buffer.from(names, 'latin1'))) {
      records.set('hdrcharset', 'BINARY');
    }
  }

  #extended(name: string, records: ReadonlyMap<string, string>): void {
    let text = '';
    if (records.size === 1) for (const [key, value] of records) text = record(key, value);
    else for (const key of [...records.keys()].sort()) text += record(key, records.get(key) ?? '');
    const plain = ascii(besides(name, 'PaxHeaders.0')).slice(0, 100).replace(/\/+$/, '');
    const size = text.length;
    const fields = { type: 'x', name: plain, mode: 0, uid: 0, gid: 0, size, mtime: 0 };
    const at = this.#block();
    writeHeader(this.#chunk, at, fields);
    this.text(text);
    this.pad(text.length);
  }

  /** Bytes as they are, of any length. */
  text(text: string): void {
    for (let from = 0; from < text.length; ) {
      const { chunk, at, size } = this.space(text.length - from);
      chunk.latin1Write(text.slice(from, from + size), at);
      this.advance(size);
      from += size;
    }
  }

  /** Room for data in the piece being filled, at most `wanted`; `advance` says how much was used. */
  space(wanted: number): { chunk: Buffer; at: number; size: number } {
    if (this.#at === CHUNK) this.#turn();
    return { chunk: this.#chunk, at: this.#at, size: Math.min(wanted, CHUNK - this.#at) };
  }

  advance(size: number): void {
    this.#at += size;
  }

  /** Fills the last block of `size` bytes of data. */
  pad(size: number): void {
    this.#zeros(padding(size));
  }

  /** The end-of-archive mark; all is in `ready` then. */
  end(): void {
    this.#zeros(2 * BLOCK);
    this.ready.push(this.#chunk.subarray(0, this.#at));
    this.#at = 0;
  }

  #zeros(bytes: number): void {
    for (let left = bytes; left > 0; ) {
      const { chunk, at, size } = this.space(left);
      chunk.fill(0, at, at + size);
      this.advance(size);
      left -= size;
    }
  }

  /** The place of one block of the piece being filled; pieces are whole blocks. */
  #block(): number {
    if (this.#at === CHUNK) this.#turn();
    const at = this.#at;
    this.#at += BLOCK;
    return at;
  }

  #turn(): void {
    this.ready.push(this.#chunk);
    this.#chunk = Buffer.allocUnsafeSlow(CHUNK);
    this.#at = 0;
  }
}

const lengthOf = (extents: readonly Extent[]): number =>
  extents.reduce((sum, { length }) => sum + length, 0);

const ACLS = [
  [ACCESS_ACL, 'SCHILY.acl.access'],
  [DEFAULT_ACL, 'SCHILY.acl.default'],
] as const;

function isAscii(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code >= 0x80 || code === 0) return false;
  }
  return true;
}

/** Bytes that are no ASCII are left out. */
const ascii = (text: string): string =>
  isAscii(text) ? text : text.replace(/[\x00\x80-\xff]/g, '');

/** `a/b` with `x`: `a/x/b`; names here are clean but for the root's. */
function besides(name: string, part: string): string {
  if (name === './') return part;
  const slash = name.lastIndexOf('/') + 1;
  const file = name.slice(slash);
  return name.slice(0, slash) + (file === '' ? part : `${part}/${file}`);
}

/** USTAR's prefix and name, or undefined when it cannot be split (splitUSTARPath). */
function splitName(name: string): [prefix: string, name: string] | undefined {
  if (!isAscii(name)) return undefined;
  const most = name.length > 156 ? 156 : name.endsWith('/') ? name.length - 1 : name.length;
  const at = name.lastIndexOf('/', most - 1);
  const rest = name.length - at - 1;
  if (at <= 0 || at > 155 || rest === 0 || rest > 100) return undefined;
  return [name.slice(0, at), name.slice(at + 1)];
}
