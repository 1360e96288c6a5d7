/** The addon's system calls on names and descriptors, against a real directory. */
import { constants } from 'node:os';
import { lstatSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_REMOVEDIR,
  AT_SYMLINK_NOFOLLOW,
  O_CREAT,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_PATH,
  O_RDONLY,
  O_RDWR,
  OPEN_TREE_CLONE,
  RENAME_EXCHANGE,
  RENAME_NOREPLACE,
  RENAME_WHITEOUT,
  RESOLVE_LAYER,
  STATX_BASIC_STATS,
  UTIME_NOW,
  UTIME_OMIT,
} from '../../src/sys/constants.js';
import * as memory from '../../src/sys/memory.js';
import { openBench, type Bench } from '../support/addon.js';

const { errno } = constants;
const root = process.getuid?.() === 0;
/** Not UTF-8, with a newline and a quote. */
const ODD = '\xff\xfe a\nb"\x80';

let b: Bench;
beforeEach(() => {
  b = openBench();
});
afterEach(() => b.close());

interface Stat {
  mode: number;
  nlink: number;
  uid: number;
  gid: number;
  atime: bigint;
  mtime: bigint;
  rdev: string;
}

function stat(name: string, flags = AT_SYMLINK_NOFOLLOW): Stat {
  const layout = b.native.layout();
  expect(b.native.statx(b.dir, name, flags, STATX_BASIC_STATS, b.at)).toBe(0);
  const at = (field: string): number => b.at + layout[`sys_statx.${field}`];
  const time = (field: string): bigint =>
    b.view.getBigInt64(at(field), true) * 1_000_000_000n +
    BigInt(b.view.getUint32(at(field) + 8, true));
  return {
    mode: b.view.getUint16(at('stx_mode'), true),
    nlink: b.view.getUint32(at('stx_nlink'), true),
    uid: b.view.getUint32(at('stx_uid'), true),
    gid: b.view.getUint32(at('stx_gid'), true),
    atime: time('stx_atime'),
    mtime: time('stx_mtime'),
    rdev: `${b.view.getUint32(at('stx_rdev_major'), true)}:${b.view.getUint32(at('stx_rdev_minor'), true)}`,
  };
}

function list(): string[] {
  const fd = b.open('.', O_RDONLY | O_DIRECTORY);
  const names: string[] = [];
  for (;;) {
    const size = b.native.getdents64(fd, b.at, 4096);
    expect(size).toBeGreaterThanOrEqual(0);
    if (size === 0) break;
    for (let at = b.at; at < b.at + size; at += b.view.getUint16(at + 16, true)) {
      names.push(b.bytes.toString('latin1', at + 19, b.bytes.indexOf(0, at + 19)));
    }
  }
  b.native.close(fd);
  return names.filter((name) => name !== '.' && name !== '..').sort();
}

