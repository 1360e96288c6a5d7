/** A store of its own for tests, driven through the binary, and images made by buildah without a registry. */
import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { stratafsBinary } from '../../support/needs.js';
import { bash, run, type Finished, type RunOptions } from './run.js';

export interface TestStore {
  /** A scratch directory; the store is `root` in it. */
  readonly dir: string;
  readonly root: string;
  readonly env: Readonly<Record<string, string>>;
  /** Runs `stratafs ARGS`; rejects when it fails. Resolves with stdout, trimmed. */
  ok(...args: string[]): Promise<string>;
  /** The same, and never rejects. */
  run(args: readonly string[], options?: RunOptions): Promise<Finished>;
  remove(): Promise<void>;
}

export async function testStore(): Promise<TestStore> {
  const dir = await mkdtemp('/var/tmp/stratafs-clients-store-');
  const root = `${dir}/root`;
  const env = { STRATAFS_ROOT: root };
  const all = (args: readonly string[], options: RunOptions = {}): Promise<Finished> =>
    run(stratafsBinary(), args, { timeout: 300_000, mayFail: true, ...options, env });
  return {
    dir,
    root,
    env,
    async ok(...args) {
      const { code, stdout, stderr } = await all(args);
      if (code !== 0) throw new Error(`stratafs ${args.join(' ')} ended with ${code}: ${stderr}`);
      return stdout.trim();
    },
    run: all,
    remove: () => rm(dir, { recursive: true, force: true }),
  };
}

/**
 * Two images in `DIR/NAME.oci` (an OCI layout) and `DIR/NAME.tar` (a docker-archive): `base` is busybox,
 * `app` lies on it, with a deletion, an opaque directory, a replaced file, links, modes, owners, devices,
 * xattrs and odd names.
 */
export async function makeImages(dir: string): Promise<void> {
  const buildah = `buildah --root ${dir}/bs --runroot ${dir}/br --storage-driver vfs`;
  await bash(
    `set -eu; B="${buildah}"; export BUILDAH_ISOLATION=chroot
c=$($B from scratch); m=$($B mount $c)
mkdir -p $m/bin $m/etc/old $m/tmp $m/proc $m/sys $m/dev $m/data; chmod 1777 $m/tmp
install -m755 /bin/busybox $m/bin/busybox
for a in sh ls cat echo true sleep rm mkdir; do ln -s busybox $m/bin/$a; done
echo root:x:0:0::/root:/bin/sh > $m/etc/passwd; echo old > $m/etc/old/a; echo one > $m/etc/one
for i in $(seq 200); do echo $i > $m/data/f$i; done
$B umount $c >/dev/null; $B config --env PATH=/bin --cmd /bin/sh --label who=base $c
$B commit --rm -q $c localhost/base:1 >/dev/null
c=$($B from localhost/base:1); m=$($B mount $c)
rm $m/data/f1 $m/data/f2; rm -r $m/etc/old; mkdir $m/etc/old; echo new > $m/etc/old/b; echo two > $m/etc/one
mkdir $m/t; cd $m/t
echo h > h1; ln h1 h2; ln -s ../etc/passwd rel; ln -s nowhere dangling
echo s > suid; chmod 4755 suid; echo n > none; chmod 0 none; echo o > owned; chown 1000:1001 owned
echo x > xa; setfattr -n user.bin -v 0x0001fe xa; cp ../bin/busybox cap
setfattr -n security.capability -v 0x0100000202040000000000000000000000000000 cap
mkfifo fifo; mknod null c 1 3; truncate -s 8M sparse; echo end >> sparse
echo u > 'ünï-日本'; printf 'l' > "$(printf 'new\\nline')"; printf b > "$(printf '\\377\\376')"
touch -d '1999-12-31 23:59:58 UTC' h1
cd /; $B umount $c >/dev/null; $B config --cmd '["/bin/cat","/etc/one"]' --port 80 --workingdir /t $c
$B commit --rm -q $c localhost/app:1 >/dev/null
for i in base app; do
$B push -q localhost/$i:1 oci:${dir}/$i.oci:1 >/dev/null
$B push -q localhost/$i:1 docker-archive:${dir}/$i.tar:localhost/$i:1 >/dev/null
done; $B rmi -fa >/dev/null; rm -rf ${dir}/bs ${dir}/br`,
    { timeout: 300_000 },
  );
}

export interface Registry {
  /** `127.0.0.1:PORT`. */
  readonly host: string;
  stop(): Promise<void>;
}

/** Debian's docker-registry on a free port, its storage in `dir`. */
export async function startRegistry(dir: string): Promise<Registry> {
  const port = await freePort();
  await mkdir(`${dir}/registry`, { recursive: true });
  const config = `version: 0.1
log: {level: error}
storage: {filesystem: {rootdirectory: ${dir}/registry}, delete: {enabled: true}}
http: {addr: '127.0.0.1:${port}'}
`;
  await writeFile(`${dir}/registry.yml`, config);
  const child = spawn('docker-registry', ['serve', `${dir}/registry.yml`], { stdio: 'ignore' });
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const host = `127.0.0.1:${port}`;
  for (let tries = 0; ; tries++) {
    const answer = await fetch(`http://${host}/v2/`).catch(() => undefined);
    if (answer?.ok) break;
    if (tries > 300) throw new Error('docker-registry does not start');
    await sleep(100);
  }
  return {
    host,
    async stop() {
      child.kill('SIGKILL');
      await ended;
    },
  };
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      const port = typeof address === 'object' && address ? address.port : 0;
      server.close(() => {
        resolve(port);
      });
    });
  });
}
