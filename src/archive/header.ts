/**
 * Reads and writes the 512-byte header of a tar member (POSIX.1-2017 "pax", ustar Interchange Format; GNU tar
 * manual, "Basic Tar Format"). The magic tells V7, USTAR, star and GNU headers apart.
 */
import { damaged } from './limits.js';

export const BLOCK = 512;

/** Bytes that fill the last block of `size` bytes. */
export const padding = (size: number): number => (BLOCK - (size % BLOCK)) % BLOCK;

export const FIELD = {
  name: [0, 100],
  mode: [100, 8],
  uid: [108, 8],
  gid: [116, 8],
  size: [124, 12],
  mtime: [136, 12],
  checksum: [148, 8],
  type: [156, 1],
  target: [157, 100],
  magic: [257, 8],
  uname: [265, 32],
  gname: [297, 32],
  major: [329, 8],
  minor: [337, 8],
  prefix: [345, 155],
} as const;

type Field = readonly [offset: number, length: number];

const USTAR_MAGIC = 'ustar\0';
const GNU_MAGIC = 'ustar  \0';
/** star writes `tar` NUL at the end; its prefix is shorter, as times follow it. */
const STAR_TRAILER = 508;
const STAR_PREFIX: Field = [345, 131];

type HeaderForm = 'v7' | 'ustar' | 'gnu';

/** A header as it stands in the archive. */
export interface RawHeader {
  readonly form: HeaderForm;
  readonly type: string;
  readonly name: string;
  readonly target: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly mtime: number;
  readonly major: number;
  readonly minor: number;
}

export function isZero(block: Buffer, at: number): boolean {
  for (let i = at; i < at + BLOCK; i++) if (block[i] !== 0) return false;
  return true;
}

/** Reads the header at `at`. */
export function readHeader(block: Buffer, at: number): RawHeader {
  checkSum(block, at);
  const form = formOf(block, at);
  const plain = textField(block, at, FIELD.name);
  const prefix = form === 'ustar' ? prefixOf(block, at) : '';
  const devices = form !== 'v7';
  return {
    form,
    type: String.fromCharCode(block[at + FIELD.type[0]]),
    name: prefix === '' ? plain : `${prefix}/${plain}`,
    target: textField(block, at, FIELD.target),
    mode: numberField(block, at, FIELD.mode),
    uid: numberField(block, at, FIELD.uid),
    gid: numberField(block, at, FIELD.gid),
    size: numberField(block, at, FIELD.size),
    mtime: numberField(block, at, FIELD.mtime),
    major: devices ? numberField(block, at, FIELD.major) : 0,
    minor: devices ? numberField(block, at, FIELD.minor) : 0,
  };
}

function formOf(block: Buffer, at: number): HeaderForm {
  const from = at + FIELD.magic[0];
  if (block.latin1Slice(from, from + 6) === USTAR_MAGIC) return 'ustar';
  return block.latin1Slice(from, from + 8) === GNU_MAGIC ? 'gnu' : 'v7';
}

function prefixOf(block: Buffer, at: number): string {
  const star = block.latin1Slice(at + STAR_TRAILER, at + BLOCK) === 'tar\0';
  return textField(block, at, star ? STAR_PREFIX : FIELD.prefix);
}

/** The bytes of a field up to its first NUL. */
function textField(block: Buffer, at: number, [offset, length]: Field): string {
  const from = at + offset;
  let to = from;
  while (to < from + length && block[to] !== 0) to++;
  return block.latin1Slice(from, to);
}

/**
 * A number in octal digits, between blanks or NULs, or, where the first bit is set, a two's complement
 * number in big-endian bytes (GNU tar's base-256).
 */
export function numberField(block: Buffer, at: number, [offset, length]: Field): number {
  const from = at + offset;
  const to = from + length;
  if ((block[from] & 0x80) !== 0) return binary(block, from, to);
  let i = from;
  while (i < to && (block[i] === 0x20 || block[i] === 0)) i++;
  let value = 0;
  for (; i < to; i++) {
    const digit = block[i] - 0x30;
    if (digit < 0 || digit > 7) break;
    value = value * 8 + digit;
  }
  // What follows the digits is a blank or a NUL; anything else is no number.
  if (i < to && block[i] !== 0x20 && block[i] !== 0) throw notNumber();
  return value;
}

