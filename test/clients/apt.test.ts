import { describe, expect, it } from 'vitest';
import { has } from '../support/needs.js';
import { inRoot } from './support/chroot.js';
import { differences, manifest, type Manifest } from './support/manifest.js';
import { APT_PACKAGE, debianLayers } from './support/rootfs.js';
import { MOUNTS, withUnion, type Driver } from './support/union.js';

/** What differs between two runs of the same installation: logs, and caches that hold times. */
const RUN_DEPENDENT =
  /^\/(var\/log|var\/cache\/ldconfig\/aux-cache|var\/cache\/apt\/(pkgcache|srcpkgcache)\.bin|var\/lib\/apt\/extended_states)/;

const SCRIPT = `
apt-get install -y --no-install-recommends ${APT_PACKAGE} </dev/null
dpkg --audit
dpkg --verify ${APT_PACKAGE}
git init -q /root/repo && cd /root/repo
git config user.email a@example && git config user.name a
echo one > f && git add f && git commit -q -m one && git status --porcelain && git fsck --full`;

async function install(driver: Driver, lowers: readonly string[]): Promise<Manifest> {
  return withUnion(driver, lowers, async (union) => {
    const { stdout } = await inRoot(union.mountpoint, SCRIPT, { timeout: 240_000 });
    expect(stdout).toContain(`Setting up ${APT_PACKAGE} `);
    const tree = await manifest(union.mountpoint, { times: false, without: RUN_DEPENDENT });
    expect(tree.has('/usr/bin/git')).toBe(true);
    return tree;
  });
}

describe.skipIf(
  !has({
    ...MOUNTS,
    kernelOverlay: true,
    programs: ['apt-get', 'debootstrap', 'unshare', 'getfattr'],
  }),
)('apt-get in a chroot on the mount', () => {
  it(`installs ${APT_PACKAGE} and leaves the tree that it leaves on kernel overlayfs`, async () => {
    const lowers = await debianLayers();
    const ours = await install('stratafs', lowers);
    const kernel = await install('kernel', lowers);
    // The repository's object names hold the commit's time.
    const stable = (tree: Manifest): Manifest =>
      new Map([...tree].filter(([path]) => !path.startsWith('/root/repo/.git')));
    expect(differences(stable(ours), stable(kernel))).toEqual([]);
  });
});
