/**
 * Shell scripts about the resident host. Each runs in a mount namespace of its own, and so with hosts of its
 * own, which end with the namespace.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { expect } from 'vitest';
import { stratafsBinary } from './needs.js';
import { run } from './run.js';

/** Shell functions for the scripts. $S is the binary; all times are bounded. */
const PRELUDE = `
set -u
# A copy of somebody else's mount would keep it alive here. Such a mount may end meanwhile.
awk '/ - fuse.stratafs / { print $5 }' /proc/self/mountinfo | xargs -r -d '\\n' umount -l 2>/dev/null
host() { "$S" mounts --json | sed -n 's/.*"pid": \\([0-9]*\\).*/\\1/p' | sort -u; }
of() { "$S" mounts --json | awk -v m="$PWD/$1" -F'"' '$2 == "mountpoint" { p = $4 } $2 == "pid" && p == m' | tr -dc 0-9; }
live() { grep -c " $PWD/.* fuse.stratafs " /proc/self/mountinfo; }
gone() { i=0; while kill -0 "$1" 2>/dev/null; do i=$((i+1)); [ $i -lt 400 ] || return 1; sleep 0.05; done; }
quiet() { i=0; while [ -n "$("$S" mounts)" ]; do i=$((i+1)); [ $i -lt 100 ] || return 1; sleep 0.05; done; }
until_() { i=0; until eval "$1"; do i=$((i+1)); [ $i -lt 200 ] || return 1; sleep 0.05; done; }
finish() { for p in $(host); do kill -TERM "$p"; gone "$p"; done; }
trap finish EXIT
`;

/** Layers, uppers, workdirs and mount points below `base`. */
export function makeDirectories(base: string): void {
  for (const name of ['low', 'up', 'work', 'up2', 'work2', 'm1', 'm2', 'm3', 'm4']) {
    mkdirSync(join(base, name));
  }
  writeFileSync(join(base, 'low/hello'), 'hello\n');
}

/** Runs `body` in `base`; its exit status must be 0 and its stderr empty. Returns what it prints. */
export async function hostScript(
  base: string,
  body: string,
  env: NodeJS.ProcessEnv = {},
): Promise<string> {
  const command = ['-m', '--propagation', 'private', 'bash', '-c', PRELUDE + body];
  const { code, stdout, stderr } = await run('unshare', command, {
    cwd: base,
    env: { ...process.env, S: stratafsBinary(), STRATAFS_GRACE: '1', ...env },
    timeoutMs: 90_000,
  });
  expect([code, stderr]).toEqual([0, '']);
  return stdout;
}