function binary(block: Buffer, from: number, to: number): number {
  const negative = (block[from] & 0x40) !== 0;
  let value = negative ? -1n : 0n;
  for (let i = from; i < to; i++) {
    const byte = i === from ? block[i] & (negative ? 0xff : 0x7f) : block[i];
    value = (value << 8n) | BigInt(byte);
  }
  const exact = Number(value);
  if (!Number.isSafeInteger(exact)) throw notNumber();
  return exact;
}

const notNumber = (): Error => damaged('a number in a header cannot be read');

/** POSIX sums unsigned bytes; Sun's tar summed signed ones. */
function checkSum(block: Buffer, at: number): void {
  const told = numberField(block, at, FIELD.checksum);
  if (told === sumOf(block, at)) return;
  let signed = 8 * 0x20;
  for (let i = 0; i < BLOCK; i++) if (i < 148 || i >= 156) signed += block.readInt8(at + i);
  if (told !== signed) throw damaged('the checksum of a header is wrong');
}

/** The sum of the header's bytes, those of its checksum taken for blanks. */
function sumOf(block: Buffer, at: number): number {
  let sum = 8 * 0x20;
  for (let i = at; i < at + 148; i++) sum += block[i];
  for (let i = at + 156; i < at + BLOCK; i++) sum += block[i];
  return sum;
}

/** What `writeHeader` puts into a header; a number that does not fit is written as 0, a text is cut. */
export interface HeaderFields {
  readonly type: string;
  readonly name: string;
  readonly prefix?: string;
  readonly target?: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly mtime: number;
  /** Absent: the fields stay empty, as in the header of an extended header. */
  readonly major?: number;
  readonly minor?: number;
}

/** Largest value of a field of 8 and of 12 bytes in octal. */
export const OCTAL_8 = 0o7777777;
export const OCTAL_12 = 0o77777777777;

/** Writes a USTAR header at `at`. Twelve thousand of them are written in no time: nothing is allocated. */
export function writeHeader(block: Buffer, at: number, fields: HeaderFields): void {
  block.fill(0, at, at + BLOCK);
  putText(block, at, FIELD.name, fields.name);
  putOctal(block, at, FIELD.mode, fields.mode);
  putOctal(block, at, FIELD.uid, fields.uid);
  putOctal(block, at, FIELD.gid, fields.gid);
  putOctal(block, at, FIELD.size, fields.size);
  putOctal(block, at, FIELD.mtime, fields.mtime);
  block[at + FIELD.type[0]] = fields.type.charCodeAt(0);
  if (fields.target !== undefined) putText(block, at, FIELD.target, fields.target);
  block.set(MAGIC, at + FIELD.magic[0]);
  if (fields.major !== undefined) putOctal(block, at, FIELD.major, fields.major);
  if (fields.minor !== undefined) putOctal(block, at, FIELD.minor, fields.minor);
  if (fields.prefix !== undefined) putText(block, at, FIELD.prefix, fields.prefix);
  // Six digits, NUL, blank.
  putOctal(block, at, [FIELD.checksum[0], 7], sumOf(block, at));
  block[at + FIELD.checksum[0] + 7] = 0x20;
}

const MAGIC = Buffer.from('ustar\x0000', 'latin1');

/**
 * Where a name is cut that is a directory's no longer, its last slash would make one of it for readers
 * that look at this field alone: the slashes before the cut go, too.
 */
function putText(block: Buffer, at: number, [offset, length]: Field, text: string): void {
  let end = text.length;
  if (end > length) {
    end = length;
    if (text.charCodeAt(length - 1) === SLASH) {
      while (end > 0 && text.charCodeAt(end - 1) === SLASH) end--;
    }
  }
  if (end > 0) block.latin1Write(text, at + offset, end);
}

const SLASH = 0x2f;

function putOctal(block: Buffer, at: number, [offset, length]: Field, value: number): void {
  const largest = length === 12 ? OCTAL_12 : OCTAL_8;
  let rest = value >= 0 && value <= largest ? value : 0;
  for (let i = at + offset + length - 2; i >= at + offset; i--) {
    const next = Math.floor(rest / 8);
    block[i] = 0x30 + rest - next * 8;
    rest = next;
  }
}
