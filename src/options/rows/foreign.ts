/** What fuse-overlayfs takes, and libfuse for it. */
import * as kind from '../kinds.js';

export const foreign: kind.Rows = [
  kind.foreign('threaded', {
    usage: 'threaded=, timeout=, fast_ino=, noxattrs=, static_nlink, ino32_t, max_write=, ...',
    help: "fuse-overlayfs's and libfuse's own options; accepted, without effect, and noted in the host's log",
    docs:
      "fuse-overlayfs's and libfuse's own options (also `plugins=`, `max_read=`, `max_idle_threads=`, " +
      '`max_threads=`, `clone_fd`, `kernel_cache`, `auto_cache`, `noauto_cache`, `use_ino`, `readdir_ino`, ' +
      '`attr_timeout=`, `entry_timeout=`, `negative_timeout=`, `ac_attr_timeout=`, `umask=`, `uid=`, `gid=`, ' +
      '`nonempty`, `allow_root`, `auto_unmount`, `big_writes`, `hard_remove`, `intr`, `direct_io`, `congestion_threshold=`, ' +
      "`max_background=`); accepted, without effect, and noted in the host's log",
  }),
  ...['timeout', 'fast_ino', 'noxattrs', 'static_nlink', 'ino32_t', 'max_write', 'plugins'].map(
    (name) => kind.foreign(name),
  ),
  ...['max_read', 'max_idle_threads', 'max_threads', 'clone_fd', 'kernel_cache', 'auto_cache'].map(
    (name) => kind.foreign(name),
  ),
  ...['noauto_cache', 'use_ino', 'readdir_ino', 'attr_timeout', 'entry_timeout', 'umask'].map(
    (name) => kind.foreign(name),
  ),
  ...['negative_timeout', 'ac_attr_timeout', 'uid', 'gid', 'nonempty', 'allow_root'].map((name) =>
    kind.foreign(name),
  ),
  ...['auto_unmount', 'big_writes', 'hard_remove', 'intr', 'direct_io', 'max_background'].map(
    (name) => kind.foreign(name),
  ),
  kind.foreign('congestion_threshold'),
];
