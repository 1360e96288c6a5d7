/** What an operation is: one command of the test client; and the constants its words use. */
import { type Word, encodeWord } from '../support/client.js';

export type Operation = readonly [string, ...Word[]];
/** Stands before the command when the second client does it. */
export const OTHER = 'other';

export const O = {
  RDONLY: 0,
  WRONLY: 1,
  RDWR: 2,
  CREAT: 0o100,
  EXCL: 0o200,
  TRUNC: 0o1000,
  APPEND: 0o2000,
  /** Always set here: an open of a FIFO must not wait. */
  NONBLOCK: 0o4000,
  DIRECTORY: 0o200000,
  NOFOLLOW: 0o400000,
  NOATIME: 0o1000000,
  SYNC: 0o4010000,
  TMPFILE: 0o20200000,
} as const;
export const RENAME = { NOREPLACE: 1, EXCHANGE: 2, WHITEOUT: 4 } as const;
export const FALLOC = {
  KEEP_SIZE: 1,
  PUNCH_HOLE: 2,
  ZERO_RANGE: 16,
  COLLAPSE_RANGE: 8,
  INSERT_RANGE: 32,
} as const;
export const UTIME_NOW = 0x3fffffff;
export const UTIME_OMIT = 0x3ffffffe;

/** Descriptors that stay open over other operations. */
export const SLOTS = 4;
/** For one change at once. */
export const CHANGE_SLOT = SLOTS;
/** Read-only descriptors; nothing is copied from them, see ACCEPTED. */
export const READER_SLOTS = [SLOTS + 1, SLOTS + 2];

export function opens(slot: number, path: string, flags: number, mode = 0o644): Operation {
  return ['open', slot, path, flags | O.NONBLOCK, mode];
}

/** True for a slot that is only ever opened for reading. */
export function isReaderSlot(slot: Word | undefined): boolean {
  return READER_SLOTS.includes(Number(slot));
}

/** The operation without saying who does it. */
export function commandOf(operation: Operation): Operation {
  const [first, name, ...words] = operation;
  return first === OTHER ? [String(name), ...words] : operation;
}

export function showOperation(operation: Operation): string {
  const [name, ...words] = operation;
  return [name, ...words.map(encodeWord)].join(' ');
}
