/** containerd with our proxy snapshotter: each container's tree is what it is on kernel overlayfs. */
import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { has } from '../support/needs.js';
import { Containerd } from './support/containerd.js';
import { expectNothingLeft } from './support/leftovers.js';
import { differences, type Manifest, manifest } from './support/manifest.js';
import { busyboxTree, writeImage } from './support/ociImage.js';
import { debianLayers } from './support/rootfs.js';
import { bash, run } from './support/run.js';
import { MOUNTS, unmountBelow } from './support/union.js';

const PROGRAMS = ['containerd', 'ctr', 'runc', 'busybox', 'debootstrap'];
const IMAGE = 'docker.io/library/deb:1';
const SMALL = 'docker.io/library/small:1';
/** A second namespace. runc's directory is the machine's: another run may be going on. */
const OTHER = `other-${process.pid}`;
const SNAPSHOTTERS = ['overlayfs', 'stratafs'] as const;

/**
 * What a container does to its tree; no times but what it says. No change of a file with several names:
 * containerd's overlayfs has no index, and makes them several files.
 */
const CHANGE = `cd /; exec </dev/null
rm -r usr/share/common-licenses; mkdir usr/share/common-licenses; echo x > usr/share/common-licenses/x
mv odd/many odd/some; mv etc/profile etc/profile.old; ln etc/shells etc/shells-too
chmod 4711 usr/bin/getfattr 2>/dev/null || chmod 4711 bin/ls; chown 5:6 odd/suid; echo more >> etc/issue
rm -r usr/share/doc/acl; echo file > usr/share/doc/acl; mkdir -p new/dir; mkfifo new/fifo; ln -s x new/link
touch -d '2001-01-01 UTC' odd/some/1 new/dir`;

