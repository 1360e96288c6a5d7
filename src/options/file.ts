/** `-o optionsfile=FILE`: options that do not fit an argument (2,000 layers with long paths). */
import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs';
import { display } from '../base/bytes.js';
import { errnoText, UserError } from '../base/errno.js';
import { bytes, errnoOf } from '../sys/paths.js';
import { MAX_REQUEST } from '../wire/control.js';

/** As much as may come on the command line, over the host's socket. */
const MAX_SIZE = MAX_REQUEST;

/** The text of the file at `path`, as latin1. Throws UserError. */
export function readOptionsFile(path: string): string {
  let fd: number | undefined;
  try {
    // O_NONBLOCK: opening a FIFO must not keep the host waiting.
    fd = openSync(bytes(path), constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
    const info = fstatSync(fd);
    if (!info.isFile()) throw refused(path, 'is not a regular file: give one with options in it');
    if (info.size > MAX_SIZE) {
      throw refused(path, `is larger than ${MAX_SIZE >> 20} MiB: give one with options in it`);
    }
    const text = readFileSync(fd, 'latin1');
    if (text.includes('\0')) throw refused(path, 'has a NUL byte: give one with options in it');
    return text;
  } catch (error) {
    if (error instanceof UserError) throw error;
    throw refused(path, `cannot be read: ${errnoText(errnoOf(error))}`);
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

const refused = (path: string, what: string): UserError =>
  new UserError(`options file ${display(path)} ${what}`);
