/** Signals by name and number. */
import { constants } from 'node:os';
import { UserError } from '../../base/errno.js';

/** The number of `TERM`, `SIGTERM`, `15`, `RTMIN+3`. Throws UserError. */
export function signalNumber(text: string): number {
  const bare = text.toUpperCase().replace(/^SIG/, '');
  const rt = /^RTM(IN|AX)([+-]\d{1,2}|)$/.exec(bare);
  // SIGRTMIN and SIGRTMAX of glibc.
  if (rt) return (rt[1] === 'IN' ? 34 : 64) + Number(rt[2]);
  if (/^\d{1,2}$/.test(bare) && Number(bare) > 0 && Number(bare) <= 64) return Number(bare);
  const number = (constants.signals as Readonly<Record<string, number | undefined>>)[`SIG${bare}`];
  if (number === undefined) throw new UserError(`invalid signal: ${text}`);
  return number;
}
