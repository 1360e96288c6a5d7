/** Processes by number and start time, which together name one process. */
import { readFileSync } from 'node:fs';
import { E } from '../../base/errno.js';
import { errnoOf } from '../../sys/paths.js';

/**
 * When a living process began, in clock ticks; undefined when there is none of this number, or a dead one
 * that nobody has waited for yet. (Field 22 of /proc/PID/stat, counted from behind the program's name.)
 */
export function startOf(pid: number): string | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'latin1');
  } catch (error) {
    errnoOf(error);
    return undefined;
  }
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19];
}

/** The process `pid` that began at `start` lives. */
export const isAlive = (pid: number, start: string): boolean =>
  pid > 0 && start !== '' && startOf(pid) === start;

/** kill(2), when it is still the same process; false when it is not. */
export function signalProcess(pid: number, start: string, signal: string | number): boolean {
  if (!isAlive(pid, start)) return false;
  try {
    process.kill(pid, signal);
    return true;
  } catch (error) {
    if (errnoOf(error) === E.ESRCH) return false;
    throw error;
  }
}
