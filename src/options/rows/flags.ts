/** The flags of mount(2). */
import * as kind from '../kinds.js';
import { MS } from '../mountFlags.js';

const ATIME = MS.NOATIME | MS.RELATIME | MS.STRICTATIME;

export const flags: kind.Rows = [
  kind.flag('ro', MS.RDONLY, 0, {
    usage: 'ro, rw',
    help: 'read-only or read-write (default: rw with an upperdir)',
  }),
  kind.flag('rw', 0, MS.RDONLY),
  kind.flag('dev', 0, MS.NODEV, {
    usage: 'dev, nodev',
    help: 'honour device nodes, or not (default: dev for root)',
  }),
  kind.flag('nodev', MS.NODEV, 0),
  kind.flag('suid', 0, MS.NOSUID, {
    usage: 'suid, nosuid',
    help: 'honour set-user-ID bits, or not (default: suid for root)',
  }),
  kind.flag('nosuid', MS.NOSUID, 0),
  kind.flag('exec', 0, MS.NOEXEC, {
    usage: 'exec, noexec',
    help: 'let programs run, or not',
  }),
  kind.flag('noexec', MS.NOEXEC, 0),
  kind.flag('sync', MS.SYNCHRONOUS, 0, {
    usage: 'sync, async, dirsync',
    help: 'every write reaches the upper before it returns',
    docs: 'every write reaches the upper before it returns, or not, as mount(8) has them',
  }),
  kind.flag('async', 0, MS.SYNCHRONOUS),
  kind.flag('dirsync', MS.DIRSYNC, 0),
  kind.flag('atime', 0, MS.NOATIME, {
    usage: '[no]atime, [no]diratime, [no]relatime, strictatime, lazytime',
    help: "accepted and shown; access times are those of the layers' files: FUSE has the kernel update none, so strictatime changes nothing",
  }),
  kind.flag('noatime', MS.NOATIME, ATIME & ~MS.NOATIME),
  kind.flag('diratime', 0, MS.NODIRATIME),
  kind.flag('nodiratime', MS.NODIRATIME, 0),
  kind.flag('relatime', MS.RELATIME, ATIME & ~MS.RELATIME),
  kind.flag('norelatime', 0, MS.RELATIME),
  kind.flag('strictatime', MS.STRICTATIME, ATIME & ~MS.STRICTATIME),
  kind.flag('nostrictatime', 0, MS.STRICTATIME),
  kind.flag('lazytime', MS.LAZYTIME, 0),
  kind.flag('nolazytime', 0, MS.LAZYTIME),
];
