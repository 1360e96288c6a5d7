/** The addon's xattr and data calls, reflinks on btrfs, and arenas. */
import { execFileSync } from 'node:child_process';
import {
  mkdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  FS_IOC_GETFLAGS,
  O_CREAT,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_PATH,
  O_RDONLY,
  O_RDWR,
  XATTR_CREATE,
} from '../../src/sys/constants.js';
import { arenaFiles } from '../support/memfd.js';
import { openBench, type Bench } from '../support/addon.js';

const { errno } = constants;
const root = process.getuid?.() === 0;
const SEEK_DATA = 3;
const SEEK_HOLE = 4;
const GIB = 2 ** 30;
const XATTR_REPLACE = 2;

let b: Bench;
beforeEach(() => {
  b = openBench();
});
afterEach(() => b.close());

const halves = (value: number): [number, number] => [value % 2 ** 32, Math.floor(value / 2 ** 32)];

describe.runIf(root)('xattrs', () => {
  /** Every way to name an object: in its directory, and by an O_PATH descriptor of it. */
  function roundTrip(name: string, key: string): void {
    const path = b.open(name, O_PATH | O_NOFOLLOW);
    const plain: [number, string] = [b.dir, name];
    for (const [fd, entry] of [plain, [path, ''] as [number, string]]) {
      const value = `\x00\xff${entry}`;
      b.put(value);
      expect(b.native.setxattr(fd, entry, key, b.at, value.length, XATTR_CREATE)).toBe(0);
      expect(b.native.setxattr(fd, entry, key, b.at, 0, XATTR_CREATE)).toBe(-errno.EEXIST);
      expect(b.native.setxattr(fd, entry, key, b.at, value.length, XATTR_REPLACE)).toBe(0);
      expect(b.native.getxattr(fd, entry, key, b.at, 0)).toBe(value.length);
      expect(b.native.getxattr(fd, entry, key, b.at, 1)).toBe(-errno.ERANGE);
      b.bytes.fill(0x55, b.at, b.at + 64);
      expect(b.native.getxattr(fd, entry, key, b.at, 64)).toBe(value.length);
      expect(b.text(value.length)).toBe(value);
      const listed = b.native.listxattr(fd, entry, b.at, 4096);
      expect(b.text(listed).split('\0')).toContain(key);
      expect(b.native.removexattr(fd, entry, key)).toBe(0);
      expect(b.native.removexattr(fd, entry, key)).toBe(-errno.ENODATA);
      expect(b.native.getxattr(fd, entry, key, b.at, 64)).toBe(-errno.ENODATA);
    }
    b.native.close(path);
  }

  it('work on a file, a directory, a fifo and a symlink, by name and by O_PATH descriptor', () => {
    writeFileSync(join(b.path, 'file'), '');
    mkdirSync(join(b.path, 'dir'));
    symlinkSync('file', join(b.path, 'link'));
    expect(b.native.mknodat(b.dir, 'fifo', 0o010600, 0, 0)).toBe(0);
    expect(b.native.mkdirat(b.dir, '\xff\n', 0o700)).toBe(0);
    for (const name of ['file', 'dir', 'fifo', 'link', '\xff\n']) roundTrip(name, 'trusted.t');
    roundTrip('file', 'user.\xff');
  });

  it('never go through a symlink to its target', () => {
    writeFileSync(join(b.path, 'file'), '');
    symlinkSync('file', join(b.path, 'link'));
    b.put('v');
    expect(b.native.setxattr(b.dir, 'link', 'trusted.t', b.at, 1, 0)).toBe(0);
    expect(b.native.getxattr(b.dir, 'file', 'trusted.t', b.at, 1)).toBe(-errno.ENODATA);
    expect(b.native.setxattr(b.dir, 'link', 'user.t', b.at, 1, 0)).toBe(-errno.EPERM);
  });

  it('work on a readable descriptor', () => {
    writeFileSync(join(b.path, 'file'), '');
    const fd = b.open('file');
    b.put('value');
    expect(b.native.setxattr(fd, '', 'user.t', b.at, 5, 0)).toBe(0);
    expect(b.native.getxattr(b.dir, 'file', 'user.t', b.at, 9)).toBe(5);
    b.native.close(fd);
  });
});

