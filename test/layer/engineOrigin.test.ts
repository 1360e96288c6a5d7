/** What copy-up leaves on disk, compared with what kernel overlayfs writes for the same files. */
import { execFileSync } from 'node:child_process';
import { lstatSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Op } from '../../src/protocol/opcodes.js';
import { cstr, Engine, type EngineParts, u32, u64, wire } from '../support/engine.js';
import { has } from '../support/needs.js';
import { device, dir, fifo, file, hardlink, symlink } from '../support/tree.js';

const NEEDS = { root: true, kernelOverlay: true, programs: ['getfattr', 'setfattr'] };

const PARTS: EngineParts = {
  lowers: [
    [
      file('f', 'hello'),
      file('empty'),
      dir('d', { mode: 0o751 }),
      file('d/in', 'x'),
      symlink('sym', 'f'),
      fifo('fifo'),
      device('null', 1, 3),
      file('two', 'linked'),
      hardlink('names', 'two'),
    ],
    [dir('d'), file('d/below', 'y'), file('other')],
  ],
};

let e: Engine;
beforeEach(async () => {
  e = await Engine.open({ ...PARTS, spec: { metacopy: false } });
});
afterEach(() => {
  e.close();
});

/** Kernel overlayfs's own xattrs of an object, as hex. */
function marks(path: string): string {
  return execFileSync('getfattr', ['-h', '-d', '-m', '^trusted.overlay', '-e', 'hex', path], {
    encoding: 'latin1',
  })
    .split('\n')
    .filter((line) => line.startsWith('trusted.'))
    .join('\n');
}

/** Runs `change` on a kernel overlay of the same lowers; returns its upper. */
function withKernel(change: (mnt: string) => void, more = 'metacopy=off'): string {
  const at = (name: string): string => {
    mkdirSync(join(e.top, name), { recursive: true });
    return join(e.top, name);
  };
  const lowers = PARTS.lowers.map((_, i) => join(e.top, `lower${i}`)).join(':');
  const [upper, work, mnt] = [at('kupper'), at('kwork'), at('kmnt')];
  const options = `lowerdir=${lowers},upperdir=${upper},workdir=${work},index=off,xino=off,${more}`;
  execFileSync('mount', ['-t', 'overlay', 'overlay', '-o', options, mnt], { timeout: 20_000 });
  try {
    change(mnt);
  } finally {
    execFileSync('umount', [mnt], { timeout: 20_000 });
  }
  return upper;
}

/** SETATTR's body: a new owner, which copies a lower object up. */
const chown = (uid: number): Buffer => wire`
  02 00 00 00                     valid FATTR_UID
  00 00 00 00                     padding
  ${u64(0)} ${u64(0)} ${u64(0)}   fh, size, lock_owner
  ${u64(0)} ${u64(0)} ${u64(0)}   atime, mtime, ctime
  ${u32(0)} ${u32(0)} ${u32(0)}   nanoseconds
  ${u32(0)} ${u32(0)}             mode, unused
  ${u32(uid)} ${u32(0)}           uid, gid
  00 00 00 00                     unused`;

