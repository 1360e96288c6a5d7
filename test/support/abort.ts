/** Ends a FUSE connection from outside: whoever waits for its server gets ENOTCONN. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const CONNECTIONS = '/sys/fs/fuse/connections';

/**
 * Aborts the connection with this device minor (see mountDevice). Where the machine has not mounted
 * fusectl, it is mounted for a moment on a directory of our own.
 */
export function abortConnection(minor: number): void {
  if (existsSync(`${CONNECTIONS}/${minor}/abort`)) {
    writeFileSync(`${CONNECTIONS}/${minor}/abort`, '1');
    return;
  }
  const own = mkdtempSync(join(tmpdir(), 'stratafs-fusectl-'));
  execFileSync('mount', ['-t', 'fusectl', 'fusectl', own]);
  try {
    writeFileSync(`${own}/${minor}/abort`, '1');
  } finally {
    execFileSync('umount', ['-l', own]);
    rmdirSync(own);
  }
}
