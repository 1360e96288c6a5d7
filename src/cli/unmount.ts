/** `stratafs unmount`, which the launcher does by itself (native/launcher_unmount.cc). */
import { command } from './frame/command.js';
import { launch } from './mount.js';

export const unmount = command({
  usage: 'unmount [OPTIONS] MNT',
  about: 'Unmount a union and wait until its host has let go of the layers',
  flags: {
    lazy: { kind: 'bool', short: 'l', help: 'Detach the mount also when something uses it' },
  },
  args: [1, 1],
  plain: true,
  notes: ['umount(8) and fusermount3 -u unmount it too; they do not wait for the host.'],
  run: ({ values, rawArgs }) =>
    Promise.resolve(launch(['unmount', ...(values.lazy ? ['--lazy'] : []), ...rawArgs])),
});
