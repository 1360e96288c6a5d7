/**
 * A Debian root file system as three real layers: `base` (debootstrap), `packages` (apt-get install
 * on top of it) and `changes` (deletions and replacements: whiteouts, opaque directories, type
 * changes). Kernel overlayfs writes the upper two, so they are in its format to the letter. Made
 * once and kept below /var/cache/stratafs-test.
 */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { inRoot } from './chroot.js';
import { bash, run } from './run.js';
import { mountUnion, unmount, unmountBelow } from './union.js';

const CACHE = '/var/cache/stratafs-test';
const SUITE = 'bookworm';

/** The package that the apt test installs; its archives are fetched beforehand, so the test needs no network. */
export const APT_PACKAGE = 'git';

const INSTALL = `
apt-get -qq update
apt-get -qq install -y --no-install-recommends acl busybox-static iputils-ping python3-minimal >/dev/null
apt-get -qq clean
apt-get -qq install -y --no-install-recommends --download-only ${APT_PACKAGE} >/dev/null`;

const CHANGE = `
# whiteouts: one file of the base, one of the packages, a directory with all in it
rm usr/share/doc/bash/copyright usr/bin/getfacl; rm -r usr/share/doc/coreutils
# opaque directories: populated below, made anew here; one of them nested in a new directory
rm -r usr/share/common-licenses; mkdir usr/share/common-licenses; echo fresh > usr/share/common-licenses/FRESH
rm -r usr/share/doc/acl; mkdir -p usr/share/doc/acl/nested; echo deep > usr/share/doc/acl/nested/file
# type changes: directory to file, file to directory
rm -r usr/share/bug; echo was-a-directory > usr/share/bug
rm etc/issue.net; mkdir etc/issue.net; echo inside > etc/issue.net/inner
# a lower file renamed, a lower file with one more name
mv etc/debian_version etc/debian_version.renamed; ln usr/bin/tail usr/bin/tail-too
# metadata only
chmod 0600 etc/issue; chown 1000:1001 etc/shells; touch -d '1999-12-31 23:59:58.123456789 UTC' etc/profile
mkdir odd; cd odd
echo hl > h1; ln h1 h2; ln h1 h3; ln -s nowhere dangling; ln -s /etc/passwd absolute
echo s > suid; chmod 4755 suid; echo g > sgid; chmod 2755 sgid; mkdir sticky; chmod 1777 sticky
echo n > mode0; chmod 0 mode0; echo n > nobody; chown 65534:65534 nobody
mkfifo fifo; mknod cdev c 1 3; mknod bdev b 7 99
setfattr -n user.note -v hello suid; setfattr -n user.bin -v 0x0001fe h1
setfacl -m u:1000:rwx,g:1001:r h1; setfacl -d -m u:1000:rwx sticky
cp ../usr/bin/cat capcat; setfattr -n security.capability -v 0x0100000202040000000000000000000000000000 capcat
truncate -s 8M sparse; printf end >> sparse; head -c 1048577 /dev/zero | tr '\\0' x > big; : > empty
echo sp > 'a b	c'; printf x > $'new\\nline'; printf x > $'latin\\xe9'; echo l > "$(printf 'm%.0s' $(seq 255))"
mkdir many; (cd many; seq 500 | xargs touch)`;

/** The three layers, topmost first; made on the first call on a machine (about a minute). */
export async function debianLayers(): Promise<string[]> {
  const key = createHash('sha256')
    .update(SUITE + INSTALL + CHANGE)
    .digest('hex')
    .slice(0, 12);
  const home = `${CACHE}/rootfs-${key}`;
  if (!existsSync(home)) await make(home);
  return ['changes', 'packages', 'base'].map((name) => `${home}/${name}`);
}

/** Makes the layers beside their place and moves them there when all three are complete. */
async function make(home: string): Promise<void> {
  await mkdir(CACHE, { recursive: true });
  const dir = await mkdtemp(`${CACHE}/making-`);
  try {
    const base = `${dir}/base`;
    await run('debootstrap', ['--variant=minbase', SUITE, base, await mirror()], {
      timeout: 300_000,
      env: { PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin` },
    });
    // debootstrap copied this machine's resolver; a chroot gets it by a bind mount instead.
    await writeFile(`${base}/etc/resolv.conf`, '');
    await layer(dir, 'packages', [base], (root) => inRoot(root, INSTALL, { timeout: 300_000 }));
    await layer(dir, 'changes', [`${dir}/packages`, base], (root) => bash(CHANGE, { cwd: root }));
    // Another run may have been first; its layers are as good.
    await rename(dir, home).catch((error: unknown) => {
      if (!existsSync(home)) throw error;
    });
  } finally {
    await unmountBelow(dir);
    await rm(dir, { recursive: true, force: true });
  }
}

/** Runs `change` in a kernel overlayfs over `lowers` and keeps its upper as the layer `name`. */
async function layer(
  dir: string,
  name: string,
  lowers: string[],
  change: (root: string) => Promise<unknown>,
): Promise<void> {
  const union = await mountUnion('kernel', lowers, `${dir}/tmp`);
  await change(union.mountpoint);
  await unmount(union);
  await rename(union.upper, `${dir}/${name}`);
  await rm(`${dir}/tmp`, { recursive: true });
}

/** The mirror that this machine's apt uses for Debian, else Debian's own address. */
async function mirror(): Promise<string> {
  const format = '$(ORIGIN) $(SUITE) $(CODENAME) $(SITE)';
  const { stdout } = await run('apt-get', ['indextargets', '--format', format], { mayFail: true });
  const line = stdout.split('\n').find((l) => l.startsWith('Debian ') && l.includes(` ${SUITE} `));
  return line?.split(' ').at(-1) ?? 'http://deb.debian.org/debian';
}
