/**
 * All mount options, one row each: name, kind, effect, help. The rows are in rows/, by subject. The parser,
 * `stratafs help mount`, the manual and docs/options.md (compared by a test) are driven by them.
 *
 * To add an option, add a row there. Its effect is a field of `Collected`; plan.ts decides what follows.
 */
import * as kind from './kinds.js';
import { access } from './rows/access.js';
import { data } from './rows/data.js';
import { flags } from './rows/flags.js';
import { foreign } from './rows/foreign.js';
import { format } from './rows/format.js';
import { layers } from './rows/layers.js';
import { mounting } from './rows/mounting.js';
import { owners } from './rows/owners.js';

export const OPTION_TABLE: kind.Rows = [
  ...layers,
  ...flags,
  ...access,
  ...data,
  ...format,
  ...owners,
  ...mounting,
  ...foreign,
];

const byName = new Map(OPTION_TABLE.map((row) => [row.name, row]));

/** The row of an option, or undefined for what nobody knows. `x-` and `X-` words belong to mount(8). */
export function optionRow(name: string): kind.OptionRow | undefined {
  return /^x-/i.test(name) ? kind.ignored(name) : byName.get(name);
}
