/** Finds the memory files of arenas among this process's descriptors. */
import { readdirSync, readlinkSync } from 'node:fs';

function link(fd: string): string {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return ''; // the descriptor of the directory that is read
  }
}

/** Descriptors of the arenas that there are now. */
export const arenaFiles = (): number[] =>
  readdirSync('/proc/self/fd')
    .filter((fd) => link(fd).startsWith('/memfd:stratafs-arena'))
    .map(Number);
