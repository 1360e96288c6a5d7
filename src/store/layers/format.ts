/** In what form this user's layers lie on the disk, and whose files they hold. */
import { administersMachine, uidMap } from '../../sys/userns.js';

interface LayerFormat {
  /**
   * Marks of overlay are `user.overlay.*` xattrs: only who administers the machine may set
   * `trusted.*` ones. A mount of these layers then takes the option `userxattr`.
   */
  readonly userxattr: boolean;
  /** This user has one ID only (no /etc/subuid): every file becomes the user's own. */
  readonly ignoreOwners: boolean;
}

export function layerFormat(): LayerFormat {
  const ids = uidMap().reduce((sum, { count }) => sum + count, 0);
  return { userxattr: !administersMachine(), ignoreOwners: ids <= 1 };
}
