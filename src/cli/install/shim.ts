/** A program that is called fuse-overlayfs and is ours, for who finds it by that name. */
import type { PlannedFile } from './files.js';
import { program } from './program.js';

const quoted = (path: string): string => `'${path.replaceAll("'", "'\\''")}'`;

/** A script: a link would have no mark by which it is known again. */
export const shim = (path: string): PlannedFile => ({
  path,
  mode: 0o755,
  content: `#!/bin/sh\nSTRATAFS_AS=fuse-overlayfs exec ${quoted(program())} "$@"\n`,
});
