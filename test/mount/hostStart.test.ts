/** How the host is started: from its bundles with their compiled form, or from the modules. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { has } from '../support/needs.js';
import { REPOSITORY } from '../support/root.js';
import { mustRun, run, scratch } from '../support/run.js';

const BUNDLES = ['host.bundle', 'engine.bundle'];

/** Mounts, reads, changes, unmounts, and ends the host; $1 is the directory of all. */
const SCRIPT = `
set -eu
cd "$1"; mkdir -p low up work mnt; echo hello > low/hello
S=build/Release/stratafs
"$S" -o lowerdir=low,upperdir=up,workdir=work mnt
cat mnt/hello; echo more >> mnt/hello; "$S" unmount mnt; cat up/hello; rm -rf low up work
`;

describe.skipIf(!has({ root: true, fuse: true, stratafs: true, mountNamespaces: true }))(
  'the start of the host',
  () => {
    let base: string;
    let installs = 0;

    beforeAll(() => {
      base = scratch('start');
      for (const name of BUNDLES) {
        const file = join(REPOSITORY, 'dist/host', name);
        if (!existsSync(file)) throw new Error(`there is no ${file}: run npm run build`);
      }
    });

    afterAll(() => {
      rmSync(base, { recursive: true, force: true });
    });

    /** A copy of what is installed, to be damaged. */
    function install(): string {
      const root = join(base, String(++installs));
      mkdirSync(join(root, 'build/Release'), { recursive: true });
      for (const name of ['stratafs', 'stratafs_native.node']) {
        cpSync(join(REPOSITORY, 'build/Release', name), join(root, 'build/Release', name));
      }
      const kept = { recursive: true, preserveTimestamps: true };
      cpSync(join(REPOSITORY, 'dist'), join(root, 'dist'), kept);
      cpSync(join(REPOSITORY, 'package.json'), join(root, 'package.json'));
      symlinkSync(join(REPOSITORY, 'node_modules'), join(root, 'node_modules'));
      // Fresh, whatever was built last in the repository.
      for (const name of BUNDLES) date(root, name, 0);
      return root;
    }

    /** Dates a bundle `seconds` after now. */
    function date(root: string, name: string, seconds: number): void {
      const time = Date.now() / 1000 + seconds;
      utimesSync(join(root, 'dist/host', name), time, time);
    }

    async function works(root: string): Promise<string> {
      const command = ['-m', '--propagation', 'private', 'sh', '-c', SCRIPT, 'sh', root];
      const env = { ...process.env, STRATAFS_GRACE: '0' };
      const { stdout, stderr } = await run('unshare', command, { env, timeoutMs: 60_000 });
      return stdout + stderr;
    }

    it('needs no modules', async () => {
      const root = install();
      for (const ring of ['base', 'fuse', 'layer', 'overlay', 'protocol', 'sys']) {
        rmSync(join(root, 'dist', ring), { recursive: true });
      }
      expect(await works(root)).toBe('hello\nhello\nmore\n');
    });

    it('takes the modules where they are newer than the bundles, or these are missing', async () => {
      const root = install();
      for (const name of BUNDLES) {
        writeFileSync(join(root, 'dist/host', name), 'throw new Error("old");');
        date(root, name, -1_000_000);
      }
      expect(await works(root)).toBe('hello\nhello\nmore\n');
      for (const name of BUNDLES) rmSync(join(root, 'dist/host', name));
      expect(await works(root)).toBe('hello\nhello\nmore\n');
    });

    it('does without a cache that is of something else', async () => {
      const root = install();
      for (const name of BUNDLES) {
        const file = join(root, 'dist/host', `${name}.${process.versions.v8}.cache`);
        const cache = readFileSync(file);
        // Another version of V8 wrote it; and one of another bundle.
        if (name === 'host.bundle') cache.fill(0xa5, 36, 48);
        else cache.write('another', 0);
        writeFileSync(file, cache);
      }
      expect(await works(root)).toBe('hello\nhello\nmore\n');
    });

    /** Mounts with one install, replaces it, and mounts with the next; $1 and $2 are the installs. */
    const UPGRADE = `
    set -eu
    cd "$1"; x=$1.x; mkdir $x; mount -t tmpfs none $x; cd $x; mkdir low m1 m2 m3; echo hello > low/hello
    S=build/Release/stratafs
    pid() { "$1"/$S mounts --json | awk -v m="$x/$2" -F'"' '$2 == "mountpoint" { p = $4 } $2 == "pid" && p == m' | tr -dc 0-9; }
    "$1"/$S -o lowerdir=low m1; old=$(pid "$1" m1)
    mv "$1" "$1.old"; mv "$2" "$1"; rm -rf "$1.old"
    "$1"/$S -o lowerdir=low m2; new=$(pid "$1" m2)
    [ $old != $new ] && echo apart
    "$1"/$S mounts | sed 's/.*host=[0-9]* //' | sort -u
    "$1"/$S mounts --json | grep '"build"' | sort -u | wc -l
    cat m1/hello m2/hello; ls /proc/$old/task | wc -l
    "$1"/$S unmount m1; "$1"/$S unmount m2
    grep -hE 'died|Error' /run/stratafs/host-*-$(stat -Lc %i /proc/self/ns/mnt)-*.log || echo fine
    cd /; umount $x`;

    it('gives mounts of an upgraded install to no host of the old one, which keeps its own', async () => {
      const [first, second] = [install(), install()];
      writeFileSync(join(second, 'dist/build-id'), '0123456789ab\n');
      const file = join(second, 'package.json');
      writeFileSync(
        file,
        readFileSync(file, 'utf8').replace(/"version": ".*?"/, '"version": "99.0.0"'),
      );
      // More engine threads are started after the upgrade, by a host whose install is gone.
      const command = ['-m', '--propagation', 'private', 'sh', '-c', UPGRADE, 'sh', first, second];
      const env = { ...process.env, STRATAFS_GRACE: '0' };
      const { stdout, stderr } = await run('unshare', command, { env, timeoutMs: 60_000 });
      expect(stderr).toBe('');
      const version = (
        JSON.parse(readFileSync(join(REPOSITORY, 'package.json'), 'utf8')) as { version: string }
      ).version;
      const lines = stdout.split('\n');
      expect(lines.slice(0, 6)).toEqual([
        'apart',
        `(stratafs ${version} in ${first})`,
        `(stratafs 99.0.0 in ${first})`,
        '2',
        'hello',
        'hello',
      ]);
      expect(lines.at(-2)).toBe('fine');
    });

    it.each(BUNDLES)('has %s compiled for this Node', async (name) => {
      const script = `
      const { readFileSync } = require('node:fs');
      const source = readFileSync(process.argv[1], 'latin1');
      const cache = readFileSync(process.argv[1] + '.' + process.versions.v8 + '.cache');
      const options = { filename: process.argv[1], cachedData: cache.subarray(32) };
      const { cachedDataRejected } = new (require('node:vm').Script)(source, options);
      console.log(cachedDataRejected, source.endsWith(cache.latin1Slice(0, 32)));`;
      const file = join(REPOSITORY, 'dist/host', name);
      const { stdout } = await mustRun(process.execPath, ['--v8-pool-size=1', '-e', script, file]);
      expect(stdout).toBe('false true\n');
    });
  },
);