describe('names', () => {
  it('creates, lists, renames and removes a name that is not UTF-8', () => {
    const fd = b.native.openat2(b.dir, ODD, O_RDWR | O_CREAT, 0o600, RESOLVE_LAYER);
    expect(fd).toBeGreaterThan(2);
    expect(b.native.close(fd)).toBe(0);
    expect(list()).toEqual([ODD]);
    expect(b.native.renameat2(b.dir, ODD, b.dir, `${ODD}2`, 0)).toBe(0);
    expect(list()).toEqual([`${ODD}2`]);
    expect(b.native.unlinkat(b.dir, `${ODD}2`, 0)).toBe(0);
    expect(list()).toEqual([]);
  });

  it('returns a negative errno and never throws for an expected failure', () => {
    expect(b.native.openat2(b.dir, 'none', O_RDONLY, 0, 0)).toBe(-errno.ENOENT);
    expect(b.native.mkdirat(b.dir, 'x'.repeat(256), 0o700)).toBe(-errno.ENAMETOOLONG);
    expect(b.native.mkdirat(b.dir, 'x'.repeat(5000), 0o700)).toBe(-errno.ENAMETOOLONG);
    expect(b.native.mkdirat(b.dir, 'a\0b', 0o700)).toBe(-errno.EINVAL);
    expect(b.native.close(999_999)).toBe(-errno.EBADF);
    expect(b.native.statx(b.dir, '.', 0, 0, memory.MEMORY_SIZE - 8)).toBe(-errno.EFAULT);
  });

  it('throws a TypeError for an argument of the wrong type, which is a bug', () => {
    expect(() => b.native.close('1' as unknown as number)).toThrow(TypeError);
    expect(() => (b.native.mkdirat as (dir: number) => number)(b.dir)).toThrow(TypeError);
  });

  it('keeps all 255 bytes of a name', () => {
    const name = '\xe4'.repeat(255);
    expect(b.native.mkdirat(b.dir, name, 0o755)).toBe(0);
    expect(list()).toEqual([name]);
    expect(b.native.unlinkat(b.dir, name, AT_REMOVEDIR)).toBe(0);
  });

  it('refuses to leave the directory by a symlink or by dot-dot', () => {
    symlinkSync('/etc', join(b.path, 'out'));
    for (const path of ['out/passwd', 'out', '../x', '/etc/passwd']) {
      const got = b.native.openat2(b.dir, path, O_RDONLY, 0, RESOLVE_LAYER);
      expect([-errno.ELOOP, -errno.EXDEV]).toContain(got);
    }
  });

  it('opens with close-on-exec', () => {
    const fd = b.open('.', O_RDONLY | O_DIRECTORY);
    expect(readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1')).toMatch(/^flags:\s*0?2\d{6}$/m);
    b.native.close(fd);
  });

  it('reads and makes symlinks, whose targets are bytes', () => {
    const target = `${ODD}/../${'\x81'.repeat(3000)}`;
    expect(b.native.symlinkat(target, b.dir, 'link')).toBe(0);
    expect(b.native.readlinkat(b.dir, 'link', b.at, 4096)).toBe(target.length);
    expect(b.text(target.length)).toBe(target);
    const fd = b.open('link', O_PATH | O_NOFOLLOW);
    expect(b.native.readlinkat(fd, '', b.at, 4096)).toBe(target.length);
    b.native.close(fd);
    expect(b.native.symlinkat('', b.dir, 'empty')).toBe(-errno.ENOENT);
  });

  it('links a name, and an O_PATH descriptor by AT_EMPTY_PATH', () => {
    writeFileSync(join(b.path, 'a'), 'a');
    expect(b.native.linkat(b.dir, 'a', b.dir, 'b', 0)).toBe(0);
    expect(b.native.linkat(b.dir, 'a', b.dir, 'b', 0)).toBe(-errno.EEXIST);
    const fd = b.open('a', O_PATH);
    if (root) expect(b.native.linkat(fd, '', b.dir, 'c', AT_EMPTY_PATH)).toBe(0);
    b.native.close(fd);
    expect(stat('a').nlink).toBe(root ? 3 : 2);
  });

  it('renames with NOREPLACE, EXCHANGE and WHITEOUT', () => {
    writeFileSync(join(b.path, 'a'), 'a');
    writeFileSync(join(b.path, 'b'), 'b');
    const rename = (flags: number): number => b.native.renameat2(b.dir, 'a', b.dir, 'b', flags);
    expect(rename(RENAME_NOREPLACE)).toBe(-errno.EEXIST);
    expect(rename(RENAME_EXCHANGE)).toBe(0);
    expect(readFileSync(join(b.path, 'a'), 'latin1')).toBe('b');
    if (!root) return;
    expect(rename(RENAME_WHITEOUT)).toBe(0);
    expect(stat('a')).toMatchObject({ mode: 0o020000, rdev: '0:0' });
  });

  it.runIf(root)('makes fifos, sockets and devices', () => {
    const old = b.native.umask(0);
    try {
      expect(b.native.mknodat(b.dir, 'fifo', 0o010644, 0, 0)).toBe(0);
      expect(b.native.mknodat(b.dir, 'whiteout', 0o020000, 0, 0)).toBe(0);
      expect(b.native.mknodat(b.dir, 'device', 0o060666, 259, 70_000)).toBe(0);
    } finally {
      b.native.umask(old);
    }
    expect(stat('fifo').mode).toBe(0o010644);
    expect(stat('whiteout')).toMatchObject({ mode: 0o020000, rdev: '0:0' });
    expect(stat('device')).toMatchObject({ mode: 0o060666, rdev: '259:70000' });
  });
});

describe('attributes', () => {
  it('sets a mode with all bits, by name and by descriptor, but none of a symlink', () => {
    writeFileSync(join(b.path, 'file'), '');
    symlinkSync('file', join(b.path, 'link'));
    expect(b.native.fchmodat(b.dir, 'file', 0o6751)).toBe(0);
    expect(stat('file').mode).toBe(0o106751);
    const fd = b.open('file', O_PATH);
    expect(b.native.fchmodat(fd, '', 0o640)).toBe(0);
    b.native.close(fd);
    expect(stat('file').mode).toBe(0o100640);
    expect(b.native.fchmodat(b.dir, 'link', 0o777)).toBe(-errno.EOPNOTSUPP);
    expect(stat('file').mode).toBe(0o100640);
  });

  it.runIf(root)('changes owner and group apart, of a symlink itself', () => {
    symlinkSync('nowhere', join(b.path, 'link'));
    expect(b.native.fchownat(b.dir, 'link', 12, -1, AT_SYMLINK_NOFOLLOW)).toBe(0);
    expect(b.native.fchownat(b.dir, 'link', -1, 3_000_000_000, AT_SYMLINK_NOFOLLOW)).toBe(0);
    expect(stat('link')).toMatchObject({ uid: 12, gid: 3_000_000_000 });
  });

  it('keeps times before 1970 and their nanoseconds, and leaves one alone', () => {
    writeFileSync(join(b.path, 'file'), '');
    const set = (at: number, an: number, mt: number, mn: number): number =>
      b.native.utimensat(b.dir, 'file', at, an, mt, mn, AT_SYMLINK_NOFOLLOW);
    expect(set(-1, 999_999_999, -86_400 * 365, 1)).toBe(0);
    expect(stat('file')).toMatchObject({ atime: -1n, mtime: -31_536_000_000_000_000n + 1n });
    expect(set(0, UTIME_OMIT, 4_000_000_000, 123_456_789)).toBe(0);
    expect(stat('file')).toMatchObject({ atime: -1n, mtime: 4_000_000_000_123_456_789n });
    expect(set(0, UTIME_NOW, 0, UTIME_OMIT)).toBe(0);
    const age = BigInt(Date.now()) * 1_000_000n - stat('file').atime;
    expect(age < 10_000_000_000n && age > -10_000_000_000n).toBe(true);
    expect(stat('file').mtime).toBe(4_000_000_000_123_456_789n);
  });

  it('sets the times of a symlink and of an O_PATH descriptor', () => {
    symlinkSync('nowhere', join(b.path, 'link'));
    const fd = b.open('link', O_PATH | O_NOFOLLOW);
    expect(b.native.utimensat(fd, '', 7, 8, 9, 10, AT_EMPTY_PATH)).toBe(0);
    b.native.close(fd);
    expect(lstatSync(join(b.path, 'link')).mtimeMs).toBeCloseTo(9000, 0);
    expect(stat('link')).toMatchObject({ atime: 7_000_000_008n, mtime: 9_000_000_010n });
  });
});

describe('the rest', () => {
  it.runIf(root)('finds an object again by its handle', () => {
    writeFileSync(join(b.path, 'file'), 'by handle');
    expect(b.native.nameToHandleAt(b.dir, 'file', b.at, 0)).toBe(0);
    expect(b.view.getUint32(b.at, true)).toBeLessThanOrEqual(128);
    expect(b.native.renameat2(b.dir, 'file', b.dir, 'moved', 0)).toBe(0);
    const fd = b.native.openByHandleAt(b.dir, b.at, O_RDONLY);
    expect(fd).toBeGreaterThan(2);
    expect(b.native.pread(fd, b.at, 100, 0, 0)).toBe(9);
    expect(b.text(9)).toBe('by handle');
    b.native.close(fd);
    b.view.setUint32(b.at, 4096, true);
    expect(b.native.openByHandleAt(b.dir, b.at, O_RDONLY)).toBe(-errno.EINVAL);
  });

  it.runIf(root)('clones a tree and makes it read-only', () => {
    mkdirSync(join(b.path, 'sub'));
    const tree = b.native.openTree(b.dir, 'sub', OPEN_TREE_CLONE);
    expect(tree).toBeGreaterThan(2);
    expect(b.native.mountSetattr(tree, 1, 0)).toBe(0);
    expect(b.native.mkdirat(tree, 'x', 0o755)).toBe(-errno.EROFS);
    expect(b.native.mkdirat(b.dir, 'sub/x', 0o755)).toBe(0);
    b.native.close(tree);
  });

  it('reports a file system, also by an O_PATH descriptor', () => {
    const layout = b.native.layout();
    const fd = b.open('.', O_PATH);
    expect(b.native.fstatfs(fd, b.at)).toBe(0);
    expect(b.view.getBigInt64(b.at + layout['sys_statfs.f_namelen'], true)).toBe(255n);
    b.native.close(fd);
  });

  it('raises the limit of open files to the hard one', () => {
    const raised = b.native.raiseNofile();
    const limits = /^Max open files\s+(\d+)\s+(\d+)/m.exec(
      readFileSync('/proc/self/limits', 'latin1'),
    );
    expect(raised).toBe(Number(limits?.[1]));
    expect(limits?.[1]).toBe(limits?.[2]);
  });

  it('locks a file against another open file', () => {
    writeFileSync(join(b.path, 'lock'), '');
    const [one, two] = [b.open('lock'), b.open('lock')];
    expect(b.native.flock(one, 2 | 4)).toBe(0);
    expect(b.native.flock(two, 2 | 4)).toBe(-errno.EAGAIN);
    b.native.close(one);
    expect(b.native.flock(two, 2 | 4)).toBe(0);
    b.native.close(two);
  });

  it.runIf(root)('mounts and unmounts by fusermount3, which hands the device over', async () => {
    const mountpoint = join(b.path, 'mnt');
    mkdirSync(mountpoint);
    const [device] = await b.native.programMount(mountpoint, 'fsname=helped');
    if (device === -errno.ENOENT) return; // No fusermount on this machine.
    const mounted = (): boolean => readFileSync('/proc/self/mounts', 'latin1').includes(mountpoint);
    expect(device).toBeGreaterThan(2);
    expect(readFileSync(`/proc/self/fdinfo/${device}`, 'latin1')).toMatch(/^flags:\s*0?2\d{6}$/m);
    expect(mounted()).toBe(true);
    expect(await b.native.programUnmount(mountpoint, false)).toEqual([0, '']);
    expect(mounted()).toBe(false);
    expect(b.native.close(device)).toBe(0);
  });

  it('says why fusermount3 refused', async () => {
    const [got, said] = await b.native.programMount(join(b.path, 'missing'), 'fsname=x');
    if (got === -errno.ENOENT) return; // No fusermount on this machine.
    expect(got).toBe(-errno.EPERM);
    expect(said).toContain('missing');
    const [unmounted] = await b.native.programUnmount(join(b.path, 'missing'), true);
    expect(unmounted).toBe(-errno.EPERM);
  });

  it('lays out its memory as memory.ts says', () => {
    const layout = b.native.layout();
    const { MEMORY_SIZE, ...regions } = memory;
    expect(layout['memory']).toBe(MEMORY_SIZE);
    expect(b.native.memory.byteLength).toBe(MEMORY_SIZE);
    for (const [name, value] of Object.entries(regions)) {
      expect([name, layout[`memory.${name}`]]).toEqual([name, value]);
    }
  });

  it('gives each thread a memory and a wake descriptor of its own', async () => {
    const path = new URL('../../build/Release/stratafs_native.node', import.meta.url).pathname;
    const code = `
      const { parentPort } = require('node:worker_threads');
      const native = require(${JSON.stringify(path)});
      new Uint8Array(native.memory)[0] = 7;
      parentPort.postMessage(native.wakeFd());
      parentPort.postMessage(native.next(0, 0));`;
    b.bytes[0] = 1;
    const worker = new Worker(code, { eval: true });
    const messages: unknown[] = [];
    await new Promise<void>((resolve, reject) => {
      worker.on('error', reject).on('exit', () => resolve());
      worker.on('message', (message: number) => {
        if (messages.push(message) === 1) b.native.wake(message);
      });
    });
    expect(messages[0]).not.toBe(b.native.wakeFd());
    expect(messages[1]).toBe(-1);
    expect(b.bytes[0]).toBe(1);
    expect(b.native.openat2(AT_FDCWD, '/', O_PATH, 0, 0)).toBeGreaterThan(2);
  });

  it('lets a thread be terminated while it loads the addon or waits in next()', async () => {
    const path = new URL('../../build/Release/stratafs_native.node', import.meta.url).pathname;
    const code = `
      const { parentPort } = require('node:worker_threads');
      parentPort.postMessage('loading');
      const native = require(${JSON.stringify(path)});
      parentPort.postMessage('waiting');
      native.next(0, 0);`;
    for (const stage of ['loading', 'waiting']) {
      const worker = new Worker(code, { eval: true });
      await new Promise<void>((resolve) => {
        worker.on('message', (message) => {
          if (message === stage) resolve();
        });
      });
      if (stage === 'waiting') {
        // What is posted before stays in the event loop, which does not turn.
        worker.postMessage('unread');
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      expect(await worker.terminate()).toBe(1);
    }
  });
});