describe('data', () => {
  it('reads and writes at an offset beyond 4 GiB', () => {
    const fd = b.open('file', O_RDWR | O_CREAT, 0o600);
    const [lo, hi] = halves(5 * GIB + 3);
    b.put('far');
    expect(b.native.pwrite(fd, b.at, 3, lo, hi)).toBe(3);
    expect(statSync(join(b.path, 'file')).size).toBe(5 * GIB + 6);
    b.put('...');
    expect(b.native.pread(fd, b.at, 100, lo, hi)).toBe(3);
    expect(b.text(3)).toBe('far');
    expect(b.native.lseek(fd, 0, 0, SEEK_DATA, b.at)).toBe(0);
    expect(Number(b.view.getBigInt64(b.at, true))).toBeGreaterThan(4 * GIB);
    expect(b.native.ftruncate(fd, ...halves(6 * GIB))).toBe(0);
    expect(b.native.lseek(fd, ...halves(7 * GIB), SEEK_DATA, b.at)).toBe(-errno.ENXIO);
    expect(b.native.fsync(fd)).toBe(0);
    expect(b.native.fdatasync(fd)).toBe(0);
    expect(b.native.syncfs(fd)).toBe(0);
    b.native.close(fd);
  });

  it('allocates and punches', () => {
    const fd = b.open('file', O_RDWR | O_CREAT, 0o600);
    expect(b.native.fallocate(fd, 0, 0, 0, 65536, 0)).toBe(0);
    expect(statSync(join(b.path, 'file'))).toMatchObject({ size: 65536, blocks: 128 });
    const punch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    expect(b.native.fallocate(fd, punch, 4096, 0, 8192, 0)).toBe(0);
    expect(statSync(join(b.path, 'file'))).toMatchObject({ size: 65536, blocks: 112 });
    b.native.close(fd);
  });

  it('asks a file for its flags by ioctl, and checks the place for the answer', () => {
    const fd = b.open('file', O_RDWR | O_CREAT, 0o600);
    expect([0, -errno.ENOTTY]).toContain(b.native.ioctl(fd, FS_IOC_GETFLAGS, b.at));
    expect(b.native.ioctl(fd, FS_IOC_GETFLAGS, b.native.memory.byteLength - 4)).toBe(-errno.EFAULT);
    b.native.close(fd);
  });

  it('copies a range and returns the count', () => {
    writeFileSync(join(b.path, 'from'), '0123456789');
    const from = b.open('from');
    const to = b.open('to', O_RDWR | O_CREAT, 0o600);
    expect(b.native.copyFileRange(from, 2, 0, to, 1, 0, 100)).toBe(8);
    expect(readFileSync(join(b.path, 'to'), 'latin1')).toBe('\x0023456789');
    b.native.close(from);
    b.native.close(to);
  });
});

describe('copyData', () => {
  function copy(from: string, to: string, size: number): number {
    const [input, output] = [b.open(from), b.open(to, O_RDWR | O_CREAT, 0o600)];
    const done = b.native.copyData(input, output, ...halves(size));
    b.native.close(input);
    b.native.close(output);
    return done;
  }

  it('keeps holes, at the start, in the middle and at the end', () => {
    const fd = b.open('sparse', O_RDWR | O_CREAT, 0o600);
    for (const offset of [64 * 2 ** 20, 5 * GIB]) {
      b.put(`data at ${offset}`);
      b.native.pwrite(fd, b.at, 20, ...halves(offset));
    }
    b.native.ftruncate(fd, ...halves(8 * GIB));
    b.native.close(fd);
    expect(copy('sparse', 'copy', 8 * GIB)).toBe(0);
    const copied = statSync(join(b.path, 'copy'));
    expect(copied.size).toBe(8 * GIB);
    expect(copied.blocks).toBeLessThan(1024);
    const check = b.open('copy');
    b.native.pread(check, b.at, 20, ...halves(5 * GIB));
    expect(b.text(15)).toBe('data at 5368709');
    expect(b.native.lseek(check, 0, 0, SEEK_HOLE, b.at)).toBe(0);
    expect(b.view.getBigInt64(b.at, true)).toBe(0n);
    b.native.close(check);
  });

  it('copies an empty file, a hole and plain bytes', () => {
    writeFileSync(join(b.path, 'empty'), '');
    writeFileSync(join(b.path, 'hole'), '');
    truncateSync(join(b.path, 'hole'), 100_000);
    const bytes = Buffer.alloc(1_234_567, 'stratafs ');
    writeFileSync(join(b.path, 'bytes'), bytes);
    expect(copy('empty', 'empty2', 0)).toBe(0);
    expect(copy('hole', 'hole2', 100_000)).toBe(0);
    expect(copy('bytes', 'bytes2', bytes.length)).toBe(0);
    expect(statSync(join(b.path, 'empty2')).size).toBe(0);
    expect(statSync(join(b.path, 'hole2'))).toMatchObject({ size: 100_000, blocks: 0 });
    expect(readFileSync(join(b.path, 'bytes2')).equals(bytes)).toBe(true);
  });

  it('copies from another file system', () => {
    const source = b.native.openat2(b.dir, '/proc/self/maps', O_RDONLY, 0, 0);
    const output = b.open('maps', O_RDWR | O_CREAT, 0o600);
    expect(b.native.copyData(source, output, 4096, 0)).toBe(0);
    expect(readFileSync(join(b.path, 'maps'), 'latin1')).toContain('r-xp');
    b.native.close(source);
    b.native.close(output);
  });

  it('returns the error of a full device', () => {
    writeFileSync(join(b.path, 'bytes'), 'x'.repeat(10));
    const source = b.open('bytes');
    const full = b.native.openat2(b.dir, '/dev/full', O_RDWR, 0, 0);
    expect(b.native.copyData(source, full, 10, 0)).toBe(-errno.ENOSPC);
    b.native.close(source);
    b.native.close(full);
  });
});

