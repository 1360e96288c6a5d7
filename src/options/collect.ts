/** Collects the options of one command line, each by itself. */
import { display } from '../base/bytes.js';
import { UserError } from '../base/errno.js';
import { type Collected, nothingSaid } from './collected.js';
import { allOptions } from './list.js';
import { nearest } from './nearest.js';
import { OPTION_TABLE, optionRow } from './table.js';

/** All that the `-o` lists say; throws UserError at the first option that is not understood. */
export function collect(
  lists: readonly string[],
  cwd: string,
  privileged: boolean,
  asFuseOverlayfs: boolean,
): Collected {
  const into = nothingSaid(privileged, asFuseOverlayfs);
  for (const [name, value] of allOptions(lists, cwd)) {
    const row = optionRow(name);
    if (!row) {
      const near = nearest(
        name,
        OPTION_TABLE.map((each) => each.name),
      );
      const hint =
        near === undefined ? 'see stratafs help mount for the list' : `did you mean ${near}?`;
      throw new UserError(`unknown option '${display(name)}': ${hint}`);
    }
    row.take(into, value, cwd);
  }
  return into;
}
