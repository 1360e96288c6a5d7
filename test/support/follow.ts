import { mkdirSync } from 'node:fs';
import { join } from 'node:path';

/** From now on this test file's mounts have a host of their own, which follows its clients. */
export function followed(directory: string): void {
  const runtime = join(directory, 'runtime');
  mkdirSync(runtime, { mode: 0o700 });
  process.env['XDG_RUNTIME_DIR'] = runtime;
  process.env['STRATAFS_FOLLOW'] = '1';
}
