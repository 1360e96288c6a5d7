/** What concerns the entry in the mount table, and words of mount(8). */
import * as kind from '../kinds.js';
import { MS } from '../mountFlags.js';

export const mounting: kind.Rows = [
  kind.label('context', {
    usage: 'context=LABEL, fscontext=, defcontext=, rootcontext=',
    help: 'SELinux labels for mount(2)',
    docs: 'SELinux labels for mount(2); refused without SELinux',
  }),
  kind.label('fscontext'),
  kind.label('defcontext'),
  kind.label('rootcontext'),
  kind.text(
    'fsname',
    (into, value) => {
      into.source = value;
    },
    { usage: 'fsname=NAME', help: 'the source shown in the mount table' },
  ),
  kind.propagation('private', MS.PRIVATE, {
    usage: '[r]private, [r]slave, [r]shared, [r]unbindable',
    help: 'mount propagation',
  }),
  kind.propagation('rprivate', MS.PRIVATE | MS.REC),
  kind.propagation('slave', MS.SLAVE),
  kind.propagation('rslave', MS.SLAVE | MS.REC),
  kind.propagation('shared', MS.SHARED),
  kind.propagation('rshared', MS.SHARED | MS.REC),
  kind.propagation('unbindable', MS.UNBINDABLE),
  kind.propagation('runbindable', MS.UNBINDABLE | MS.REC),
  kind.ignored('defaults', {
    usage: 'defaults, auto, nofail, user, _netdev, x-*, comment=, subtype=, ...',
    help: "mount(8)'s own words; accepted, without effect",
  }),
  ...['auto', 'noauto', 'nofail', 'user', 'nouser', 'users', 'nousers', 'owner', 'noowner'].map(
    (name) => kind.ignored(name),
  ),
  ...['group', 'nogroup', '_netdev', 'comment', 'subtype'].map((name) => kind.ignored(name)),
];
