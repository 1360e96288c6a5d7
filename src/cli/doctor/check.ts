/** One thing that the doctor looks at. */
import { readFileSync } from 'node:fs';

/**
 * `ok`: as it should be. `note`: something is not there, and most do without. `warn`: something that
 * people use does not work. `fail`: nothing can be mounted, or the directory cannot be an upper.
 */
export type State = 'ok' | 'note' | 'warn' | 'fail';

export interface Check {
  /** Stays the same over versions, for scripts: `passthrough`. */
  readonly id: string;
  readonly state: State;
  /** What was found. */
  readonly found: string;
  /** What that means; absent where all is well. */
  readonly means?: string;
  /** What to change. */
  readonly cure?: string;
}

export const ok = (id: string, found: string): Check => ({ id, state: 'ok', found });

export const check = (
  id: string,
  state: State,
  found: string,
  means: string,
  cure?: string,
): Check => ({ id, state, found, means, ...(cure === undefined ? {} : { cure }) });

/** The text of a file of /proc, /sys or /etc without the last newline; undefined when it cannot be read. */
export function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trimEnd();
  } catch {
    return undefined;
  }
}
