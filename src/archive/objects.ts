/** Reads from an object on disk what goes into an archive. */
import { errnoText, UserError } from '../base/errno.js';
import { encodeName } from '../layer/override.js';
import { noXattr } from '../layer/absence.js';
import { toClient } from '../layer/xattrs.js';
import { type Sys, XATTR_LIST, XATTR_MAX } from '../sys/sys.js';
import { shown } from './limits.js';

export type Xattrs = ReadonlyMap<string, string>;
const NONE: Xattrs = new Map();

/**
 * The xattrs of `name` in `dir` under the names that clients see. `prefix`: of the marks of the layer,
 * which are left out; "" in a tree that is none, where every name stands for itself.
 */
export function readXattrs(
  sys: Sys,
  dir: number,
  name: string,
  prefix: string,
  wants: (key: string) => boolean = () => true,
): Xattrs {
  const bytes = sys.native.listxattr(dir, name, XATTR_LIST, XATTR_MAX);
  if (bytes === 0 || noXattr(bytes)) return NONE;
  if (bytes < 0)
    throw new UserError(`cannot list the xattrs of ${shown(name)}: ${errnoText(bytes)}`);
  const xattrs = new Map<string, string>();
  for (const key of sys.text(XATTR_LIST, bytes - 1).split('\0')) {
    const client = prefix === '' ? key : clientName(key, prefix);
    if (client === undefined || !wants(client)) continue;
    const value = sys.xattr(dir, name, key);
    if (typeof value === 'string') xattrs.set(client, value);
    // It went meanwhile.
    else if (!noXattr(value)) {
      throw new UserError(`cannot read xattr ${shown(key)} of ${shown(name)}: ${errnoText(value)}`);
    }
  }
  return xattrs;
}

const clientName = (key: string, prefix: string): string | undefined =>
  typeof encodeName(undefined, key) === 'string' ? toClient(key, prefix) : undefined;
