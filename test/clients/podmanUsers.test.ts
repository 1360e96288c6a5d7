/**
 * podman and buildah where IDs are not what they are on disk: user namespaces, and containers of an ordinary
 * user. And stores that several drivers open: each must see what a container has written.
 */
import { chmod, mkdir, mkdtemp, readFile, rename, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { has } from '../support/needs.js';
import { expectNothingLeft } from './support/leftovers.js';
import { busyboxRoot } from './support/podman.js';
import { type Place, placeIn } from './support/podmanUser.js';
import { bash } from './support/run.js';
import { MOUNTS, unmountBelow } from './support/union.js';

const PROGRAMS = [
  ...['podman', 'buildah', 'runc', 'busybox', 'fuse-overlayfs', 'newuidmap'],
  ...['setpriv', 'unshare', 'getfattr'],
];
const needs = { ...MOUNTS, kernelOverlay: true, namespaces: true, programs: PROGRAMS };

/** What a container does: everything that leaves a mark in an upper. */
const CHANGE = `cd /; rm /etc/opt/f1; rm -r /srv/gone; rm -r /srv/anew; mkdir /srv/anew; echo fresh > /srv/anew/only
mv /srv/moved /srv/elsewhere; mv /etc/opt/f2 /etc/opt/renamed; echo more >> /srv/hard1; ln /etc/opt/f3 /etc/opt/linked
chmod 600 /etc/opt/f4; chown 5:6 /etc/opt/f5; rm -r /srv/file; echo now-a-file > /srv/file; ln -s nowhere /srv/link
mkdir -p /new/deep; echo deep > /new/deep/f; touch -d @1 /new/deep/f; mkfifo /new/fifo; chmod 1770 /srv/deep`;

describe.skipIf(!has(needs))('podman in user namespaces and for ordinary users', () => {
  let place: Place;
  const ok = async (who: 'root' | 'user', text: string): Promise<string> => {
    const { code, stdout, stderr } = await place.script(who, text);
    expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
    return stdout.trim();
  };

  beforeAll(async () => {
    place = await placeIn(await mkdtemp('/var/tmp/stratafs-clients-'));
    const { dir } = place;
    const tar = await busyboxRoot(dir);
    await bash(
      `mkdir ${dir}/rootfs; cd ${dir}/rootfs; tar -xf ${tar}
mkdir -p srv/gone/below srv/anew srv/moved/sub srv/file srv/deep; echo o > srv/anew/old; echo s > srv/moved/sub/s
echo h > srv/hard1; ln srv/hard1 srv/hard2; echo d > srv/deep/d; echo g > srv/gone/below/g
tar --numeric-owner -cf ${tar}.2 .`,
    );
    await rename(`${tar}.2`, `${dir}/image.tar`);
    for (const who of ['root', 'user'] as const) {
      await ok(who, 'P import -q --change CMD=/bin/sh $DIR/image.tar localhost/small:1');
    }
    await mkdir(`${dir}/data/open`, { recursive: true });
    await mkdir(`${dir}/data/sub`);
    for (const name of ['f', 'sub/g', 'open/w']) await writeFile(`${dir}/data/${name}`, 'root\n');
    await writeFile(`${dir}/data/secret`, 'secret\n', { mode: 0o600 });
    await writeFile(`${dir}/data/suid`, 'suid\n');
    await chmod(`${dir}/data/suid`, 0o4755);
    await chmod(`${dir}/data/open`, 0o1777);
    await chmod(`${dir}/data/open/w`, 0o666);
  });

  afterAll(async () => {
    const { dir } = place;
    try {
      for (const who of ['root', 'user'] as const) await place.script(who, 'P rm -fa -t 0');
    } finally {
      await place.remove();
      await expectNothingLeft(dir);
      await unmountBelow(dir);
    }
  });

  const SEEN = `stat -c '%u:%g %n' /etc/passwd /etc/mtab; echo x > /etc/y; stat -c '%u:%g %a' /etc/y
chmod 600 /etc/passwd; rm /etc/group; stat -c '%u:%g %a' /etc/passwd; test ! -e /etc/group`;
  const AS_ROOT = '0:0 /etc/passwd\n0:0 /etc/mtab\n0:0 644\n0:0 600';

  it.each([
    ['root', '--uidmap 0:100000:65536 --gidmap 0:100000:65536'],
    ['root', '--userns=auto --network none'],
    ['user', '--userns=nomap'],
    ['user', '--uidmap 0:1:5000 --gidmap 0:1:5000'],
  ] as const)('%s: a container with %s owns its image, and changes it', async (who, flags) => {
    expect(await ok(who, `P run --rm ${flags} localhost/small:1 sh -euc "${SEEN}"`)).toBe(AS_ROOT);
  });

  it('a user sees itself in a container with --userns=keep-id', async () => {
    const script = 'id -u; stat -c %u:%g /etc/passwd; echo x > /tmp/y; stat -c %u /tmp/y';
    expect(
      await ok('user', `P run --rm --userns=keep-id localhost/small:1 sh -euc "${script}"`),
    ).toBe('64124\n0:0\n64124');
  });

  it('podman cp brings a file into and out of a container with --uidmap', async () => {
    const told = await ok(
      'root',
      `P create -q --name copied --uidmap 0:100000:65536 --gidmap 0:100000:65536 localhost/small:1 sh -euc 'stat -c %u:%g /etc/opt/in; echo out > /root/out' >/dev/null
echo in > $DIR/in; P cp $DIR/in copied:/etc/opt/in; P start -a copied; P cp copied:/root/out $DIR/out; cat $DIR/out
P diff copied | sort`,
    );
    expect(told).toBe('0:0\nout\nA /etc/opt/in\nA /root/out\nC /etc\nC /etc/opt\nC /root');
  });

  it.each(['root', 'user'] as const)(
    '%s: buildah changes an image with --userns-uid-map, and a volume with :U',
    async (who) => {
      const first = who === 'root' ? 100_000 : 1;
      const told = await ok(
        who,
        `mkdir -p $HOME/vol; echo v > $HOME/vol/f
B from -q --name mapped --userns-uid-map 0:${first}:5000 --userns-gid-map 0:${first}:5000 localhost/small:1 >/dev/null
echo n > $HOME/n; B copy -q mapped $HOME/n /etc/opt/n >/dev/null; B commit -q mapped localhost/mapped:1 >/dev/null; B rm mapped >/dev/null
P run --rm localhost/mapped:1 stat -c %u:%g /etc/opt/n /etc/passwd
B from -q --name volumed --volume $HOME/vol:/v:U localhost/small:1 >/dev/null
B run --isolation chroot volumed sh -euc 'stat -c %u:%g /v/f; echo n > /v/n; echo m > /etc/m'; cat $HOME/vol/n; B rm volumed >/dev/null`,
      );
      expect(told).toBe('0:0\n0:0\n0:0\nn');
    },
  );

  /** The overflow user owns what the machine's root owns. */
  const OVERLAID = `stat -c %u:%g-%a f suid; echo a >> f; cat f; echo n > new; rm sub/g; echo o >> open/w; cat open/w
echo q > open/q; mv f moved; cat secret 2>/dev/null && echo seen; chmod 755 suid; chown 0:0 suid; stat -c %u:%g-%a suid`;
  const WAS_OVERLAID = '65534:65534-644\n65534:65534-755\nroot\na\nroot\no\n0:0-755';

  it('a user has a view of its own of a directory of root, as volume and as root file system', async () => {
    expect(
      await ok(
        'user',
        `P run --rm -v $DIR/data:/x:O localhost/small:1 sh -uc 'cd /x; ${OVERLAID}'`,
      ),
    ).toBe(WAS_OVERLAID);
    const change = `echo a >> /etc/passwd; rm /etc/group; echo n > /new; mv /srv/hard1 /srv/h; tail -n 1 /etc/passwd`;
    expect(await ok('user', `P run --rm --rootfs $DIR/rootfs:O sh -euc '${change}'`)).toBe('a');
    expect(await readFile(`${place.dir}/data/f`, 'utf8')).toBe('root\n');
  });

  it.each(['root', 'user'] as const)(
    '%s: a container whose host was killed is started again',
    async (who) => {
      const inside = who === 'user' ? 'P unshare' : '';
      const told = await ok(
        who,
        `P run -d --name struck localhost/small:1 sleep 1000 >/dev/null; P exec struck sh -c 'echo kept > /root/kept; sync'
${inside} "$S" mounts --json > $HOME/mounts; kill -9 $(tr ',{' '\\n\\n' < $HOME/mounts | sed -n 's/.*"pid": *\\([0-9]*\\).*/\\1/p' | head -n 1)
P exec struck true 2>/dev/null && echo alive; P stop -t 0 struck >/dev/null 2>&1 || true
P start struck >/dev/null; P exec struck cat /root/kept; P rm -f -t 0 struck >/dev/null`,
      );
      expect(told).toBe('kept');
    },
  );

  it('mountopts of fuse-overlayfs and of the kernel stop no container', async () => {
    const options =
      'nodev,metacopy=on,noatime,fsync=0,threaded=0,timeout=1,static_nlink,noxattrs=0';
    const run = `P --storage-opt overlay.mountopt=${options} run --rm localhost/small:1 cat /etc/opt/f1`;
    for (const who of ['root', 'user'] as const) expect(await ok(who, run)).toBe('1');
  });

  it.each(['root', 'user'] as const)(
    '%s: fuse-overlayfs and kernel overlayfs see what a container wrote',
    async (who) => {
      const inside = who === 'user' ? 'P unshare bash -c' : 'bash -c';
      const native = who === 'user' ? ',userxattr' : '';
      await ok(
        who,
        `P run --name written localhost/small:1 sh -euc '${CHANGE}'
export -f store pod P tree
${inside} 'set -eu; m=$(P mount written); tree $m > $HOME/ours; P umount written >/dev/null
m=$(pod fuse mount written); grep " $m " /proc/mounts > $HOME/mounted; tree $m > $HOME/theirs; pod fuse umount written >/dev/null
grep -q fuse.fuse-overlayfs $HOME/mounted
id=$(P inspect -f "{{.GraphDriver.Data.UpperDir}}" written); low=$(P inspect -f "{{.GraphDriver.Data.LowerDir}}" written)
mkdir -p $HOME/w $HOME/k; mount -t overlay -o lowerdir=$low,upperdir=$id,workdir=\${id%/diff}/work${native} x $HOME/k
tree $HOME/k > $HOME/kernels; umount $HOME/k'`,
      );
      const home = `${place.dir}/${who === 'user' ? 'home' : 'root'}`;
      const [ours, theirs, kernels] = await Promise.all(
        ['ours', 'theirs', 'kernels'].map((name) => readFile(`${home}/${name}`, 'latin1')),
      );
      expect(ours).toContain('./srv/elsewhere/sub/s f');
      // It counts the names that a file of the lower has left; kernel overlayfs, as stratafs, those on disk.
      const uncounted = (text = ''): string[] => text.replace(/ links=\d+/g, '').split('\n');
      expect(uncounted(theirs)).toEqual(uncounted(ours));
      expect(kernels.split('\n')).toEqual(ours.split('\n'));
    },
  );
});
