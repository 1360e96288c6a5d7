/** Metadata-only copies and redirects: what is shown, what is on disk, and kernel overlayfs's own. */
import { execFileSync } from 'node:child_process';
import { lstatSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { E } from '../../src/base/errno.js';
import { Op } from '../../src/protocol/opcodes.js';
import type { Native } from '../../src/sys/native.js';
import { cstr, Engine, type EngineParts, type Reply, u32, u64, wire } from '../support/engine.js';
import { has } from '../support/needs.js';
import { dir, file } from '../support/tree.js';

const NEEDS = { root: true, kernelOverlay: true, programs: ['getfattr', 'setfattr', 'python3'] };

const EXCHANGE = 2;

const PARTS: EngineParts = {
  lowers: [
    [
      file('f', 'hello, lower', { mode: 0o644, xattrs: { 'user.x': 'v' } }),
      file('empty'),
      dir('d'),
      file('d/in', 'inner'),
      dir('d/sub'),
      file('d/sub/deep', 'deep'),
      dir('to'),
    ],
    [dir('d'), file('d/below', 'below')],
  ],
  spec: { metacopy: true, redirectDir: 'on' },
};

let e: Engine;
beforeEach(async () => {
  e = await Engine.open(PARTS);
});
afterEach(() => {
  e.close();
});
const upper = (name: string): string => join(e.top, 'upper', name);

function marks(path: string): string[] {
  const args = ['-h', '-d', '-m', '^trusted.overlay', '-e', 'text', path];
  return execFileSync('getfattr', args, { encoding: 'latin1' })
    .split('\n')
    .filter((line) => line.startsWith('trusted.'));
}
const mark = (path: string, name: string): string | undefined =>
  marks(path)
    .find((line) => new RegExp(`^trusted.overlay.${name}($|=)`).test(line))
    ?.replace(/^[^=]*=?"?|"$/g, '');

/** Runs `change` on a kernel overlay of the same lowers with its features on; returns its upper. */
function withKernel(change: (mnt: string) => void): string {
  const [up, work, mnt] = ['kupper', 'kwork', 'kmnt'].map((name) => join(e.top, name));
  for (const at of [up, work, mnt]) mkdirSync(at, { mode: 0o755 });
  const lowers = PARTS.lowers.map((_, i) => join(e.top, `lower${i}`)).join(':');
  const features = 'redirect_dir=on,metacopy=on,index=off,xino=off';
  const options = `lowerdir=${lowers},upperdir=${up},workdir=${work},${features}`;
  execFileSync('mount', ['-t', 'overlay', 'overlay', '-o', options, mnt], { timeout: 20_000 });
  try {
    change(mnt);
  } finally {
    execFileSync('umount', [mnt], { timeout: 20_000 });
  }
  return up;
}

/** SETATTR with the fields `valid` names: mode, or size. */
const setattr = (path: string, valid: number, mode: number, size = 0): Reply =>
  e.ask(
    Op.SETATTR,
    e.node(path),
    wire`
      ${u32(valid)} ${u32(0)} ${u64(0)}   valid, padding, fh
      ${u64(size)} ${u64(0)}              size, lock_owner
      ${u64(0)} ${u64(0)} ${u64(0)}       atime, mtime, ctime
      ${u32(0)} ${u32(0)} ${u32(0)}       nanoseconds
      ${u32(mode)} ${u32(0)}              mode, unused
      ${u32(0)} ${u32(0)} ${u32(0)}       uid, gid, unused`,
  );
const chmod = (path: string, mode: number): Reply => setattr(path, 1, mode);

const write = (path: string, text: string): Reply =>
  e.must(
    Op.WRITE,
    e.node(path),
    Buffer.concat([
      wire`
        ${u64(0)} ${u64(0)}                  fh, offset
        ${u32(text.length)} ${u32(0)}        size, write_flags
        ${u64(0)} ${u32(0)} ${u32(0)}        lock_owner, flags, padding`,
      Buffer.from(text),
    ]),
  );

/** The directory of a path, and the name in it. */
function split(path: string): [number, string] {
  const slash = path.lastIndexOf('/');
  return [slash < 0 ? 1 : e.node(path.slice(0, slash)), path.slice(slash + 1)];
}

function rename(from: string, to: string, flags = 0): Reply {
  const [[parent, name], [newParent, newName]] = [split(from), split(to)];
  const body = wire`${u64(newParent)} ${u32(flags)} ${u32(0)} ${cstr(name)} ${cstr(newName)}`;
  return e.ask(Op.RENAME2, parent, body);
}

function link(from: string, to: string): Reply {
  const [parent, name] = split(to);
  return e.must(Op.LINK, parent, wire`${u64(e.node(from))} ${cstr(name)}`);
}

function makeFile(path: string): Reply {
  const [parent, name] = split(path);
  return e.must(Op.MKNOD, parent, wire`${u32(0o100600)} ${u32(0)} ${u64(0)} ${cstr(name)}`);
}

describe.skipIf(!has(NEEDS))('a change of metadata', () => {
  it('leaves the data below, and shows it', () => {
    const reply = chmod('f', 0o100600);
    const below = lstatSync(join(e.top, 'lower0/f'), { bigint: true });
    expect([reply.u64(16), reply.u64(24), reply.u64(32)]).toEqual([
      below.ino,
      below.size,
      below.blocks,
    ]);
    expect(e.text('f')).toBe('hello, lower');
    expect(readFileSync(upper('f'))).toEqual(Buffer.alloc(12)); // a hole
    expect(mark(upper('f'), 'metacopy')).toBe('');
  });

  it('writes what kernel overlayfs writes', () => {
    const kernel = withKernel((mnt) => {
      execFileSync('chmod', ['600', join(mnt, 'f'), join(mnt, 'd/in')]);
    });
    for (const path of ['f', 'd/in']) {
      chmod(path, 0o100600);
      expect(marks(upper(path)), path).toEqual(marks(join(kernel, path)));
    }
  });

  it('is followed by the data at the first write', () => {
    chmod('f', 0o100600);
    write('f', 'J');
    expect(readFileSync(upper('f'), 'latin1')).toBe('Jello, lower');
    expect(mark(upper('f'), 'metacopy')).toBeUndefined();
    expect(lstatSync(upper('f')).mode).toBe(0o100600);
    expect(e.text('f')).toBe('Jello, lower');
  });

  it('keeps its size at every moment, and its mark, when the data cannot be copied', () => {
    chmod('f', 0o100600);
    const sizes: number[] = [];
    const sys = e.sys as { native: Native };
    const real = sys.native;
    const failing = Object.create(real) as Native;
    const look = (code: number): number => {
      sizes.push(lstatSync(upper('f')).size);
      return code;
    };
    Object.defineProperties(failing, {
      ftruncate: {
        value: (...args: Parameters<Native['ftruncate']>) => look(real.ftruncate(...args)),
      },
      fallocate: {
        value: (...args: Parameters<Native['fallocate']>) => look(real.fallocate(...args)),
      },
      copyData: { value: () => look(-E.ENOSPC) },
    });
    sys.native = failing;
    const body = wire`
      ${u64(0)} ${u64(0)} ${u32(1)} ${u32(0)}  fh, offset, size, write_flags
      ${u64(0)} ${u32(0)} ${u32(0)} 4a         lock_owner, flags, padding, data`;
    expect(e.ask(Op.WRITE, e.node('f'), body).error).toBe(-E.ENOSPC);
    sys.native = real;
    expect(sizes.length).toBeGreaterThan(2);
    expect(new Set(sizes)).toEqual(new Set([12]));
    expect(mark(upper('f'), 'metacopy')).toBe('');
    write('f', 'J');
    expect(readFileSync(upper('f'), 'latin1')).toBe('Jello, lower');
  });

  it.each([0, 3, 12, 20])('is followed by a truncation to %i bytes', (size) => {
    chmod('f', 0o100600);
    expect(setattr('f', 8, 0, size).u64(24)).toBe(BigInt(size));
    const expected = 'hello, lower'.slice(0, size).padEnd(size, '\0');
    expect(readFileSync(upper('f'), 'latin1')).toBe(expected);
    expect(mark(upper('f'), 'metacopy')).toBeUndefined();
  });

  it('survives a new mount', () => {
    chmod('f', 0o100600);
    e = e.reopen(PARTS);
    expect(e.text('f')).toBe('hello, lower');
    expect(e.lookup(1, 'f').u32(40 + 60)).toBe(0o100600);
    write('f', 'J');
    expect(e.text('f')).toBe('Jello, lower');
  });

  it('of a file that is then removed keeps its data for those who have it', () => {
    chmod('f', 0o100600);
    const node = e.node('f');
    e.must(Op.UNLINK, 1, wire`${cstr('f')}`);
    const read = wire`${u64(0)} ${u64(0)} ${u32(99)} ${u32(0)} ${u64(0)} ${u64(0)}`;
    expect(e.must(Op.READ, node, read).text()).toBe('hello, lower');
  });

  it('never shows the mark to a client', () => {
    chmod('f', 0o100600);
    const list = e.must(Op.LISTXATTR, e.node('f'), wire`${u32(4096)} ${u32(0)}`, 0).text();
    expect(list).toBe('user.x\0');
  });

  it('whose data is gone is EIO, not an empty file', () => {
    chmod('f', 0o100600);
    rmSync(join(e.top, 'lower0/f'));
    e = e.reopen(PARTS);
    expect(e.lookup(1, 'f').error).toBe(-E.EIO);
  });

  it('with metacopy=off copies the data, and still reads copies without', () => {
    chmod('f', 0o100600);
    e = e.reopen({ ...PARTS, spec: { metacopy: false } });
    expect(e.text('f')).toBe('hello, lower');
    chmod('d/in', 0o100600);
    expect(readFileSync(upper('d/in'), 'latin1')).toBe('inner');
  });
});

describe.skipIf(!has(NEEDS))('a directory with lowers that is renamed', () => {
  const shown = (path: string): string[] =>
    ['in', 'below', 'sub/deep'].map((name) => e.text(`${path}/${name}`));

  it('shows the same objects under its new name', () => {
    const node = e.node('d');
    expect(rename('d', 'moved').error).toBe(0);
    expect(e.node('moved')).toBe(node);
    expect(shown('moved')).toEqual(['inner', 'below', 'deep']);
    expect(e.node('d')).toBe(0);
    expect(mark(upper('moved'), 'redirect')).toBe('d');
  });

  it('copies nothing but the directory itself', () => {
    rename('d', 'moved');
    expect(execFileSync('find', [upper('moved'), '-mindepth', '1'], { encoding: 'latin1' })).toBe(
      '',
    );
  });

  it('survives a new mount, a second rename, and one into another directory', () => {
    rename('d', 'moved');
    e = e.reopen(PARTS);
    expect(shown('moved')).toEqual(['inner', 'below', 'deep']);
    expect(rename('moved', 'again').error).toBe(0);
    expect(rename('again', 'to/there').error).toBe(0);
    expect(shown('to/there')).toEqual(['inner', 'below', 'deep']);
    expect(mark(upper('to/there'), 'redirect')).toBe('/d');
    e = e.reopen(PARTS);
    expect(shown('to/there')).toEqual(['inner', 'below', 'deep']);
    expect([e.node('d'), e.node('moved'), e.node('again')]).toEqual([0, 0, 0]);
  });

  it('takes a subdirectory along, which can move out again', () => {
    rename('d', 'moved');
    expect(rename('moved/sub', 'sub').error).toBe(0);
    expect(e.text('sub/deep')).toBe('deep');
    expect(mark(upper('sub'), 'redirect')).toBe('/d/sub');
    expect(e.node('moved/sub')).toBe(0);
    e = e.reopen(PARTS);
    expect([e.text('sub/deep'), e.text('moved/in'), e.node('moved/sub')]).toEqual([
      'deep',
      'inner',
      0,
    ]);
  });

  it('leaves room for a new directory of its old name, which shows nothing of it', () => {
    rename('d', 'moved');
    e.must(Op.MKDIR, 1, wire`${u32(0o755)} ${u32(0)} ${cstr('d')}`);
    expect(e.node('d/in')).toBe(0);
    expect(shown('moved')).toEqual(['inner', 'below', 'deep']);
  });

  it('leaves marks as kernel overlayfs does', () => {
    const kernel = withKernel((mnt) => {
      renameSync(join(mnt, 'd'), join(mnt, 'moved'));
      renameSync(join(mnt, 'moved/sub'), join(mnt, 'to/sub'));
      renameSync(join(mnt, 'f'), join(mnt, 'to/f'));
    });
    rename('d', 'moved');
    rename('moved/sub', 'to/sub');
    rename('f', 'to/f');
    for (const path of ['moved', 'to', 'to/sub', 'to/f']) {
      expect(marks(upper(path)).toSorted(), path).toEqual(marks(join(kernel, path)).toSorted());
    }
  });

  it('is listed with its number where nothing else has lowers', () => {
    e.must(Op.MKDIR, 1, wire`${u32(0o755)} ${u32(0)} ${cstr('new')}`);
    expect(rename('d', 'new/d').error).toBe(0);
    e = e.reopen(PARTS);
    const node = e.node('new');
    const ask = wire`${u64(0)} ${u64(0)} ${u32(4096)} ${u32(0)} ${u64(0)} ${u64(0)}`;
    const { body } = e.must(Op.READDIR, node, ask);
    // Behind "." and "..", which take 32 bytes each.
    const d = body.subarray(64);
    expect(d.subarray(24, 25).toString()).toBe('d');
    const lower = lstatSync(join(e.top, 'lower0/d'), { bigint: true }).ino;
    expect([d.readBigUInt64LE(0), e.lookup(node, 'd').u64(40)]).toEqual([lower, lower]);
  });

  it('and links and exchanges mark as impure what kernel overlayfs does', () => {
    const files = ['one', 'two', 'three', 'q/own', 'u/own'];
    const dirs = ['p', 'q', 'r', 's', 't', 'u'];
    const kernel = withKernel((mnt) => {
      const exchange = (from: string, to: string): string =>
        `python3 -c 'import ctypes, sys; sys.exit(ctypes.CDLL(None).renameat2(-100, b"${from}", -100, b"${to}", 2))'`;
      const script = `mkdir ${dirs.join(' ')}; touch ${files.join(' ')}; chmod 600 f; mv one p
        ln two r/two; ${exchange('three', 'q/own')}; ln f s/f; mv d t/d; ${exchange('u/own', 'f')}`;
      execFileSync('sh', ['-ec', script], { cwd: mnt });
    });
    for (const name of dirs) e.must(Op.MKDIR, 1, wire`${u32(0o755)} ${u32(0)} ${cstr(name)}`);
    for (const name of files) makeFile(name);
    chmod('f', 0o100600);
    rename('one', 'p/one');
    link('two', 'r/two');
    rename('three', 'q/own', EXCHANGE);
    link('f', 's/f');
    rename('d', 't/d');
    rename('u/own', 'f', EXCHANGE);
    const impure = (at: string): string[] =>
      dirs.filter((name) => mark(join(at, name), 'impure') !== undefined);
    expect(impure(join(e.top, 'upper'))).toEqual(impure(kernel));
    expect(impure(kernel)).toEqual(['s', 't', 'u']);
  });

  it('is read from an upper that kernel overlayfs wrote', () => {
    const kernel = withKernel((mnt) => {
      renameSync(join(mnt, 'd'), join(mnt, 'to/d'));
      renameSync(join(mnt, 'to/d/sub'), join(mnt, 'sub'));
      execFileSync('chmod', ['600', join(mnt, 'f')]);
      renameSync(join(mnt, 'f'), join(mnt, 'to/g'));
    });
    execFileSync('rsync', ['-aX', `${kernel}/`, join(e.top, 'upper/')]);
    e = e.reopen(PARTS);
    expect([e.text('to/d/in'), e.text('to/d/below'), e.text('sub/deep'), e.text('to/g')]).toEqual([
      'inner',
      'below',
      'deep',
      'hello, lower',
    ]);
    expect([e.node('d'), e.node('f'), e.node('to/d/sub')]).toEqual([0, 0, 0]);
  });

  it('is refused with redirect_dir=nofollow', () => {
    rename('d', 'moved');
    e = e.reopen({ ...PARTS, spec: { redirectDir: 'nofollow' } });
    expect(e.lookup(1, 'moved').error).toBe(-E.EPERM);
  });

  const nonsense = ['..', '.', '../lower1', 'x/y', '/', '//', '/../../etc', '/./d', '/d/', ''];

  it.each(nonsense)('whose redirect is no name and no path (%j) shows nothing foreign', (value) => {
    rename('d', 'moved');
    e.must(Op.MKDIR, e.node('moved'), wire`${u32(0o700)} ${u32(0)} ${cstr('own')}`);
    const args = ['-n', 'trusted.overlay.redirect', '-v', value, upper('moved')];
    execFileSync('setfattr', args);
    e = e.reopen(PARTS);
    const reply = e.lookup(1, 'moved');
    if (reply.error !== 0) return;
    for (const name of ['passwd', 'lower0', 'lower1', 'upper']) {
      const inside = e.lookup(reply.u32(0), name);
      expect(inside.error < 0 || inside.u64(0) === 0n, name).toBe(true);
    }
  });

  // As ovl_get_redirect_xattr (EINVAL) and lookup_one (EACCES for "." and "..") do.
  const accepted = nonsense.filter((value) => value !== '/../../etc');
  it.each(accepted)('whose redirect is %j is refused', (value) => {
    rename('d', 'moved');
    const args = ['-n', 'trusted.overlay.redirect', '-v', value, upper('moved')];
    execFileSync('setfattr', args);
    e = e.reopen(PARTS);
    expect(e.lookup(1, 'moved').error).toBeLessThan(0);
  });
});
