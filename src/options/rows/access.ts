/** Who may use the mount. */
import { UserError } from '../../base/errno.js';
import * as kind from '../kinds.js';

export const access: kind.Rows = [
  kind.word(
    'allow_other',
    (into) => {
      into.allowOther = true;
    },
    {
      help: 'other users may enter; always so for root, needs user_allow_other in fuse.conf otherwise',
      docs: 'other users may enter; always so for root, needs `user_allow_other` in fuse.conf otherwise',
    },
  ),
  kind.word(
    'remount',
    () => {
      throw new UserError('option remount concerns a live mount: mount it first');
    },
    {
      usage: 'remount,ro|rw',
      help: 'change the flags of a live mount: ro, rw, nosuid, nodev, noexec and the like',
    },
  ),
  kind.ignored('default_permissions', {
    help: 'the kernel checks modes and ACLs; always so',
  }),
];
