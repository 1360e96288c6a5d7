/**
 * The Debian packages, in a bare Debian 12: installed with what they depend on, mounted by mount(8)
 * through fstab and by an ordinary user, removed without a trace.
 */
import { cp, mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { has } from '../support/needs.js';
import { REPOSITORY } from '../support/root.js';
import { inRoot } from './support/chroot.js';
import { debianLayers } from './support/rootfs.js';
import { run } from './support/run.js';
import { MOUNTS, mountUnion, unmount, withScratch } from './support/union.js';

const MINUTE = 60_000;
/** The private Node is 50 MB to fetch and a minute to compress: made once for a machine. */
const CACHE = '/var/cache/stratafs-test/deb';

/** Everything of the system but what dpkg, apt and useradd note anyway. */
const LIST = `list() {
  find / -xdev -path /proc -prune -o -path /dev -prune -o -path /tmp -prune -o -path /debs -prune \\
    -o -path /var/lib/dpkg -prune -o -path /var/lib/apt -prune -o -path /var/log -prune \\
    -o -path /var/cache -prune -o -path '/etc/*-' -o -printf '%p %y %m %u %l\\n' | sort > "/tmp/$1"
}`;

const INSTALL = `
# As systemd makes it at boot; fusermount3 -u reads it.
ln -s ../proc/self/mounts /etc/mtab
apt-get -qq update
apt-get -qq install -y --no-install-recommends fuse3 libstdc++6 >/dev/null
list before
apt-get -qq install -y --no-install-recommends /debs/*.deb >/dev/null
! command -v node`;

const FSTAB = `
mknod -m 666 /dev/fuse c 10 229
mkdir -p /l/low /l/up /l/work /merged; echo hello > /l/low/f
echo 'stratafs /merged fuse.stratafs lowerdir=/l/low,upperdir=/l/up,workdir=/l/work 0 0' >> /etc/fstab
export STRATAFS_GRACE=0
mount /merged
cat /merged/f; echo more > /merged/g
stratafs mounts | grep -c /merged
umount /merged
cat /l/up/g`;

const USER = `
useradd --create-home somebody
su somebody -c 'cd; mkdir low mnt run; chmod 700 run; echo mine > low/f; export XDG_RUNTIME_DIR=$HOME/run
  stratafs -o lowerdir=low mnt && cat mnt/f && stratafs unmount mnt'
# 8: a process of the user runs, the host that is ending.
until userdel --remove somebody 2>/dev/null || [ $? -ne 8 ]; do sleep 0.1; done`;

/** A mount outlives the package: its host has what it needs. */
const PURGE = `
mount /merged
apt-get -qq purge -y stratafs stratafs-node >/dev/null
[ ! -e /usr/lib/stratafs ]; cat /merged/f; echo late > /merged/late; rm /merged/f; umount /merged; cat /l/up/late
# The host ends when its last mount has; it removes its socket itself.
for try in $(seq 100); do [ -e /run/stratafs ] || break; rmdir /run/stratafs 2>/dev/null || sleep 0.1; done
rm -rf /l /merged; sed -i /stratafs/d /etc/fstab
list after
diff /tmp/before /tmp/after && echo no trace`;

describe.skipIf(
  !has({ ...MOUNTS, kernelOverlay: true, programs: ['debootstrap', 'dpkg-deb', 'g++'] }),
)('the Debian packages', () => {
  it(
    'bring all that a bare Debian 12 lacks, mount through fstab, and leave nothing',
    () =>
      withScratch(async (dir) => {
        const debs = await makePackages(join(dir, 'packages'));
        const base = (await debianLayers()).at(-1) ?? '';
        await mkdir(join(dir, 'root'));
        const union = await mountUnion('kernel', [base], join(dir, 'root'));
        try {
          await mkdir(join(union.mountpoint, 'debs'));
          for (const deb of debs)
            await cp(deb, join(union.mountpoint, 'debs', deb.replace(/.*\//, '')));
          const script = [LIST, INSTALL, FSTAB, USER, PURGE].join('\n');
          const { stdout } = await inRoot(union.mountpoint, script, { timeout: 5 * MINUTE });
          expect(stdout).toBe('hello\n1\nmore\nmine\nhello\nlate\nno trace\n');
        } finally {
          await unmount(union);
        }
      }),
    15 * MINUTE,
  );
});

/** The paths of both packages. */
async function makePackages(to: string): Promise<string[]> {
  await mkdir(CACHE, { recursive: true });
  const env = { STRATAFS_PACKAGES: to, STRATAFS_PACKAGE_CACHE: CACHE };
  const make = (...words: string[]) =>
    run(process.execPath, ['packaging/package.js', ...words, process.arch], {
      cwd: REPOSITORY,
      env,
      timeout: 8 * MINUTE,
    });
  await mkdir(to);
  await make('deb');
  const named = async (where: string): Promise<string | undefined> =>
    (await readdir(where)).find((name) => /^stratafs-node_.*\.deb$/.test(name));
  let node = await named(CACHE);
  if (node === undefined) {
    await make('node');
    node = (await named(to)) ?? '';
    await cp(join(to, node), join(CACHE, node));
  }
  const ours = (await readdir(to)).filter((name) => /^stratafs_.*\.deb$/.test(name));
  return [...ours.map((name) => join(to, name)), join(CACHE, node)];
}
