/** Runs a script inside a root directory, in mount and process namespaces of its own. */
import { bash, type Finished, type RunOptions } from './run.js';

/** What a package's scripts and a compiler expect of a root: /proc, a small /dev, a resolver. */
const PREPARE = `
mount -t proc proc "$ROOT/proc"
mount -t tmpfs -o mode=0755 dev "$ROOT/dev"
for node in null:3 zero:5 full:7 random:8 urandom:9; do mknod -m 666 "$ROOT/dev/\${node%:*}" c 1 "\${node#*:}"; done
mknod -m 666 "$ROOT/dev/tty" c 5 0
mkdir "$ROOT/dev/pts" "$ROOT/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$ROOT/dev/pts"
ln -s pts/ptmx "$ROOT/dev/ptmx"; ln -s /proc/self/fd "$ROOT/dev/fd"
[ ! -e "$ROOT/etc/resolv.conf" ] || mount --bind /etc/resolv.conf "$ROOT/etc/resolv.conf"
exec chroot "$ROOT" /bin/sh -euc "$SCRIPT"`;

/**
 * Runs `script` with /bin/sh of `root` as its root directory. The mounts below `root` are private
 * to it, and its processes all end with it.
 */
export function inRoot(root: string, script: string, options: RunOptions = {}): Promise<Finished> {
  const env = {
    PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    ...options.env,
    ROOT: root,
    SCRIPT: script,
    PREPARE,
  };
  return bash(
    'exec unshare --mount --propagation private --pid --fork --kill-child bash -euc "$PREPARE"',
    { ...options, env },
  );
}
