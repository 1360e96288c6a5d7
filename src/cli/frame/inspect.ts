/** What `image inspect` and `layer inspect` share. */
import { UserError } from '../../base/errno.js';
import type { Flags } from './flags.js';
import { print, say } from './output.js';
import { inspectText } from './table.js';

export const INSPECT_FLAGS = {
  format: { kind: 'string', short: 'f', help: "'json' or a Go template" },
} as const satisfies Flags;

/** Prints what `inspect` tells of each name. As in Docker, what was found is printed, an empty list too. */
export function inspectAll(
  names: readonly string[],
  format: string | undefined,
  inspect: (name: string) => object,
): number {
  const found: object[] = [];
  const missing: string[] = [];
  for (const name of names) {
    try {
      found.push(inspect(name));
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      missing.push(error.message);
    }
  }
  print(inspectText(found, format));
  for (const message of missing) say(`stratafs: ${message}`);
  return missing.length === 0 ? 0 : 1;
}
