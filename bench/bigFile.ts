/** Files with data. */
import { closeSync, mkdirSync, openSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';

export const MIB = 1024 * 1024;

/** Writes a file of `bytes`. No block of the file is like another, so that no store can fold them. */
export function writeBig(path: string, bytes: number): void {
  mkdirSync(dirname(path), { recursive: true });
  const block = Buffer.alloc(MIB);
  let state = 1;
  for (let at = 0; at < MIB; at += 4) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    block.writeUInt32LE(state, at);
  }
  const fd = openSync(path, 'w');
  for (let written = 0; written < bytes; written += MIB) {
    for (let at = 0; at < MIB; at += 4096) block.writeUInt32LE(written + at, at);
    writeSync(fd, block);
  }
  closeSync(fd);
}