describe.skipIf(!has({ ...MOUNTS, kernelOverlay: true, programs: PROGRAMS }))(
  'containerd with the snapshotter',
  () => {
    let dir: string;
    let engine: Containerd;

    beforeAll(async () => {
      dir = await mkdtemp('/var/tmp/stratafs-clients-');
      // The root of a user namespace has to get at its container's root.
      chmodSync(dir, 0o711);
      const [changes, packages, base] = await debianLayers();
      await writeImage(`${dir}/deb.tar`, IMAGE, [
        { kind: 'union', layers: [base] },
        { kind: 'changes', upper: packages, lowers: [base] },
        { kind: 'changes', upper: changes, lowers: [packages, base] },
      ]);
      await busyboxTree(`${dir}/busybox`);
      await writeImage(`${dir}/small.tar`, SMALL, [{ kind: 'tree', root: `${dir}/busybox` }]);
      engine = await Containerd.start(`${dir}/engine`);
      for (const snapshotter of SNAPSHOTTERS) {
        await import_(snapshotter, 'deb.tar');
        await import_(snapshotter, 'small.tar');
      }
    }, 600_000);

    afterAll(async () => {
      try {
        await engine.stop();
        await unmountBelow(dir);
        await expectNothingLeft(dir);
      } finally {
        await unmountBelow(dir);
        await rm(dir, { recursive: true, force: true });
      }
    });

    const import_ = (snapshotter: string, file: string) =>
      engine.with(snapshotter)(['images', 'import', `${dir}/${file}`], { timeout: 300_000 });

    /** Runs a container to its end; it stays, with its snapshot. */
    const runOnce = async (
      snapshotter: string,
      name: string,
      script: string,
      image = IMAGE,
      flags: readonly string[] = [],
    ): Promise<string> => {
      const args = ['--snapshotter', snapshotter, ...flags, image, name, 'sh', '-euc', script];
      const { stdout } = await engine.ctr(['run', ...args]);
      return stdout.trim();
    };

    const remove = async (snapshotter: string, name: string): Promise<void> => {
      await engine.ctr(['containers', 'rm', name]);
      const { code } = await engine.with(snapshotter)(['snapshots', 'rm', name], { mayFail: true });
      // containers rm takes the snapshot along in some versions.
      expect([0, 1]).toContain(code);
    };

    /** What the snapshot `key` shows. */
    const treeOf = async (snapshotter: string, key: string): Promise<Manifest> => {
      const at = `${dir}/see`;
      mkdirSync(at, { recursive: true });
      const { stdout } = await engine.with(snapshotter)(['snapshots', 'mounts', at, key]);
      await bash(stdout);
      try {
        return await manifest(at, { without: /^\/(dev|proc|sys|etc\/resolv\.conf)\// });
      } finally {
        await run('umount', [at]);
      }
    };

    it('unpacks an image to the tree that overlayfs has of it', async () => {
      const trees: Manifest[] = [];
      for (const snapshotter of SNAPSHOTTERS) {
        const { stdout } = await engine.with(snapshotter)(['snapshots', 'ls']);
        const top = chainEnd(stdout);
        // Not a view: containerd's collector removes one that nobody refers to.
        await engine.with(snapshotter)(['snapshots', 'prepare', `look-${snapshotter}`, top]);
        trees.push(await treeOf(snapshotter, `look-${snapshotter}`));
        await engine.with(snapshotter)(['snapshots', 'rm', `look-${snapshotter}`]);
      }
      expect(trees[0].size).toBeGreaterThan(5000);
      // The image has no entry for its root: that one has the time of its unpacking.
      const [kernel, ours] = trees.map(
        (tree) => new Map([...tree].filter(([path]) => path !== '/')),
      );
      expect(differences(kernel, ours)).toEqual([]);
    });

    it('leaves a container the tree that it has on overlayfs', async () => {
      const trees: Manifest[] = [];
      for (const snapshotter of SNAPSHOTTERS) {
        await runOnce(snapshotter, `change-${snapshotter}`, CHANGE);
        trees.push(await treeOf(snapshotter, `change-${snapshotter}`));
      }
      const untimed = (tree: Manifest): Manifest =>
        new Map([...tree].map(([path, line]) => [path, line.replace(/ mtime=\d+/, '')]));
      expect(differences(untimed(trees[0]), untimed(trees[1]))).toEqual([]);
      const timed = (tree: Manifest): Manifest =>
        new Map(
          [...tree].filter(([path]) => /^\/(odd\/some\/1|new\/dir|usr\/bin\/.*)$/.test(path)),
        );
      expect(differences(timed(trees[0]), timed(trees[1]))).toEqual([]);
      for (const snapshotter of SNAPSHOTTERS) await remove(snapshotter, `change-${snapshotter}`);
    });

    it('makes the same layer of a container as overlayfs', async () => {
      const listings: string[] = [];
      for (const snapshotter of SNAPSHOTTERS) {
        const name = `diff-${snapshotter}`;
        await runOnce(snapshotter, name, CHANGE);
        const file = `${dir}/${name}.tar`;
        await bash(`ctr snapshots --snapshotter ${snapshotter} diff ${name} > ${file}`, {
          env: engine.environment,
          timeout: 120_000,
        });
        listings.push(await listing(file));
        await remove(snapshotter, name);
      }
      expect(listings[0].split('\n').length).toBeGreaterThan(20);
      expect(listings[1]).toBe(listings[0]);
    });

    it('keeps a container running while the snapshotter is killed and started again', async () => {
      await engine.ctr(['run', '-d', '--snapshotter', 'stratafs', SMALL, 'live', 'sleep', '1000']);
      const exec = async (id: string, script: string): Promise<string> =>
        (
          await engine.ctr(['task', 'exec', '--exec-id', id, 'live', 'sh', '-c', script])
        ).stdout.trim();
      expect(await exec('a', 'echo 1 > /x; rm /etc/opt/f1; cat /x')).toBe('1');
      await engine.endSnapshotter('SIGKILL');
      expect(await exec('b', 'echo 2 >> /x; cat /x; ls /etc/opt')).toBe(
        '1\n2\nf2\nf3\nf4\nf5\nsub',
      );
      await engine.restartSnapshotter();
      expect(engine.log).not.toContain('removed the mount');
      expect(await exec('c', 'cat /x')).toBe('1\n2');
      expect(await runOnce('stratafs', 'other', 'ls /etc/opt/f1', SMALL)).toBe('/etc/opt/f1');
      await engine.ctr(['task', 'kill', '-s', 'KILL', 'live']);
      await engine.ctr(['task', 'delete', 'live'], { mayFail: true });
      for (const name of ['live', 'other']) await remove('stratafs', name);
    });

    it('commits a snapshot, uses it, and removes all in the order that is right', async () => {
      const ctr = engine.with('stratafs');
      await runOnce('stratafs', 'base', 'echo base > /base', SMALL);
      await ctr(['snapshots', 'commit', 'layer', 'base']);
      await ctr(['snapshots', 'prepare', 'child', 'layer']);
      const { code, stderr } = await ctr(['snapshots', 'rm', 'layer'], { mayFail: true });
      expect(code).not.toBe(0);
      expect(stderr).toMatch(/cannot remove/);
      const { stdout } = await ctr(['snapshots', 'usage', 'layer']);
      expect(stdout).toContain('layer');
      expect((await treeOf('stratafs', 'child')).has('/base')).toBe(true);
      for (const key of ['child', 'layer']) await ctr(['snapshots', 'rm', key]);
      await engine.ctr(['containers', 'rm', 'base']);
    });

    it('shares layers between namespaces', async () => {
      const layers = async (): Promise<number> => {
        // Only layers have digests as names; the collector may be removing other snapshots.
        const { stdout } = await bash(
          `(grep -ls '"name":"[^"]*sha256' ${engine.root}/state/*.json || true) | wc -l`,
        );
        return Number(stdout);
      };
      const before = await layers();
      const args = [
        '-n',
        OTHER,
        'images',
        'import',
        '--snapshotter',
        'stratafs',
        `${dir}/small.tar`,
      ];
      await engine.ctr(args);
      // The label that tells a layer is set by containerd from 2.0 on.
      expect((await layers()) - before).toBe(engine.major >= 2 ? 0 : 1);
      const ran = [
        '-n',
        OTHER,
        'run',
        '--rm',
        '--snapshotter',
        'stratafs',
        SMALL,
        'x',
        'echo',
        'hi',
      ];
      expect((await engine.ctr(ran)).stdout).toBe('hi\n');
    });

    it('runs a container in a user namespace without a copy of the image', async () => {
      const { stdout: before } = await engine.with('stratafs')(['snapshots', 'ls']);
      const map = ['--uidmap', '0:200000:65536', '--gidmap', '0:200000:65536', '--remap-labels'];
      const script = 'id -u; stat -c %u /bin/busybox; echo x > /root/x; stat -c %u /root/x';
      expect(await runOnce('stratafs', 'mapped', script, SMALL, map)).toBe('0\n0\n0');
      // A copy would be a layer more.
      const { stdout: after } = await engine.with('stratafs')(['snapshots', 'ls']);
      const layers = (text: string): number => text.split('Committed').length;
      expect(layers(after)).toBe(layers(before));
      const upper = (await bash(`ls -d ${engine.root}/snapshots/*/fs/root/x`)).stdout.trim();
      expect(statSync(upper).uid).toBe(0);
      await remove('stratafs', 'mapped');
    });

    it('leaves no snapshot, mount or directory when images and containers go', async () => {
      for (const namespace of [OTHER, engine.namespace]) {
        const ctr = (...args: string[]) => engine.ctr(['-n', namespace, 'images', ...args]);
        const images = (await ctr('ls', '-q')).stdout.trim().split('\n');
        await ctr('rm', '--sync', ...images);
      }
      const names = (): string[] =>
        readdirSync(`${engine.root}/state`).map((file) =>
          readFileSync(`${engine.root}/state/${file}`, 'utf8'),
        );
      const left = (): string[] => [
        ...names(),
        ...['snapshots', 'trash'].flatMap((name) => readdirSync(`${engine.root}/${name}`)),
      ];
      // containerd's collector removes what nobody refers to, a moment later.
      await expect.poll(left, { timeout: 60_000, interval: 200 }).toEqual([]);
    });
  },
);

/**
 * What an archive says, without what two right ones may differ in: times, an entry for the root, which
 * name of a file is the link, and whether a directory is opaque or all in it is whited out.
 */
async function listing(file: string): Promise<string> {
  const awk =
    '{ if ($1 ~ /^h/) $1 = "-" substr($1, 2); $3 = $4 = $5 = ""; sub(/ link to .*/, ""); print }';
  const { stdout } = await bash(`tar -tvf ${file} --numeric-owner | awk '${awk}' | sort -k3`);
  const known = (line: string): boolean =>
    !/ \.\/$| usr\/share\/common-licenses\/\.wh\./.test(line);
  return stdout.split('\n').filter(known).join('\n');
}

/** The layer that is nobody's parent, of `ctr snapshots ls` with one large image. */
function chainEnd(listing: string): string {
  const rows = listing
    .trim()
    .split('\n')
    .slice(1)
    .map((line) => line.trim().split(/\s+/));
  const parents = new Set(rows.map((row) => (row.length === 3 ? row[1] : '')));
  const top = rows.find(
    ([key, parent, kind]) => kind === 'Committed' && parent && !parents.has(key),
  );
  if (!top) throw new Error(`no chain in\n${listing}`);
  return top[0];
}
