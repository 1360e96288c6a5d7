/**
 * podman and buildah in a mount namespace of their own, with `stratafs-eng` in /etc/passwd and /etc/subuid:
 * nothing of the machine's files changes, and the mounts have a host of their own. A script runs as root
 * or as that user, rootless.
 */
import {
  appendFile,
  chmod,
  chown,
  copyFile,
  mkdir,
  mkdtemp,
  rm,
  writeFile,
} from 'node:fs/promises';
import { containersConf } from './podman.js';
import { type Finished, run } from './run.js';
import { STRATAFS } from './union.js';

const USER = 64_124;
const FIRST = 700_000;

/** Words that a script has: the engines with a mount program each, and a listing of a tree. */
const WORDS = `
store() { case $1 in
  kernel) ;;
  fuse) echo "--storage-opt overlay.mount_program=$(command -v fuse-overlayfs)";;
  stratafs) echo "--storage-opt overlay.mount_program=$S";; esac; }
pod() { k=$1; shift; podman --root $STORE --runroot $RUNROOT --tmpdir $RUNROOT/t --storage-driver overlay $(store $k) "$@"; }
P() { pod stratafs "$@"; }
B() { buildah --root $STORE --runroot $RUNROOT --storage-driver overlay $(store stratafs) "$@"; }
tree() { (cd "$1"; find . -mindepth 1 \\( -type d -printf '%p d %m %U:%G\\n' -o -printf '%p %y %m %U:%G %s links=%n %l %T@\\n' \\) | sort
  find . -type f -exec sha256sum {} + | sort -k2; find . \\( -type f -o -type d \\) -exec getfattr -hd -m '^user' {} + 2>/dev/null | grep -v fuseoverlayfs || true); }
`;

export interface Place {
  readonly dir: string;
  /** Runs a bash script that stops at its first error; what it said, whatever its exit code. */
  script(who: 'root' | 'user', text: string): Promise<Finished>;
  remove(): Promise<void>;
}

export async function placeIn(dir: string): Promise<Place> {
  await mkdir(`${dir}/home`, { recursive: true });
  await chmod(dir, 0o755);
  await copyFile('/etc/passwd', `${dir}/passwd`);
  await appendFile(`${dir}/passwd`, `stratafs-eng:x:${USER}:${USER}::${dir}/home:/bin/sh\n`);
  await copyFile('/etc/group', `${dir}/group`);
  await appendFile(`${dir}/group`, `stratafs-eng:x:${USER}:\n`);
  await writeFile(`${dir}/subuid`, `stratafs-eng:${FIRST}:65536\ncontainers:1000000:1000000\n`);
  await writeFile(`${dir}/containers.conf`, await containersConf());
  // Short: it holds sockets.
  const runtime = await mkdtemp('/tmp/sfs-');
  for (const path of [runtime, `${dir}/home`]) await chown(path, USER, USER);
  const enter = `mount --make-rprivate /
for f in passwd group subuid; do mount --bind ${dir}/$f /etc/$f; done
[ -e /etc/subgid ] || : > /etc/subgid
mount --bind ${dir}/subuid /etc/subgid
# As udev makes it, where nobody has.
[ -e ${dir}/fuse ] || mknod -m 666 ${dir}/fuse c 10 229
chmod 666 ${dir}/fuse
mount --bind ${dir}/fuse /dev/fuse`;
  const asUser = `setpriv --reuid ${USER} --regid ${USER} --clear-groups`;
  const script: Place['script'] = (who, text) => {
    const home = who === 'user' ? `${dir}/home` : `${dir}/root`;
    const own = {
      HOME: home,
      XDG_RUNTIME_DIR: who === 'user' ? runtime : '/run',
      STORE: `${home}/st`,
      RUNROOT: who === 'user' ? `${runtime}/st` : `${dir}/run`,
      DIR: dir,
      S: STRATAFS,
      PATH: '/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin',
      CONTAINERS_CONF: `${dir}/containers.conf`,
      PODMAN_IGNORE_CGROUPSV1_WARNING: '1',
      LC_ALL: 'C.UTF-8',
    };
    const words = Object.entries(own).map(([key, value]) => `${key}=${value}`);
    const whole = `set -euo pipefail\n${WORDS}\n${text}`;
    const wrapped = `set -e\n${enter}\nexec ${who === 'user' ? asUser : ''} env -i "$@" bash -c "$0"`;
    return run('unshare', ['-m', 'sh', '-c', wrapped, whole, ...words], {
      cwd: dir,
      timeout: 120_000,
      mayFail: true,
    });
  };
  const remove = async (): Promise<void> => {
    // The last: the keeper of podman's user namespace.
    const ended = await script(
      'user',
      'P unshare rm -rf $STORE || true; kill $(cat $RUNROOT/t/pause.pid)',
    );
    if (ended.code !== 0) throw new Error(`podman's pause process stays: ${ended.stderr}`);
    await rm(runtime, { recursive: true, force: true });
    await rm(dir, { recursive: true, force: true });
  };
  await mkdir(`${dir}/root`, { recursive: true });
  return { dir, script, remove };
}