const loops = root && ['mkfs.btrfs', 'losetup'].every((tool) => have(tool));
function have(tool: string): boolean {
  try {
    execFileSync('sh', ['-c', `command -v ${tool}`], { stdio: 'ignore' });
    return true;
  } catch {
    return false; // The exit status of `command -v` is the answer.
  }
}

describe.runIf(loops)('on btrfs', () => {
  it('reflinks instead of copying', () => {
    const image = join(b.path, 'image');
    const mountpoint = join(b.path, 'mnt');
    writeFileSync(image, '');
    truncateSync(image, 256 * 2 ** 20);
    mkdirSync(mountpoint);
    execFileSync('mkfs.btrfs', ['-q', image]);
    execFileSync('mount', ['-o', 'loop', image, mountpoint]);
    try {
      writeFileSync(join(mountpoint, 'a'), Buffer.alloc(8 * 2 ** 20, 'x'));
      const dir = b.open('mnt', O_RDONLY | O_DIRECTORY);
      const a = b.native.openat2(dir, 'a', O_RDONLY, 0, 0);
      const d = b.native.openat2(dir, 'd', O_RDWR | O_CREAT, 0o600, 0);
      expect(b.native.copyData(a, d, 8 * 2 ** 20, 0)).toBe(0);
      for (const fd of [a, d]) b.native.fsync(fd);
      const shared = execFileSync('filefrag', ['-v', join(mountpoint, 'd')]).toString();
      expect(shared).toContain('shared');
      for (const fd of [a, d, dir]) b.native.close(fd);
    } finally {
      execFileSync('umount', [mountpoint]);
    }
  });
});

describe('arenas', () => {
  const blocks = (fd: number): number => statSync(`/proc/self/fd/${fd}`).blocks * 512;

  it('take memory only where touched, and give it back', () => {
    const before = arenaFiles();
    const arena = b.native.arena(GIB);
    const words = new Uint32Array(arena);
    const fd = arenaFiles().find((each) => !before.includes(each)) ?? -1;
    expect(blocks(fd)).toBe(0);
    words.fill(7, 0, 262_144);
    expect(blocks(fd)).toBe(2 ** 20);
    expect(b.native.arenaTrim(arena, 1, 2 ** 20 - 1)).toBe(0);
    expect(blocks(fd)).toBe(8192);
    expect([words[0], words[1024], words[262_143]]).toEqual([7, 0, 7]);
    expect(b.native.arenaTrim(arena, 0, GIB + 1)).toBe(-errno.EINVAL);
    expect(b.native.arenaTrim(new ArrayBuffer(8), 0, 8)).toBe(-errno.EBADF);
    expect(b.native.arenaFree(arena)).toBe(0);
    expect(words.length).toBe(0);
    expect(arenaFiles()).toEqual(before);
  });

  it('grow in place, the old mapping showing the same memory until it is freed', () => {
    const before = arenaFiles();
    const small = b.native.arena(4096);
    new Uint8Array(small)[5] = 9;
    const large = b.native.arenaGrow(small, 2 ** 24);
    expect(large.byteLength).toBe(2 ** 24);
    expect(new Uint8Array(large)[5]).toBe(9);
    new Uint8Array(large)[6] = 8;
    expect(new Uint8Array(small)[6]).toBe(8);
    expect(arenaFiles().length).toBe(before.length + 1);
    expect(b.native.arenaFree(small)).toBe(0);
    expect(new Uint8Array(large)[5]).toBe(9);
    expect(() => b.native.arenaGrow(large, 4096)).toThrow(/cannot make an arena/);
    expect(() => b.native.arenaGrow(small, 2 ** 25)).toThrow(/not an arena, or freed/);
    expect(b.native.arenaFree(large)).toBe(0);
  });

  it('throw when they cannot be had', () => {
    expect(() => b.native.arena(2 ** 40)).toThrow(/cannot make an arena/);
    expect(() => b.native.arena(0)).toThrow(/cannot make an arena/);
  });
});
