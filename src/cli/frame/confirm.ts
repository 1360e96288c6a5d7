/** Questions before something is removed. */
import { readSync } from 'node:fs';
import { print } from './output.js';

/** Asks `Are you sure you want to continue? [y/N]`; true for yes. The end of input is no. */
export function confirm(warning: string): boolean {
  print(`${warning}\nAre you sure you want to continue? [y/N] `);
  const byte = Buffer.alloc(1);
  let answer = '';
  for (;;) {
    try {
      if (readSync(0, byte, 0, 1, null) === 0 || byte[0] === 0x0a) break;
    } catch (error) {
      // A terminal that another program left in non-blocking mode.
      if ((error as NodeJS.ErrnoException).code === 'EAGAIN') continue;
      throw error;
    }
    answer += byte.toString('latin1');
  }
  return /^y$/i.test(answer.trim());
}
