/** `--user`: names and numbers, by /etc/passwd and /etc/group of the container's root. */
import { UserError } from '../../base/errno.js';
import { readInside } from './inside.js';

export interface ProcessUser {
  readonly uid: number;
  readonly gid: number;
  readonly additionalGids: readonly number[];
  readonly home: string;
}

const MAX_ID = 2 ** 32 - 2;

const isNumber = (text: string): boolean => /^\d{1,10}$/.test(text) && Number(text) <= MAX_ID;

const fieldsOf = (text: string): (string | undefined)[][] =>
  text
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => line.split(':'));

function groupNumber(groups: readonly (readonly (string | undefined)[])[], text: string): number {
  const found = groups.find(([name]) => name === text);
  if (found && isNumber(found[2] ?? '')) return Number(found[2]);
  if (isNumber(text)) return Number(text);
  throw new UserError(`unable to find group ${text}: no matching entries in group file`);
}

/**
 * The user that `text` (`USER[:GROUP]`, names or numbers, '' for root) means in `root`, with `more`
 * groups. Throws UserError.
 */
export function resolveUser(root: string, text: string, more: readonly string[] = []): ProcessUser {
  const [name = '', group = ''] = text.split(':');
  const wanted = name === '' ? '0' : name;
  const users = fieldsOf(readInside(root, 'etc/passwd'));
  const groups = fieldsOf(readInside(root, 'etc/group'));
  const entry =
    users.find(([each]) => each === wanted) ??
    (isNumber(wanted)
      ? users.find(([, , uid]) => isNumber(uid ?? '') && Number(uid) === Number(wanted))
      : undefined);
  if (!entry && !isNumber(wanted)) {
    throw new UserError(`unable to find user ${wanted}: no matching entries in passwd file`);
  }
  const uid = entry && isNumber(entry[2] ?? '') ? Number(entry[2]) : Number(wanted);
  if (Number.isNaN(uid)) throw new UserError(`user ${wanted} has no number in the passwd file`);
  const primary = entry && isNumber(entry[3] ?? '') ? Number(entry[3]) : 0;
  const gid = group === '' ? primary : groupNumber(groups, group);
  // The groups of the user's, unless one group was asked for.
  const own =
    group === '' && entry
      ? groups
          .filter(([, , number, members]) => {
            return isNumber(number ?? '') && (members ?? '').split(',').includes(entry[0] ?? '');
          })
          .map(([, , number]) => Number(number))
      : [];
  const added = more.map((each) => groupNumber(groups, each));
  const additionalGids = [...new Set([...own, ...added])].filter((each) => each !== gid);
  return { uid, gid, additionalGids: [gid, ...additionalGids], home: entry?.[5] || '/' };
}
