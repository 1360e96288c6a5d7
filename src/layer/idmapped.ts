/** Whether a directory is seen through an ID-mapped mount (mount_setattr(2)). */
import { readFileSync } from 'node:fs';
import { AT_FDCWD, O_DIRECTORY, O_PATH } from '../sys/constants.js';
import type { Sys } from '../sys/sys.js';

/** Words of mountinfo: the mount's number comes first, its own options are the sixth. */
const OPTIONS = 5;

/** False also where that cannot be told: whoever opens the layer meets why. */
export function isIdmapped(sys: Sys, path: string): boolean {
  const fd = sys.open(AT_FDCWD, path, O_PATH | O_DIRECTORY, 0, 0);
  if (fd < 0) return false;
  try {
    const told = /^mnt_id:\s*(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'));
    if (!told) return false;
    const rows = readFileSync('/proc/self/mountinfo', 'latin1').split('\n');
    const row = rows.find((line) => line.startsWith(`${told[1]} `));
    return row?.split(' ')[OPTIONS]?.split(',').includes('idmapped') ?? false;
  } finally {
    sys.native.close(fd);
  }
}
