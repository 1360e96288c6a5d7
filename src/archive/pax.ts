/**
 * Extended headers (POSIX.1-2017 "pax Extended Header"): records `LENGTH KEY=VALUE\n`. Values are bytes,
 * whatever `hdrcharset` says, because xattrs in them were never text.
 */
import { damaged } from './limits.js';

/** By key, in the order of the archive. The value of a key given twice is the last one. */
export type Records = Map<string, string>;

const SPACE = 0x20;
const NEWLINE = 0x0a;
const EQUALS = 0x3d;

/**
 * Adds the records in `bytes` to `records`. `onPair` gets those of GNU sparse 0.0, which repeat their keys.
 */
export function readRecords(
  bytes: Buffer,
  records: Records,
  onPair: (key: string, value: string) => void,
): void {
  let at = 0;
  while (at < bytes.length) {
    const end = recordEnd(bytes, at);
    const from = bytes.indexOf(SPACE, at) + 1;
    const equals = bytes.indexOf(EQUALS, from);
    if (equals < from + 1 || equals >= end) throw badRecord();
    const key = bytes.latin1Slice(from, equals);
    const value = bytes.latin1Slice(equals + 1, end - 1);
    if (key.includes('\0')) throw badRecord();
    if (key === 'GNU.sparse.offset' || key === 'GNU.sparse.numbytes') onPair(key, value);
    else records.set(key, value);
    at = end;
  }
}

/** The end of the record at `at`, behind its newline. */
function recordEnd(bytes: Buffer, at: number): number {
  let length = 0;
  let i = at;
  for (; i < bytes.length && bytes[i] !== SPACE; i++) {
    const digit = bytes[i] - 0x30;
    if (digit < 0 || digit > 9 || i - at > 9) throw badRecord();
    length = length * 10 + digit;
  }
  const end = at + length;
  if (i === at || i + 1 >= end || end > bytes.length || bytes[end - 1] !== NEWLINE) {
    throw badRecord();
  }
  return end;
}

const badRecord = (): Error => damaged('an extended header cannot be read');

/** One record; its length counts itself. */
export function record(key: string, value: string): string {
  const rest = key.length + value.length + 3;
  let length = rest + String(rest).length;
  if (String(length).length !== String(rest).length) length = rest + String(length).length;
  return `${length} ${key}=${value}\n`;
}

/** A whole number of a record, within what is exact. */
export function integer(text: string): number {
  const value = Number(text);
  if (!/^-?\d+$/.test(text) || !Number.isSafeInteger(value)) throw badRecord();
  return value;
}

/** Seconds, with a fraction of any length; before 1970 the whole is negative. */
export function time(text: string): { seconds: number; nanoseconds: number } {
  const found = /^(-?)(\d+)(?:\.(\d*))?$/.exec(text);
  if (!found) throw badRecord();
  const [, sign, whole] = found;
  const fraction = (found.at(3) ?? '').slice(0, 9).padEnd(9, '0');
  const [seconds, nanoseconds] = [integer(whole), Number(fraction)];
  if (sign === '') return { seconds, nanoseconds };
  return nanoseconds === 0
    ? { seconds: 0 - seconds, nanoseconds }
    : { seconds: -seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds };
}

/** The shortest form that says the same. */
export function timeText(seconds: number, nanoseconds: number): string {
  if (nanoseconds === 0) return String(seconds);
  const negative = seconds < 0;
  let rest = negative ? 1_000_000_000 - nanoseconds : nanoseconds;
  let digits = 9;
  for (; rest % 10 === 0; rest /= 10) digits--;
  const whole = negative ? `-${-(seconds + 1)}` : String(seconds);
  return `${whole}.${String(rest).padStart(digits, '0')}`;
}