describe.skipIf(!has(NEEDS))('the origin of a copy', () => {
  it.each(['f', 'empty', 'd', 'sym', 'fifo', 'null', 'd/in', 'other'])(
    'of %s is byte for byte what kernel overlayfs writes',
    (path) => {
      const kernel = withKernel((mnt) => {
        execFileSync('chown', ['-h', '77', join(mnt, path)]);
      });
      const node = e.node(path);
      e.must(Op.SETATTR, node, chown(77));
      const ours = marks(join(e.top, 'upper', path));
      expect(ours).toContain('trusted.overlay.origin=0x00fb');
      expect(ours).toBe(marks(join(kernel, path)));
      // The directories above it, and the root, carry the same marks too.
      if (path.startsWith('d/')) {
        expect(marks(join(e.top, 'upper/d'))).toBe(marks(join(kernel, 'd')));
      }
      expect(marks(join(e.top, 'upper'))).toContain('trusted.overlay.impure=0x79');
    },
  );

  it('of a file with several names is absent, as with index=off', () => {
    const kernel = withKernel((mnt) => {
      execFileSync('chown', ['77', join(mnt, 'two')]);
    });
    e.must(Op.SETATTR, e.node('two'), chown(77));
    expect(marks(join(e.top, 'upper/two'))).toBe(marks(join(kernel, 'two')));
  });

  it('keeps the inode number over copy-up, and over a new mount of the upper', () => {
    const numbers = new Map<string, bigint>();
    for (const path of ['f', 'd', 'd/in', 'sym', 'fifo']) {
      const node = e.node(path);
      const ino = e.must(Op.GETATTR, node, Buffer.alloc(16)).u64(16);
      expect(ino).toBe(BigInt(lstatSync(join(e.top, 'lower0', path)).ino));
      e.must(Op.SETATTR, node, chown(5));
      expect(e.must(Op.GETATTR, node, Buffer.alloc(16)).u64(16)).toBe(ino);
      numbers.set(path, ino);
    }
    e = e.reopen({ ...PARTS, spec: { metacopy: false } });
    for (const [path, ino] of numbers) {
      expect(e.must(Op.GETATTR, e.node(path), Buffer.alloc(16)).u64(16), path).toBe(ino);
    }
  });

  it('of a copy that the kernel made gives the number of its lower', () => {
    const kernel = withKernel((mnt) => {
      execFileSync('chown', ['77', join(mnt, 'f'), join(mnt, 'd/in')]);
    });
    execFileSync('cp', ['-a', `${kernel}/.`, join(e.top, 'upper')]);
    execFileSync('setfattr', ['-n', 'trusted.overlay.impure', '-v', 'y', join(e.top, 'upper')]);
    e = e.reopen(PARTS);
    for (const path of ['f', 'd/in', 'd']) {
      const ino = e.must(Op.GETATTR, e.node(path), Buffer.alloc(16)).u64(16);
      expect(ino, path).toBe(BigInt(lstatSync(join(e.top, 'lower0', path)).ino));
    }
  });

  it.each(['0x00fb', '0x', '0x00fb1c000181', `0x00fb1d01810000${'00'.repeat(24)}`])(
    'that is damaged (%s) does not count',
    (value) => {
      e.must(Op.SETATTR, e.node('f'), chown(77));
      const upper = join(e.top, 'upper/f');
      execFileSync('setfattr', ['-n', 'trusted.overlay.origin', '-v', value, upper]);
      e = e.reopen(PARTS);
      const ino = e.must(Op.GETATTR, e.node('f'), Buffer.alloc(16)).u64(16);
      expect(ino).toBe(BigInt(lstatSync(upper).ino));
    },
  );
});

describe.skipIf(!has(NEEDS))('whiteouts and opaque directories', () => {
  it('are what kernel overlayfs leaves', () => {
    const kernel = withKernel((mnt) => {
      execFileSync('rm', ['-r', join(mnt, 'd')]);
      mkdirSync(join(mnt, 'd'), 0o755);
      execFileSync('rm', [join(mnt, 'f')]);
    });
    e.must(Op.UNLINK, e.node('d'), wire`${cstr('in')}`);
    e.must(Op.UNLINK, e.node('d'), wire`${cstr('below')}`);
    e.must(Op.RMDIR, 1, wire`${cstr('d')}`);
    e.must(Op.MKDIR, 1, wire`${u32(0o755)} ${u32(0o22)} ${cstr('d')}`);
    e.must(Op.UNLINK, 1, wire`${cstr('f')}`);
    const upper = join(e.top, 'upper');
    expect(marks(join(upper, 'd'))).toBe('trusted.overlay.opaque=0x79');
    expect(marks(join(upper, 'd'))).toBe(marks(join(kernel, 'd')));
    for (const at of [upper, kernel]) {
      const stat = lstatSync(join(at, 'f'));
      expect([stat.isCharacterDevice(), stat.rdev, stat.mode & 0o7777]).toEqual([true, 0, 0]);
      expect(lstatSync(join(at, 'd')).mode).toBe(0o040755);
    }
  });
});
